"""What the API server is to a kubelet: requests and upgrades over TLS with a client certificate."""

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator
from urllib.parse import quote

from kubelet.server import spdy
from tests.kubelet.conftest import Node


class KubeletClient:
    def __init__(
        self, node: Node, name: str = "kube-apiserver", *groups: str, certificate: bool = True, token: str = ""
    ) -> None:
        self._node = node
        self._credentials = [f"Authorization: Bearer {token}"] if token else []
        pki = node._server.pki
        self._tls = ssl.create_default_context(cafile=str(pki.ca))
        if certificate:
            cert, key = pki.issue(f"client-{name}", name, [g for g in groups or ("system:masters",) if g])
            self._tls.load_cert_chain(cert, key)

    async def open(
        self, method: str, path: str, *headers: str
    ) -> tuple[int, dict[str, str], asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._node.port, ssl=self._tls)
        lines = [f"{method} {path} HTTP/1.1", "Host: kubelet", *self._credentials, *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        return int(head[0].split()[1]), found, reader, writer

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with asyncio.timeout(20):
            code, headers, reader, writer = await self.open(method, path, "Connection: close")
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await reader.readline(), 16):
                    body += await reader.readexactly(size)
                    await reader.readline()
            else:
                body = await reader.readexactly(int(headers.get("content-length", 0)))
            writer.close()
            return code, body.decode()

    async def websocket(self, path: str, protocol: str) -> "WebSocketClient":
        code, headers, reader, writer = await self.open(
            "GET", path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Protocol: {protocol}",
        )  # fmt: skip
        assert code == 101, code
        return WebSocketClient(headers["sec-websocket-protocol"], reader, writer)

    async def spdy(self, path: str, protocol: str) -> "SpdyClient":
        code, headers, reader, writer = await self.open(
            "POST", path, "Connection: Upgrade", "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}"
        )
        assert code == 101, code
        return SpdyClient(headers["x-stream-protocol-version"], reader, writer)


class WebSocketClient:
    def __init__(self, protocol: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocol, self._reader, self._writer = protocol, reader, writer

    def send(self, data: bytes) -> None:
        mask = os.urandom(4)
        assert len(data) < 126
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        self._writer.write(bytes([0x82, 0x80 | len(data)]) + mask + masked)

    async def messages(self) -> AsyncIterator[bytes]:
        async with asyncio.timeout(20):
            while True:
                kind, length = await self._reader.readexactly(2)
                if length == 126:
                    (length,) = struct.unpack(">H", await self._reader.readexactly(2))
                data = await self._reader.readexactly(length)
                if kind & 0x0F == 8:
                    self._writer.close()
                    return
                yield data

    async def channels(self) -> dict[int, bytes]:
        """Everything until the end, by channel."""
        found: dict[int, bytes] = {}
        async for message in self.messages():
            found[message[0]] = found.get(message[0], b"") + message[1:]
        return found

    def close(self) -> None:
        self._writer.close()


class SpdyClient:
    def __init__(self, protocol: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocol, self._reader, self._writer = protocol, reader, writer
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self._next = 1
        self.replies: set[int] = set()

    def open(self, **headers: str) -> int:
        number, self._next = self._next, self._next + 2
        self._writer.write(self._encoder.syn_stream(number, headers))
        return number

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self._writer.write(self._encoder.data(stream, data, fin=fin))

    async def frames(self) -> AsyncIterator[spdy.Data]:
        async with asyncio.timeout(20):
            while data := await self._reader.read(65536):
                for frame in self._decoder.feed(data):
                    if isinstance(frame, spdy.Data):
                        yield frame
                    elif frame.type == spdy.SYN_REPLY:
                        self.replies.add(frame.stream)

    async def streams(self, ends: set[int]) -> dict[int, bytes]:
        """What came until all of ``ends`` were half-closed, by stream."""
        found: dict[int, bytes] = {}
        left = set(ends)
        async for frame in self.frames():
            found[frame.stream] = found.get(frame.stream, b"") + frame.data
            if frame.fin:
                left.discard(frame.stream)
            if not left:
                break
        return found

    def close(self) -> None:
        self._writer.close()


def target(action: str, node: Node, pod: str, container: str = "c", **query: str | list[str]) -> str:
    pairs = [(k, v) for k, values in query.items() for v in ([values] if isinstance(values, str) else values)]
    text = "&".join(f"{k}={quote(v)}" for k, v in pairs)
    return f"/{action}/{node.namespace}/{pod}" + (f"/{container}" if container else "") + (f"?{text}" if text else "")
