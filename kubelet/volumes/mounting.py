"""Mounts in the kubelet's own mount namespace: tmpfs for ``emptyDir: {medium: Memory}``."""

import asyncio
import ctypes
import os
from pathlib import Path

_MNT_DETACH = 2
_libc = None


def _call(name: str, *args: object) -> None:
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def is_mount(path: Path) -> bool:
    return os.path.ismount(path)


def mount_tmpfs(path: Path, size: int = 0) -> None:
    """``size`` in bytes; 0 is the kernel's default, half of the memory."""
    options = f"size={size},mode=0777" if size else "mode=0777"
    _call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", 0, options.encode())


def unmount(path: Path) -> None:
    """Detached: a container that is just ending may still hold it."""
    _call("umount2", os.fsencode(path), _MNT_DETACH)


async def remove_tree(path: Path) -> None:
    """Remove a directory and what is in it, mounts first; in a thread, for it may be large."""
    import shutil

    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        target = line.split()[4].encode().decode("unicode_escape")
        if target == str(path) or target.startswith(f"{path}/"):
            unmount(Path(target))
    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
