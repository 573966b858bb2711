"""A disk that cannot sync any more, for a real process: a library between it and libc, switched by a file."""

import subprocess
from pathlib import Path

from tests.etcd_raft.processes import MemberProcess

_SOURCE = Path(__file__).with_name("failing_sync.c")


class SickDisk:
    """Give it to a member before the start; from ``fail`` until ``recover`` its fsync, fdatasync and msync say EIO."""

    def __init__(self, folder: Path, member: MemberProcess) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "failing_sync.so"
        if not library.exists():
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
        self._flag = folder / f"{member.name}.sick"
        member.environment |= {"LD_PRELOAD": str(library), "FAIL_SYNC": str(self._flag)}

    def fail(self) -> None:
        self._flag.touch()

    def recover(self) -> None:
        self._flag.unlink()
