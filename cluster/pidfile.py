"""A pid file that cannot lie: it names a process by pid and start time, so a recycled pid is never mistaken for ours."""

import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from cluster.home import write

#: Clock ticks in a second.
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Record:
    """``born`` is the kernel's start time of the process in clock ticks; ``command`` what it was started with."""

    pid: int
    born: int
    restarts: int = 0
    last_exit: str = ""
    command: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return born(self.pid) == self.born

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal unless the process is gone (or the pid is another's by now)."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def born(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is none (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def save(path: Path, record: Record) -> None:
    write(path, orjson.dumps(asdict(record)))


def load(path: Path) -> Record | None:
    """None when there is none or it cannot be read (a half-written one is never seen, but disks fill up)."""
    try:
        return Record(**orjson.loads(path.read_bytes()))
    except (OSError, TypeError, orjson.JSONDecodeError):
        return None
