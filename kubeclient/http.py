"""HTTP/1.1 to one server, over connections that are kept: what the Kubernetes API needs of HTTP and no more.

Our own because every component makes hundreds of small calls a second on it: a call costs a tenth of what it costs with a
general client, and nothing of that client has to be imported. The parser is httptools' (C).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httptools

CONNECT_TIMEOUT = 5.0
_MAX_IDLE_CONNECTIONS = 64
_IDLE_SECONDS = 60.0
#: Calls under way at once; more wait their turn. Streams do not count: each lives as long as its watch.
MAX_IN_FLIGHT = 64
#: A reader of a stream that is slower than the server makes it wait when so much lies here.
_HIGH_WATER, _LOW_WATER = 1 << 20, 1 << 18
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"


class TransportError(Exception):
    """No answer: the server cannot be reached, the connection broke, or nothing came in time."""


class ConnectError(TransportError):
    """No connection, so nothing was sent."""


class ConnectionBroken(TransportError):
    """The connection ended before the answer did; whether the server has acted is unknown."""


class ReadTimeout(TransportError):
    """The server was silent for too long."""


class Response:
    """An answer, whatever its code. Names of headers are in lower case."""

    __slots__ = ("content", "headers", "status_code")

    def __init__(self, status_code: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.status_code, self.headers, self.content = status_code, headers, content

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300


class _Exchange:
    """One request's answer while it comes in."""

    __slots__ = ("chunks", "complete", "error", "headers", "size", "status", "streaming", "waiter")

    def __init__(self, *, streaming: bool) -> None:
        self.streaming = streaming
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.complete = False
        self.error: TransportError | None = None
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def fail(self, error: TransportError) -> None:
        if not self.complete and self.error is None:
            self.error = error
            self.wake()

    async def wait(self) -> None:
        """Until something happens that this kind of reader waits for."""
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None


class _Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    def __init__(self, pool: "HttpClient") -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._exchange: _Exchange | None = None
        self._informational = False
        self._until_close = False
        self._paused = False
        self.closed = False
        self.last_activity = 0.0

    # --- the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.last_activity = self._pool.clock()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abort(ConnectionBroken(f"the server's answer is no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        exchange = self._exchange
        if exchange is None:
            return
        if exc is None and self._until_close and exchange.status:
            # An answer without a length ends with its connection.
            self._finish()
        else:
            exchange.fail(ConnectionBroken(str(exc) if exc else "the server closed the connection"))

    # --- the parser ---------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._exchange is not None:
            self._exchange.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        exchange, code = self._exchange, self._parser.get_status_code()
        if exchange is None:
            return
        self._informational = 100 <= code < 200 and code != 101
        if self._informational:
            exchange.headers.clear()
            return
        exchange.status = code
        headers = exchange.headers
        self._until_close = "content-length" not in headers and "transfer-encoding" not in headers
        if exchange.streaming:
            exchange.wake()

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        exchange.chunks.append(body)
        if exchange.streaming:
            exchange.size += len(body)
            if exchange.size > _HIGH_WATER and not self._paused:
                self._transport.pause_reading()
                self._paused = True
            exchange.wake()

    def on_message_complete(self) -> None:
        if self._exchange is not None and not self._informational:
            self._finish()

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        exchange.complete = True
        exchange.wake()
        if self._parser.should_keep_alive() and not self.closed and not self._until_close:
            self._pool.release(self)
        else:
            self.close()

    # --- the caller ---------------------------------------------------------------------------------------------

    def send(self, request: bytes, *, streaming: bool) -> _Exchange:
        self._exchange = exchange = _Exchange(streaming=streaming)
        self._until_close = False
        self.last_activity = self._pool.clock()
        self._transport.write(request)
        return exchange

    def taken(self, exchange: _Exchange, chunk: bytes) -> None:
        """The reader has taken a chunk: let more come."""
        exchange.size -= len(chunk)
        if self._paused and exchange.size < _LOW_WATER:
            self._paused = False
            if not self.closed:
                self._transport.resume_reading()

    def abort(self, error: TransportError) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.fail(error)
        self.closed = True
        self._transport.abort()

    def close(self) -> None:
        self.closed = True
        self._transport.close()


class HttpClient:
    """All calls to one server. ``context`` None: no TLS. Use from one event loop."""

    def __init__(
        self,
        base_url: str,
        context: ssl.SSLContext | None,
        *,
        server_name: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is no URL of a server: want https://host:port")
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._context = context if parts.scheme == "https" else None
        self._server_name = (server_name or parts.hostname) if self._context is not None else None
        self._prefix = parts.path.rstrip("/")
        self._fixed = _header_lines({"host": parts.netloc.rpartition("@")[2], **(headers or {})})
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._closed = False
        self._turns = asyncio.Semaphore(MAX_IN_FLIGHT)

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout: float,
    ) -> Response:
        """The whole answer. ``timeout``: the longest silence in seconds."""
        request = self._encode(method, path, params, headers, content)
        async with self._turns:
            return await self._exchange(request, timeout)

    async def _exchange(self, request: bytes, timeout: float) -> Response:
        connection = await self._acquire()
        exchange = connection.send(request, streaming=False)
        watchdog = _Watchdog(connection, timeout)
        try:
            while not exchange.complete and exchange.error is None:
                await exchange.wait()
        finally:
            watchdog.stop()
            if not exchange.complete:
                connection.abort(ConnectionBroken("given up"))
        if exchange.error is not None:
            raise exchange.error
        return Response(exchange.status, exchange.headers, b"".join(exchange.chunks))

    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float,
        read_timeout: float | None,
    ) -> AsyncGenerator[bytes | Response, None]:
        """A GET's answer as it comes: first the :class:`Response` without its content, then the pieces of that.

        ``timeout`` is for the beginning of the answer, ``read_timeout`` the longest silence afterwards (None: any).
        """
        request = self._encode("GET", path, params, headers, None)
        connection = await self._acquire()
        exchange = connection.send(request, streaming=True)
        watchdog = _Watchdog(connection, timeout)
        try:
            while not exchange.status and exchange.error is None:
                await exchange.wait()
            if exchange.status:
                watchdog.stop()
                watchdog = _Watchdog(connection, read_timeout)
                yield Response(exchange.status, exchange.headers)
            while True:
                while exchange.chunks:
                    chunk = exchange.chunks.popleft()
                    connection.taken(exchange, chunk)
                    yield chunk
                if exchange.complete:
                    return
                if exchange.error is not None:
                    raise exchange.error
                await exchange.wait()
        finally:
            watchdog.stop()
            if not exchange.complete:
                connection.abort(ConnectionBroken("given up"))

    async def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            # No farewell: with TLS that takes an answer, and a loop that ends before it comes leaks the socket.
            connection.abort(ConnectionBroken("the client was closed"))
        await asyncio.sleep(0)  # the turn in which the transports close

    # --- connections --------------------------------------------------------------------------------------------

    def release(self, connection: _Connection) -> None:
        if self._closed or len(self._idle) >= _MAX_IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _acquire(self) -> _Connection:
        if self._closed:
            raise ConnectError("the client is closed")
        now = self.clock()
        while self._idle:
            # The one used last: the others grow old and go.
            connection = self._idle.pop()
            if connection.closed:
                continue
            if now - connection.last_activity < _IDLE_SECONDS:
                return connection
            connection.close()
        return await self._connect()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self),
                    self._host,
                    self._port,
                    ssl=self._context,
                    server_hostname=self._server_name,
                )
        except TimeoutError:
            raise ConnectError(f"no connection to {self._host}:{self._port} within {CONNECT_TIMEOUT:g} s") from None
        except (OSError, ssl.SSLError) as error:
            raise ConnectError(f"cannot connect to {self._host}:{self._port}: {error}") from error
        self._open.add(connection)
        return connection

    def _encode(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
    ) -> bytes:
        target = (
            quote(self._prefix + path, safe=_PATH_SAFE + "?")
            if not path.isascii() or " " in path
            else self._prefix + path
        )
        if params:
            target += ("&" if "?" in target else "?") + urlencode(params)
        head = f"{method} {target} HTTP/1.1\r\n{self._fixed}"
        if headers:
            head += _header_lines(headers)
        if content is not None:
            return f"{head}content-length: {len(content)}\r\n\r\n".encode("latin-1") + content
        if method not in ("GET", "HEAD", "DELETE"):
            head += "content-length: 0\r\n"
        return f"{head}\r\n".encode("latin-1")


class _Watchdog:
    """Ends a connection on which nothing has come for too long. None: never."""

    def __init__(self, connection: _Connection, timeout: float | None) -> None:
        self._connection, self._timeout = connection, timeout
        self._timer = asyncio.get_running_loop().call_later(timeout, self._look) if timeout is not None else None

    def _look(self) -> None:
        assert self._timeout is not None
        loop = asyncio.get_running_loop()
        left = self._connection.last_activity + self._timeout - loop.time()
        if left > 0.001:
            self._timer = loop.call_later(left, self._look)
        else:
            self._connection.abort(ReadTimeout(f"the server was silent for {self._timeout:g} s"))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _header_lines(headers: Mapping[str, str]) -> str:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if lines.count("\r") != len(headers) or lines.count("\n") != len(headers):
        raise ValueError("a header's value must be one line")
    return lines
