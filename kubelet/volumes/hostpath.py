"""hostPath volumes: checks of what is there, by ``type``."""

import stat
from pathlib import Path

from kubelet.volumes.payload import VolumeError


def prepare(path: Path, kind: str) -> None:
    """Create what may be created; raises VolumeError when the path is not what ``kind`` says."""
    if not kind:
        # Docker's old habit, which upstream keeps: what is missing becomes a directory.
        if not path.exists():
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    elif kind == "FileOrCreate" and not path.exists():
        try:
            path.touch(mode=0o644)
        except OSError as error:
            raise VolumeError(f"hostPath type check failed: {path} cannot be created: {error.strerror}") from None
    try:
        mode = path.stat().st_mode
    except OSError:
        raise VolumeError(f"hostPath type check failed: {path} is not a {_NAMES.get(kind, kind)}") from None
    if not _CHECKS[kind](mode):
        raise VolumeError(f"hostPath type check failed: {path} is not a {_NAMES.get(kind, kind)}")


_CHECKS = {
    "Directory": stat.S_ISDIR,
    "DirectoryOrCreate": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "FileOrCreate": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}
_NAMES = {
    "Directory": "directory",
    "DirectoryOrCreate": "directory",
    "File": "file",
    "FileOrCreate": "file",
    "Socket": "socket",
    "CharDevice": "character device",
    "BlockDevice": "block device",
}
