"""Messages between the kubelet, the spawner and the monitors: one dict a packet, with file descriptors.

The sockets are unix ``SOCK_SEQPACKET``, which keep message borders and pass descriptors. A message is ``marshal``
(format 2, which every Python reads) because it is a builtin: ``json`` would cost each monitor a megabyte. Only processes
of the same user can connect, so unmarshalling is not a door. A message too big for a packet travels in a memfd.
"""

from __future__ import annotations

import _socket
import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would cost every monitor memory
    from typing import Any

_INLINE = 60_000
_MAX_FDS = 8


def send(sock: Any, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one packet; raises ``OSError`` when the other side is gone (``BlockingIOError`` when it does not read)."""
    data = marshal.dumps(message, 2)
    if len(data) <= _INLINE:
        _send(sock, b"i" + data, fds)
        return
    memory = posix.memfd_create("message")
    try:
        view = memoryview(data)
        while view:
            view = view[posix.write(memory, view) :]
        _send(sock, b"m", (memory, *fds))
    finally:
        posix.close(memory)


def _send(sock: Any, data: bytes, fds: tuple[int, ...]) -> None:
    ancillary = []
    if fds:
        packed = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
    sock.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)


def receive(sock: Any) -> tuple[dict[str, Any], list[int]] | None:
    """The next packet and its descriptors (close-on-exec); None at the end of the connection."""
    space = _socket.CMSG_SPACE(4 * _MAX_FDS)
    data, ancillary, _flags, _address = sock.recvmsg(_INLINE + 16, space, _socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, packed in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds += [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed) - 3, 4)]
    if not data:
        for fd in fds:
            posix.close(fd)
        return None
    if data[:1] == b"m":
        memory = fds.pop(0)
        try:
            size = posix.fstat(memory).st_size
            data, offset = b"", 0
            while offset < size:
                data += posix.pread(memory, size - offset, offset)
                offset = len(data)
        finally:
            posix.close(memory)
    else:
        data = data[1:]
    return marshal.loads(data), fds
