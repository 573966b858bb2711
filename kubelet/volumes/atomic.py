"""Files that change all at once: upstream's AtomicWriter.

A volume's files lie in a directory of their own (``..2026_11_21_04_23_05.123456789``), ``..data`` is a symbolic link to it, and
what a container sees are links through ``..data``. Exchanging that one link exchanges every file in one step.
"""

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DATA, _NEW_DATA = "..data", "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int


Payload = Mapping[str, File]


def write(directory: Path, payload: Payload, *, group: int | None = None) -> bool:
    """Make ``directory`` show exactly ``payload`` (relative path -> file); whether anything had to change."""
    data = directory / _DATA
    current = _current(directory)
    if current is not None and _same(current, payload):
        return False
    fresh = directory / f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{secrets.randbelow(10**9):09d}"
    fresh.mkdir(mode=0o755)
    fresh.chmod(0o755)
    for name, file in payload.items():
        path = fresh / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)
        if group is not None:
            os.chown(path, -1, group)
    temporary = directory / _NEW_DATA
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.rename(data)
    _link(directory, payload)
    if current is not None:
        shutil.rmtree(current, ignore_errors=True)
    return True


def _current(directory: Path) -> Path | None:
    try:
        return directory / os.readlink(directory / _DATA)
    except FileNotFoundError:
        return None


def _same(current: Path, payload: Payload) -> bool:
    found = {str(Path(folder, name).relative_to(current)) for folder, _, names in os.walk(current) for name in names}
    if found != set(payload):
        return False
    return all(
        (current / name).read_bytes() == file.data and (current / name).stat().st_mode & 0o7777 == file.mode
        for name, file in payload.items()
    )


def _link(directory: Path, payload: Payload) -> None:
    """What a container sees: one link for each first component."""
    wanted = {name.split("/", 1)[0] for name in payload}
    for name in wanted:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
