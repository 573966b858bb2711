"""The guard: a process that does nothing but wait for the supervisor's death, and then becomes the supervisor.

So kill -9 of the supervisor costs half a second of supervision, not the cluster. The supervisor watches the guard in turn.
"""

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.zygote import exec_again, set_title

#: Long enough that whoever kills everything at once gets the guard too, short enough that nobody waits.
PATIENCE = 0.5

__all__ = ["fork"]


def fork(arguments: Sequence[str], record: Callable[[int], None]) -> int:
    """Start the guard of the calling process; ``arguments`` are the interpreter's for a new supervisor."""
    watched = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        os.close(watched)
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        record(os.getpid())
        kept = 3
        os.dup2(watched, kept, inheritable=False) if watched != kept else None
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        set_title("cluster.guard", Path(arguments[-1]).name)
        _give_back_memory()
        poller = select.poll()
        poller.register(kept, select.POLLIN)
        poller.poll()
        time.sleep(PATIENCE)
        exec_again(arguments)
    finally:
        os._exit(1)


def _give_back_memory() -> None:
    """Free heap pages would be counted as this process's own for as long as it lives."""
    ctypes.CDLL(None).malloc_trim(0)
