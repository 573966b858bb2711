"""The system calls that Python's ``posix`` module lacks (before 3.12 also unshare and setns), by ctypes.

Every function raises ``OSError`` with the call's name and argument in the text: the message becomes the event that a
user reads.
"""

from __future__ import annotations

import ctypes
import posix

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000
SIGCHLD = 17

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = posix.O_CLOEXEC
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_SYMLINKS = 0x10  # follow the target: ours are /proc/self/fd/N

# clone and pivot_root have no libc function of the shape we need; the other two are the same number everywhere.
_BY_MACHINE = {"x86_64": (56, 155), "aarch64": (220, 41), "riscv64": (220, 41), "ppc64le": (120, 203)}
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _machine_number(index: int) -> int:
    machine = posix.uname().machine
    try:
        return _BY_MACHINE[machine][index]
    except KeyError:
        raise OSError(38, f"the native runtime does not know the system call numbers of {machine}") from None


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {posix.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), f"setns({kind:#x})")


def clone_sibling(flags: int) -> int:
    """``fork`` whose child is a child of our own parent, in the new namespaces of ``flags``: 0 in the child.

    A raw clone, so the interpreter's after-fork hooks do not run: only for single-threaded processes that soon exec.
    """
    none = ctypes.c_long(0)
    number = ctypes.c_long(_machine_number(0))
    result = _syscall(number, ctypes.c_long(flags | CLONE_PARENT | SIGCHLD), none, none, none, none)
    return _check(result, f"clone({flags:#x})")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode(errors="surrogateescape") or None,
        target.encode(errors="surrogateescape"),
        fstype.encode() or None,
        ctypes.c_ulong(flags),
        data.encode(errors="surrogateescape") or None,
    )
    _check(result, f"mount {fstype or source or 'flags ' + hex(flags)} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc.umount2(target.encode(errors="surrogateescape"), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    number = ctypes.c_long(_machine_number(1))
    _check(_syscall(number, new.encode(errors="surrogateescape"), old.encode()), f"pivot_root to {new}")


def open_tree(path: str, *, recursive: bool = True) -> int:
    """A detached copy of the mount at ``path``: a file descriptor for :func:`move_mount`, in whatever namespace that is."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    result = _syscall(
        ctypes.c_long(_SYS_OPEN_TREE),
        ctypes.c_long(_AT_FDCWD),
        path.encode(errors="surrogateescape"),
        ctypes.c_ulong(flags),
    )
    return _check(result, f"bind {path}")


def move_mount(fd: int, target: str) -> None:
    result = _syscall(
        ctypes.c_long(_SYS_MOVE_MOUNT),
        ctypes.c_long(fd),
        b"",
        ctypes.c_long(_AT_FDCWD),
        target.encode(errors="surrogateescape"),
        ctypes.c_ulong(_MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_SYMLINKS),
    )
    _check(result, f"mount on {target}")


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    result = _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), zero, zero)
    return _check(result, f"prctl({option}, {argument})")


def name_argument(name: str) -> int:
    """The address of a C string for ``prctl(PR_SET_NAME)``, kept alive for good."""
    buffer = ctypes.create_string_buffer(name.encode())
    _names.append(buffer)
    return ctypes.addressof(buffer)


_names: list[ctypes.Array[ctypes.c_char]] = []


def sethostname(name: str) -> None:
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), f"sethostname({name})")


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


_CAPABILITY_VERSION_3 = 0x20080522


def capget() -> int:
    """The permitted capabilities of this process, as a bit mask."""
    header, data = _CapHeader(_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(header), data), "capget")
    return data[0].permitted | data[1].permitted << 32


def capset(mask: int) -> None:
    """Make ``mask`` the permitted and effective capabilities; none are inheritable (CVE-2022-24769)."""
    header, data = _CapHeader(_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    for half in (0, 1):
        bits = mask >> 32 * half & 0xFFFFFFFF
        data[half] = _CapData(bits, bits, 0)
    _check(_libc.capset(ctypes.byref(header), data), f"capset({mask:#x})")
