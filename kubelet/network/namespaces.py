"""Opening sockets inside another network namespace: a socket belongs for ever to the namespace it was made in."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000


def _setns(fd: int) -> None:
    if hasattr(os, "setns"):  # Python 3.12
        os.setns(fd, _CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@contextmanager
def entered(path: str) -> Iterator[None]:
    """This thread in the network namespace at ``path`` (``/proc/<pid>/ns/net``); never ``await`` inside."""
    theirs = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(theirs)
        try:
            yield
        finally:
            _setns(ours)
    finally:
        os.close(theirs)
        os.close(ours)


def tcp_socket(path: str, family: int = socket.AF_INET) -> socket.socket:
    """A non-blocking TCP socket whose peers are those of the namespace at ``path``."""
    with entered(path):
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
