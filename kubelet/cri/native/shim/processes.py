"""Processes by their numbers: whether one is still the one we knew, and the end of all that a container has left."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
import time

_ROUNDS = 16


def start_time(pid: int) -> int:
    """Field 22 of ``/proc/PID/stat``, in clock ticks since boot: with the pid it names a process for good. 0: it has ended
    (also when its parent, perhaps a lazy init, has not reaped it)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError):
        return 0


def kill_process(pid: int) -> None:
    try:
        posix.kill(pid, _signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_all(cgroups: list[str]) -> None:
    """SIGKILL what is in the container's cgroup; without cgroups our own children, whom orphans join (subreaper)."""
    own = posix.getpid()
    for _round in range(_ROUNDS):
        if cgroups:
            words = lines(cgroups[0] + "/cgroup.procs")
        else:
            words = " ".join(lines(f"/proc/self/task/{own}/children")).split()
        pids = {int(word) for word in words} - {0, own}
        if not pids:
            return
        for pid in pids:
            kill_process(pid)
        time.sleep(0.002)


def lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []
