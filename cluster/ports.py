"""Which TCP ports are free, and who holds one that is not."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

_LISTEN = "0A"


def is_free(port: int) -> bool:
    """Whether anyone may still listen on it, on any address."""
    for host in ("0.0.0.0", "127.0.0.1"):
        with socket.socket() as probe:
            # As our servers do: connections of an earlier process in TIME_WAIT do not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def choose(preferred: int, taken: Iterable[int]) -> int:
    """``preferred`` when it is free, else a free one below the range that the kernel (and NodePorts) use."""
    taken = set(taken)
    if preferred not in taken and is_free(preferred):
        return preferred
    for port in range(20000 + preferred % 1000, 30000):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port between 20000 and 30000")


def holder(port: int) -> str:
    """``nginx (pid 123)``, or ``another process`` when we may not know."""
    inodes = _listening_inodes(port)
    if inodes:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and inodes & _socket_inodes(entry):
                return f"{_command(entry)} (pid {entry.name})"
    return "another process"


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _socket_inodes(process: Path) -> set[str]:
    found = set()
    try:
        for descriptor in os.scandir(process / "fd"):
            target = os.readlink(descriptor.path)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # it ended meanwhile, or is another user's
    return found


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
