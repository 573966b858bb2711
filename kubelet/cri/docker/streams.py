"""The engine's long answers on the event loop: chunked bodies, taken-over connections, multiplexed frames.

Just enough HTTP/1.1 for an engine on a unix socket (or plain TCP): one request a connection.
"""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import orjson

from kubelet.cri.api import NotFound, RuntimeServiceError

_MAX_HEAD = 65536
_CHUNK = 65536


class EngineStream:
    """An open answer; ``reader`` and ``writer`` are the raw connection after an upgrade."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, headers: dict[str, str]
    ) -> None:
        self.reader, self.writer = reader, writer
        self.status = status
        self.headers = headers

    async def body(self) -> AsyncIterator[bytes]:
        if self.headers.get("transfer-encoding") == "chunked":
            while True:
                size = int((await self.reader.readline()).split(b";")[0] or b"0", 16)
                if size == 0:
                    return
                data = await self.reader.readexactly(size)
                await self.reader.readexactly(2)
                yield data
        left = int(self.headers.get("content-length", "-1"))
        while left != 0:
            data = await self.reader.read(_CHUNK if left < 0 else min(left, _CHUNK))
            if not data:
                return
            left -= len(data) if left > 0 else 0
            yield data

    async def lines(self) -> AsyncIterator[bytes]:
        rest = b""
        async for data in self.body():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line
        if rest:
            yield rest

    def close(self) -> None:
        self.writer.close()


async def frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """``(1 stdout | 2 stderr, bytes)`` of the engine's multiplexed format: 8 bytes of header before each piece."""
    buffer = bytearray()
    async for data in chunks:
        buffer += data
        while len(buffer) >= 8:
            size = int.from_bytes(buffer[4:8], "big")
            if len(buffer) < 8 + size:
                break
            yield buffer[0], bytes(buffer[8 : 8 + size])
            del buffer[: 8 + size]


async def raw(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(_CHUNK):
        yield data


async def request(
    endpoint: str,
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    body: object = None,
    *,
    upgrade: bool = False,
) -> EngineStream:
    """Raises :class:`NotFound` or :class:`RuntimeServiceError` with the engine's message for an error status."""
    try:
        if endpoint.startswith("unix://"):
            reader, writer = await asyncio.open_unix_connection(endpoint.removeprefix("unix://"), limit=_MAX_HEAD)
        else:
            host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=_MAX_HEAD)
    except OSError as e:
        raise RuntimeServiceError(f"the Docker engine at {endpoint} does not answer: {e.strerror or e}") from e
    try:
        data = b"" if body is None else orjson.dumps(body)
        target = path + (f"?{urlencode(query)}" if query else "")
        head = [f"{method} {target} HTTP/1.1", "Host: docker", f"Content-Length: {len(data)}"]
        head += ["Content-Type: application/json"] if data else []
        head += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
        writer.write("\r\n".join([*head, "", ""]).encode() + data)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        stream = EngineStream(reader, writer, status, headers)
        if status >= 400:
            await _refuse(stream)
        return stream
    except asyncio.IncompleteReadError as e:
        writer.close()
        raise RuntimeServiceError(f"the Docker engine at {endpoint} closed the connection") from e
    except BaseException:
        writer.close()
        raise


async def _refuse(stream: EngineStream) -> None:
    text = b"".join([data async for data in stream.body()]).decode(errors="replace")
    try:
        text = orjson.loads(text)["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise (NotFound if stream.status == 404 else RuntimeServiceError)(text)
