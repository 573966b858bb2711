"""HTTP/1.1 for what is not gRPC: pages (health, metrics) and the JSON gateway, on the clients' port and on the metrics' one.

A few dozen lines of protocol, so that no framework is loaded. A handler gets an ``Exchange``: what was asked, the body as it comes,
and the way to answer, whole or in chunks.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

log = logging.getLogger(__name__)

_MAX_HEAD = 64 * 1024
_IDLE_SECONDS = 120.0
# As etcd with its default --cors: every page may be read from any site; who may do what is not decided by where a page is from.
_CORS = {
    "Access-Control-Allow-Headers": "accept, content-type, authorization",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE",
    "Access-Control-Allow-Origin": "*",
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

Handler = Callable[["Exchange"], Awaitable[None]]


class BadRequest(Exception):
    """What came is not HTTP, or more than is taken; the text goes back to whoever sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Exchange:
    """One request and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, max_body: int) -> None:
        self._reader, self._writer = reader, writer
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise BadRequest(400, "malformed HTTP request")
        self.method, target, version = parts
        path, _, query = target.partition("?")
        self.path = unquote(path)
        self.query = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, separator, value = line.partition(":")
            if separator:
                self.headers[name.lower()] = value.strip()
        options = self.headers.get("connection", "").lower()
        self.keep_alive = version == "HTTP/1.1" and "close" not in options
        self._max_body = max_body
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "0")
        if not length.isdigit():
            raise BadRequest(400, "bad Content-Length")
        self._left = 0 if self._chunked else int(length)
        self._taken = False
        self.answered = False

    # ---- what was asked

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises ``BadRequest`` when it is too long or not well-formed."""
        self._taken = True
        if self.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        total = 0
        while (part := await (self._chunk() if self._chunked else self._some())) is not None:
            total += len(part)
            if total > self._max_body:
                raise BadRequest(413, "the body is too large")
            yield part

    async def body(self) -> bytes:
        return b"".join([part async for part in self.parts()])

    async def _some(self) -> bytes | None:
        if not self._left:
            return None
        part = await self._reader.read(min(self._left, 1 << 16))
        if not part:
            raise ConnectionResetError("the client left in the middle of its request")
        self._left -= len(part)
        return part

    async def _chunk(self) -> bytes | None:
        line = await self._reader.readuntil(b"\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise BadRequest(400, "malformed chunked encoding") from None
        if size > self._max_body:
            raise BadRequest(413, "the body is too large")
        part = await self._reader.readexactly(size)
        await self._reader.readuntil(b"\n")
        return part if size else None

    async def skip_rest(self) -> None:
        """Read what nobody wanted, so that the next request can be found behind it."""
        if not self._taken:
            async for _ in self.parts():
                pass

    # ---- the answer

    async def reply(self, status: int, kind: str, body: str | bytes, headers: dict[str, str] | None = None) -> None:
        data = body.encode() if isinstance(body, str) else body
        self._head(status, {"Content-Type": kind, **(headers or {}), "Content-Length": str(len(data))})
        if self.method != "HEAD":
            self._writer.write(data)
        await self._writer.drain()

    def preflight(self) -> None:
        """The answer to a browser that asks whether it may ask."""
        self._head(200, {"Content-Length": "0"})

    async def refuse(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """A plain page that says why not."""
        await self.reply(status, TEXT, text, {**(headers or {}), "X-Content-Type-Options": "nosniff"})

    def begin(self, status: int, kind: str, headers: dict[str, str] | None = None) -> None:
        """An answer whose length is not known: chunks follow."""
        self.keep_alive = False  # whoever reads a stream leaves with it
        self._head(status, {"Content-Type": kind, **(headers or {}), "Transfer-Encoding": "chunked"})

    async def chunk(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def gone(self) -> None:
        """Returns when the client has closed its side."""
        while await self._reader.read(1 << 12):
            pass

    def _head(self, status: int, headers: dict[str, str]) -> None:
        assert not self.answered, "an exchange has one answer"
        self.answered = True
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in {**_CORS, **headers}.items()]
        now = time.gmtime()  # in English, whatever the locale
        lines.append(time.strftime(f"Date: {_DAYS[now.tm_wday]}, %d {_MONTHS[now.tm_mon - 1]} %Y %H:%M:%S GMT", now))
        if not self.keep_alive:
            lines.append("Connection: close")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


class WebServer:
    """Connections, one exchange after the other. Other listeners hand theirs over through ``protocol``."""

    def __init__(self, handler: Handler, max_body: int) -> None:
        self._handler = handler
        self._max_body = max_body
        self._listeners: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """A protocol for a connection that somebody else has accepted."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_MAX_HEAD), self._serve)

    async def listen(self, host: str, port: int, context: Any = None) -> None:
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self.protocol, host, port, ssl=context))

    def stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("a connection over HTTP ended: %s", error)  # whoever asked has gone, or never asked
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether another may follow."""
        async with asyncio.timeout(_IDLE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        try:
            exchange = Exchange(reader, writer, head[:-4], self._max_body)
        except BadRequest as error:
            writer.write(f"HTTP/1.1 {error.status} Bad Request\r\nConnection: close\r\n\r\n{error}\n".encode())
            await writer.drain()
            return False
        try:
            if exchange.method == "OPTIONS":
                exchange.preflight()
            else:
                await self._handler(exchange)
            await exchange.skip_rest()
        except BadRequest as error:
            exchange.keep_alive = False
            if not exchange.answered:
                await exchange.refuse(error.status, f"{error}\n")
        return exchange.keep_alive
