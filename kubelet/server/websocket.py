"""The server's side of WebSocket (RFC 6455) on a connection that has left HTTP."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, TEXT, BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_MAX_MESSAGE = 32 << 20


class WebSocketError(Exception):
    """The client breaks the protocol; the connection is of no use any more."""


def handshake(key: str, protocol: str) -> bytes:
    """The head of the answer that accepts the upgrade."""
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {accept}")
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class WebSocket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._closed = False

    async def messages(self) -> AsyncIterator[bytes]:
        """What the client sends, text or binary, until it closes or is gone."""
        whole = bytearray()
        while True:
            try:
                final, kind, data = await self._frame()
            except (asyncio.IncompleteReadError, OSError):
                return
            if kind == _PING:
                await self._send(_PONG, data)
            elif kind == _CLOSE:
                await self.close()
                return
            elif kind in (_CONTINUATION, TEXT, BINARY):
                whole += data
                if len(whole) > _MAX_MESSAGE:
                    raise WebSocketError("message too long")
                if final:
                    yield bytes(whole)
                    whole.clear()

    async def _frame(self) -> tuple[bool, int, bytes]:
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
        if length > _MAX_MESSAGE:
            raise WebSocketError("frame too long")
        if not second & 0x80:
            raise WebSocketError("clients must mask what they send")
        mask = await self._reader.readexactly(4)
        data = await self._reader.readexactly(length)
        return bool(first & 0x80), first & 0x0F, _unmask(data, mask)

    async def send(self, data: bytes, kind: int = BINARY) -> None:
        await self._send(kind, data)

    async def _send(self, kind: int, data: bytes) -> None:
        if self._closed:
            raise ConnectionResetError("the connection is closed")
        length = len(data)
        if length < 126:
            head = struct.pack(">BB", 0x80 | kind, length)
        elif length < 1 << 16:
            head = struct.pack(">BBH", 0x80 | kind, 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | kind, 127, length)
        self._writer.write(head + data)
        await self._writer.drain()

    async def close(self, code: int = 1000) -> None:
        if self._closed:
            return
        try:
            await self._send(_CLOSE, struct.pack(">H", code))
        except OSError:
            pass
        self._closed = True


def _unmask(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one long integer."""
    size = len(data)
    if not size:
        return b""
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
