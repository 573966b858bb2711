"""The calling end: one connection to an address, made when it is needed and made again when it was lost.

A call fails with ``RpcError``; ``unsent`` on it says that the server has surely not seen the call (there was no connection, or the
server said that it did not take the stream any more), so that even a write may be tried elsewhere.
"""

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from etcd_raft.grpc import frames
from etcd_raft.grpc.connection import Connection, Stream
from etcd_raft.grpc.frames import ConnectionFailed, ErrorCode, StreamFailed
from etcd_raft.grpc.headers import MAX_LIST_SIZE, Headers, encode
from etcd_raft.grpc.messages import PREFIX, MessageReader
from etcd_raft.grpc.status import OF_HTTP, OF_RESET, Code, RpcError, decode_text, format_timeout

# Responses are as large as the ranges that were asked for.
_MAX_MESSAGE = (1 << 31) - 1
_WINDOW = 16 << 20
# After a failed attempt to connect, calls fail at once for this long; then the next one tries again.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 0.25
_CONNECT_SECONDS = 20.0
_SETTINGS = {
    frames.HEADER_TABLE_SIZE: 0,
    frames.ENABLE_PUSH: 0,
    frames.INITIAL_WINDOW_SIZE: _WINDOW,
    frames.MAX_FRAME_SIZE: 256 * 1024,
    frames.MAX_HEADER_LIST_SIZE: MAX_LIST_SIZE,
}
_MAX_TIMEOUTS = 256


class ResponseHead:
    """What a header block from the server says: the beginning of an answer, its end, or both."""

    __slots__ = ("code", "encoding", "http_status", "text")

    def __init__(self, headers: Headers) -> None:
        found = dict(headers)
        self.http_status = found.get(":status", "")
        self.encoding = found.get("grpc-encoding", "identity")
        self.code: Code | None = None
        self.text = decode_text(found.get("grpc-message", ""))
        status = found.get("grpc-status")
        if status is not None:
            try:
                self.code = Code(int(status))
            except ValueError:
                self.code = Code.UNKNOWN

    def error(self) -> RpcError | None:
        """What the end of a stream means: None is OK."""
        if self.code == Code.OK:
            return None
        if self.code is not None:
            return RpcError(self.code, self.text)
        if self.http_status and self.http_status != "200":
            code = OF_HTTP.get(self.http_status, Code.UNKNOWN)
            return RpcError(code, f"unexpected HTTP status code received from server: {self.http_status}")
        return RpcError(Code.INTERNAL, "server closed the stream without sending trailers")


class ClientStream(Stream):
    """A call: ``send`` and ``receive`` messages until ``receive`` gives None; then it was OK."""

    __slots__ = ("_inbox", "_messages", "_waiter", "answer", "deadline", "error", "unary")
    connection: "ClientConnection"

    def __init__(self, connection: "ClientConnection", id: int, answer: "asyncio.Future[bytes] | None") -> None:
        Stream.__init__(self, connection, id)
        self.answer = answer  # of a unary call
        self.deadline = 0.0
        self.error: RpcError | None = None
        self._messages = MessageReader(_MAX_MESSAGE)
        self._inbox: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None

    # ---- for the caller

    async def send(self, message: bytes) -> None:
        if self.over:
            raise self.error or RpcError(Code.UNAVAILABLE, "the stream is over")
        self.write(PREFIX.pack(0, len(message)) + message)
        if self.pending_size:
            await self.drain()

    def half_close(self) -> None:
        """Nothing more will be sent."""
        if not self.over:
            self.finish(frames.frame(frames.DATA, frames.END_STREAM, self.id))

    async def receive(self) -> bytes | None:
        """The next message; None when the call ended in order."""
        while not self._inbox:
            if self.remote_closed:
                if self.error is not None:
                    raise self.error
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._inbox.popleft()
        self.consumed(len(message) + PREFIX.size)
        return message

    def cancel(self) -> None:
        if not self.remote_closed:
            self.connection.abandon(self, RpcError(Code.CANCELLED, "the caller left"))

    # ---- frames

    def on_head(self, head: ResponseHead, end: bool) -> None:
        if end:
            self.end(head.error())
        elif head.http_status != "200":
            self.connection.abandon(self, head.error())
        else:
            self._messages.encoding = head.encoding

    def on_data(self, payload: bytes, size: int, end: bool) -> None:
        try:
            found = self._messages.feed(payload)
        except RpcError as error:
            self.connection.abandon(self, error)
            return
        if self.answer is not None:
            self.consumed(size)  # it is one message, which is kept whatever its size
        else:
            # An incomplete message is credited at once too: it may be longer than the window.
            self.consumed(size - sum(len(message) + PREFIX.size for message in found))
        self._inbox.extend(found)
        self._wake()
        if end:
            self.end(RpcError(Code.INTERNAL, "server closed the stream without sending trailers"))

    def on_reset(self, code: int) -> None:
        error = ErrorCode(code) if code in ErrorCode.__members__.values() else ErrorCode.INTERNAL_ERROR
        text = f"stream terminated by RST_STREAM with error code: {error.name}"
        self.end(RpcError(OF_RESET.get(error, Code.INTERNAL), text, unsent=error == ErrorCode.REFUSED_STREAM))

    def end(self, error: RpcError | None) -> None:
        if self.remote_closed:
            return
        self.remote_closed = True
        self.error = error
        self.connection.ended(self)
        answer = self.answer
        if answer is not None and not answer.done():
            if error is not None:
                answer.set_exception(error)
            elif not self._inbox:
                answer.set_exception(RpcError(Code.INTERNAL, "the server gave no answer"))
            else:
                answer.set_result(self._inbox[0])
        self._wake()

    def consumed(self, size: int) -> None:
        if size:
            super().consumed(size)

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None


class ClientConnection(Connection):
    """One connection while it lasts."""

    first_bytes = frames.PREFACE

    def __init__(self, among: "set[ClientConnection]", keepalive: float, keepalive_timeout: float) -> None:
        super().__init__(_SETTINGS, ResponseHead)
        self._among = among
        self._poll: select.poll | None = None
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.draining = False  # the server takes no more streams
        self._next = 1
        self._waiting: deque[asyncio.Future[None]] = deque()  # for a free stream
        self._deadlines: asyncio.TimerHandle | None = None
        self._keepalive = keepalive
        self._keepalive_timeout = keepalive_timeout
        self._watchdog: asyncio.TimerHandle | None = None
        self._pinged_at: float | None = None
        self._lost_because = ""

    @property
    def usable(self) -> bool:
        return not self.closed and not self.draining

    def quiet_and_gone(self) -> bool:
        """Whether the server has hung up on a connection without calls, and the loop has not come to see it yet.

        A call sent into such a connection would fail without anybody knowing whether it had been seen.
        """
        if self.streams or self._poll is None or not self._poll.poll(0):
            return False
        self.close()
        return True

    # ---- streams

    async def free_stream(self) -> None:
        """Wait until the server takes one more stream."""
        while len(self.streams) >= self.peer_streams and self.usable:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiting.append(waiter)
            await waiter
        if not self.usable:
            raise RpcError(Code.UNAVAILABLE, "the connection was lost before the call was sent", unsent=True)

    def open(self, block: bytes, answer: "asyncio.Future[bytes] | None", message: bytes | None) -> ClientStream:
        """A new stream; with ``message`` that is all it sends, in one write in the common case."""
        id = self._next
        self._next += 2
        if self._next > frames.MAX_WINDOW:
            self.draining = True
        stream = self.streams[id] = ClientStream(self, id, answer)
        if self.prefix:
            block, self.prefix = self.prefix + block, b""
        head = frames.head(len(block), frames.HEADERS, frames.END_HEADERS, id) + block
        if len(self.streams) == 1:
            self._watch()
        if message is None:
            self.write(head)
            return stream
        size = len(message) + PREFIX.size
        if size <= self.peer_frame and size <= stream.send_window and size <= self.send_window and self.writable:
            self.send_window -= size
            data = frames.head(size, frames.DATA, frames.END_STREAM, id)
            self.write(b"".join((head, data, PREFIX.pack(0, len(message)), message)))
            stream.local_closed = True
            return stream
        self.write(head)
        stream.write(PREFIX.pack(0, len(message)) + message)
        stream.half_close()
        return stream

    def abandon(self, stream: ClientStream, error: RpcError | None) -> None:
        """End a stream from this side, and tell the server."""
        if self.streams.pop(stream.id, None) is not None:
            self.write(frames.rst_stream(stream.id, ErrorCode.CANCEL))
        stream.discard()
        stream.end(error)

    def ended(self, stream: ClientStream) -> None:
        """The server has said all, or the stream was reset."""
        if self.streams.pop(stream.id, None) is not None and not stream.local_closed:
            # An answer before all was asked: what is unsent is not wanted.
            self.write(frames.rst_stream(stream.id, ErrorCode.CANCEL))
        stream.discard()
        while self._waiting and len(self.streams) < self.peer_streams:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        if self.draining and not self.streams:
            self.close()

    def on_headers(self, id: int, head: ResponseHead, end: bool) -> None:
        if self.is_idle(id):
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"HEADERS on the stream {id}, which nobody has opened")
        stream = self.streams.get(id)
        if stream is None:
            return  # we have left it
        if head.http_status.startswith("1") and not end:
            return
        if not end and head.http_status == "":
            raise StreamFailed(id, ErrorCode.PROTOCOL_ERROR, "trailers without the end of the stream")
        stream.on_head(head, end)

    def on_stream_lost(self, stream: ClientStream, reason: str) -> None:
        text = self._lost_because or reason
        stream.end(RpcError(Code.UNAVAILABLE, f"the connection was lost: {text}"))

    def on_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def on_goaway(self, last: int, code: int, text: str) -> None:
        self.draining = True
        reason = f"the server closes the connection: {text or ErrorCode(code).name if code <= 13 else code}"
        for stream in [s for s in self.streams.values() if s.id > last]:
            stream.local_closed = True
            stream.end(RpcError(Code.UNAVAILABLE, reason, unsent=True))
        self._lost_because = reason
        self._release_waiting()
        if not self.streams:
            self.close()

    # ---- the socket

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._among.add(self)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._among.discard(self)
        self._poll = None
        for timer in (self._deadlines, self._watchdog):
            if timer is not None:
                timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError(str(error or "the server closed the connection at once")))
        self._release_waiting()

    def fail(self, error: ConnectionFailed) -> None:
        self._lost_because = f"the server broke the protocol: {error}"
        super().fail(error)

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def last_stream(self) -> int:
        return 0

    def is_idle(self, id: int) -> bool:
        return not id & 1 or id >= self._next

    # ---- time

    def set_deadline(self, stream: ClientStream, seconds: float) -> None:
        """One timer for all calls, at the earliest deadline."""
        stream.deadline = self.loop.time() + seconds
        if self._deadlines is None or stream.deadline < self._deadlines.when():
            if self._deadlines is not None:
                self._deadlines.cancel()
            self._deadlines = self.loop.call_at(stream.deadline, self._expire)

    def _expire(self) -> None:
        now = self.loop.time()
        for stream in [s for s in self.streams.values() if s.deadline and s.deadline <= now]:
            self.abandon(stream, RpcError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded"))
        left = [s.deadline for s in self.streams.values() if s.deadline]
        self._deadlines = self.loop.call_at(min(left), self._expire) if left else None

    def _watch(self) -> None:
        """While there are calls, a server that is silent is pinged, and given up when it does not answer."""
        if self._watchdog is None:
            self._pinged_at = None
            self._watchdog = self.loop.call_later(self._keepalive, self._look)

    def _look(self) -> None:
        self._watchdog = None
        if self.closed or not self.streams:
            return
        if self._pinged_at is not None and self.heard < self._pinged_at:
            self._lost_because = "keepalive watchdog timeout"
            self._transport.abort()
            return
        now = self.loop.time()
        quiet = now - self.heard
        if quiet >= self._keepalive:
            self._pinged_at = now
            self.write(frames.frame(frames.PING, 0, 0, b"still up"))
            self._watchdog = self.loop.call_later(self._keepalive_timeout, self._look)
            return
        self._pinged_at = None
        self._watchdog = self.loop.call_later(self._keepalive - quiet, self._look)


class Channel:
    """An address. Connects at the first call; ``context`` makes it TLS."""

    def __init__(
        self,
        address: str,
        context: Callable[[], ssl.SSLContext] | None = None,
        *,
        keepalive: float = 10.0,
        keepalive_timeout: float = 5.0,
        user_agent: str = "minik8s",
    ) -> None:
        self.address = address
        self._host, self._port = _split(address)
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._keepalive = (keepalive, keepalive_timeout)
        self._user_agent = user_agent
        self._connection: ClientConnection | None = None
        self._open: set[ClientConnection] = set()  # with those that only finish what they have
        self._connecting: asyncio.Task[ClientConnection] | None = None
        self._backoff = _FIRST_BACKOFF
        self._not_before = 0.0
        self._why_not = ""
        self._closed = False
        self._blocks: dict[Any, bytes] = {}
        self._timeouts: dict[float, bytes] = {}

    # ---- calls

    async def unary(
        self, path: str, request: bytes, timeout: float | None = None, metadata: Iterable[tuple[str, str]] = ()
    ) -> bytes:
        block = self._block(path, metadata, timeout)
        connection = self._connection
        if (
            connection is None
            or not connection.usable
            or len(connection.streams) >= connection.peer_streams
            or connection.quiet_and_gone()
        ):
            connection = await self._within(timeout)
        answer: asyncio.Future[bytes] = connection.loop.create_future()
        stream = connection.open(block, answer, request)
        if timeout is not None:
            connection.set_deadline(stream, timeout)
        try:
            return await answer
        except asyncio.CancelledError:
            stream.cancel()
            raise

    async def stream(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> ClientStream:
        connection = await self._connected()
        return connection.open(self._block(path, metadata, None), None, None)

    def _block(self, path: str, metadata: Iterable[tuple[str, str]], timeout: float | None) -> bytes:
        """The header block of a call; what is the same for all calls of a method is encoded once."""
        key = (path, tuple(metadata))
        block = self._blocks.get(key)
        if block is None:
            scheme = "https" if self._make_context is not None else "http"
            head = [(":method", "POST"), (":scheme", scheme), (":path", path), (":authority", self.address)]
            head += [
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", self._user_agent),
                *key[1],
            ]
            block = self._blocks[key] = encode(head)
        if timeout is None:
            return block
        field = self._timeouts.get(timeout)
        if field is None:
            if len(self._timeouts) >= _MAX_TIMEOUTS:
                self._timeouts.clear()
            field = self._timeouts[timeout] = encode([("grpc-timeout", format_timeout(timeout))])
        return block + field

    # ---- the connection

    async def _within(self, timeout: float | None) -> ClientConnection:
        try:
            async with asyncio.timeout(timeout):
                return await self._connected()
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded", unsent=True) from None

    async def _connected(self) -> ClientConnection:
        while True:
            connection = self._connection
            if connection is None or not connection.usable or connection.quiet_and_gone():
                connection = await self._connect()
            await connection.free_stream()
            return connection

    async def _connect(self) -> ClientConnection:
        if self._closed:
            raise RpcError(Code.CANCELLED, "the channel is closed", unsent=True)
        if self._connecting is None:
            loop = asyncio.get_running_loop()
            if loop.time() < self._not_before:
                raise RpcError(Code.UNAVAILABLE, self._why_not, unsent=True)
            self._connecting = loop.create_task(self._dial(), name=f"grpc-{self.address}")
            self._connecting.add_done_callback(self._dialled)
        return await asyncio.shield(self._connecting)

    def _dialled(self, task: "asyncio.Task[ClientConnection]") -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # whoever still waits has it

    async def _dial(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        connection: ClientConnection | None = None
        try:
            if self._make_context is not None and self._context is None:
                self._context = self._make_context()
                self._context.set_alpn_protocols(["h2"])
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: ClientConnection(self._open, *self._keepalive), self._host, self._port, ssl=self._context
                )
                await connection.ready
        except (OSError, TimeoutError, ValueError) as error:
            if connection is not None:
                connection.close()
            self._why_not = (
                f"failed to connect to all addresses; last error: {self.address}: {error or type(error).__name__}"
            )
            self._not_before = loop.time() + self._backoff
            self._backoff = min(self._backoff * 2, _LONGEST_BACKOFF)
            raise RpcError(Code.UNAVAILABLE, self._why_not, unsent=True) from None
        self._backoff = _FIRST_BACKOFF
        if self._closed:
            connection.close()
        self._connection = connection
        return connection

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._connection = None
        for connection in list(self._open):
            for stream in list(connection.streams.values()):
                connection.abandon(stream, RpcError(Code.CANCELLED, "the channel is closed"))
            connection.close()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"the address {address!r} is not of the form HOST:PORT")
    return host.strip("[]"), int(port)
