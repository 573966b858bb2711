"""The serving end: methods by path, each call a task.

A unary method is ``run(request bytes, stream) -> reply bytes``, a streaming one ``run(stream)`` with ``await stream.receive()``
(None at the end) and ``await stream.send(message)``. An exception of the class ``refusal`` (with ``code``, the name of a gRPC
code, and ``text``) becomes the call's status; so does ``RpcError``. ``stream.metadata`` and ``stream.common_name`` say who calls.

Bytes that do not start like HTTP/2 are HTTP/1.1: they go to the protocol that ``http1`` makes, if there is one.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from etcd_raft.grpc import frames
from etcd_raft.grpc.connection import Connection, Stream
from etcd_raft.grpc.frames import ConnectionFailed, ErrorCode, StreamFailed
from etcd_raft.grpc.headers import MAX_LIST_SIZE, encode
from etcd_raft.grpc.messages import PREFIX, MessageReader, prefixed
from etcd_raft.grpc.requests import RequestHead
from etcd_raft.grpc.status import Code, RpcError, encode_text

log = logging.getLogger(__name__)

_HEAD = encode([(":status", "200"), ("content-type", "application/grpc")])
_TRAILERS = encode([("grpc-status", "0"), ("grpc-message", "")])
_HEAD_START = frames.head(len(_HEAD), frames.HEADERS, frames.END_HEADERS, 0)[:5]
_TRAILERS_START = frames.head(len(_TRAILERS), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0)[:5]
_DATA_START = bytes((frames.DATA, 0))

_MAX_STREAMS = 10_000
# Requests that have not come whole, and unread messages of streams: all connections together.
_MAX_HELD = 256 << 20
# Answers that a connection has not taken: beyond it, no new calls.
_MAX_UNSENT = 64 << 20
_PREFACE_SECONDS = 30.0
# etcd's enforcement: a client that pings more often than this, without any answer having gone out in between, is sent away.
_PING_SECONDS, _PING_STRIKES = 5.0, 2
_KEEPALIVE_SECONDS, _KEEPALIVE_TIMEOUT = 7200.0, 20.0
_MAX_LEFT = 1024


class Unary:
    __slots__ = ("run",)

    def __init__(self, run: "Callable[[bytes, ServerStream], Awaitable[bytes]]") -> None:
        self.run = run


class Streaming:
    __slots__ = ("run",)

    def __init__(self, run: "Callable[[ServerStream], Awaitable[None]]") -> None:
        self.run = run


class ServerStream(Stream):
    """One call."""

    __slots__ = ("_head_sent", "_inbox", "_messages", "_method", "_waiter", "deadline", "expired", "head", "task")
    connection: "ServerConnection"

    def __init__(self, connection: "ServerConnection", id: int, head: RequestHead, method: Unary | Streaming) -> None:
        Stream.__init__(self, connection, id)
        self.head = head
        self.task: asyncio.Task[None] | None = None
        self.deadline = 0.0
        self.expired = False
        self._method = method
        self._messages: MessageReader | None = None
        self._inbox: deque[bytes] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._head_sent = False

    # ---- for the methods

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.head.metadata

    @property
    def common_name(self) -> str:
        """The name in the client's certificate; empty without one."""
        return self.connection.common_name

    async def receive(self) -> bytes | None:
        """The client's next message, or None when it has said all."""
        while not self._inbox:
            if self.remote_closed:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._inbox.popleft()
        self.connection.server.held -= len(message)
        self.consumed(len(message) + PREFIX.size)
        return message

    async def send(self, *messages: bytes) -> None:
        """Returns when so little is unsent that the next ones may come."""
        self.push(*messages)
        if self.pending_size:
            await self.drain()

    def push(self, *messages: bytes) -> None:
        """Send without waiting. Whoever uses it has to look at ``pending_size``."""
        if self.over:
            raise RpcError(Code.CANCELLED, "the call is over")
        if not self._head_sent:
            self._send_head()
        self.write(b"".join([prefixed(message) for message in messages]))
        self.connection.answered = True

    # ---- the end of a call

    def reply(self, message: bytes) -> None:
        """The one answer of a unary call, and its end: one write in the common case."""
        connection, size = self.connection, len(message) + PREFIX.size
        if self.over:
            return
        if (
            size > connection.peer_frame
            or size > self.send_window
            or size > connection.send_window
            or connection.prefix
            or not connection.writable
        ):
            self.push(message)
            self.finish(self._trailers())
            return
        id = self.id.to_bytes(4, "big")
        connection.send_window -= size
        connection.write(
            b"".join((
                _HEAD_START, id, _HEAD, size.to_bytes(3, "big"), _DATA_START, id, PREFIX.pack(0, size - PREFIX.size), message,
                _TRAILERS_START, id, _TRAILERS,
            ))
        )  # fmt: skip
        self.local_closed = True
        connection.answered = True
        connection.after_final(self)

    def end(self, code: Code = Code.OK, text: str = "") -> None:
        """Say how the call ended."""
        if self.over:
            return
        self.connection.answered = True
        if code == Code.OK and not self._head_sent:
            self._send_head()
        self.finish(self._trailers(code, text))

    def _send_head(self) -> None:
        self._head_sent = True
        connection = self.connection
        block, connection.prefix = connection.prefix + _HEAD, b""
        connection.write(frames.frame(frames.HEADERS, frames.END_HEADERS, self.id, block))

    def _trailers(self, code: Code = Code.OK, text: str = "") -> bytes:
        if code == Code.OK:
            return _TRAILERS_START + self.id.to_bytes(4, "big") + _TRAILERS
        block = encode([("grpc-status", str(int(code))), ("grpc-message", encode_text(text)[:8192])])
        if not self._head_sent:
            connection = self.connection
            block, connection.prefix = connection.prefix + _HEAD + block, b""
        return frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, self.id, block)

    # ---- frames

    def on_data(self, payload: bytes, size: int, end: bool) -> None:
        server = self.connection.server
        messages = self._messages
        if messages is None:
            messages = self._messages = MessageReader(server.max_message, self.head.encoding)
        held, wrong, found = messages.held, None, []
        try:
            found = messages.feed(payload)
        except RpcError as error:
            wrong = error
        server.held += messages.held - held
        if wrong is not None:
            self.remote_closed = end
            self._refuse(wrong.code, wrong.text)
            return
        if isinstance(self._method, Unary):
            self.consumed(size)
            if found and self.task is None:
                self._start(self._unary(self._method, found[0]))
        else:
            # The prefixes and the bytes of messages are given back when the messages are taken, what is neither at once.
            kept = sum(len(message) for message in found)
            server.held += kept
            self.consumed(size - len(payload))
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.extend(found)
            self._wake()
        if server.held > _MAX_HELD:
            raise StreamFailed(self.id, ErrorCode.ENHANCE_YOUR_CALM, "too much is unread")
        if end:
            self.on_end()

    def on_end(self) -> None:
        """The client has said all."""
        self.remote_closed = True
        if self._messages is not None and self._messages.held:
            self._refuse(Code.INTERNAL, "unexpected EOF")
        elif self.task is None:
            self._refuse(Code.INTERNAL, "the request has no message")
        self._wake()

    def start_stream(self) -> None:
        assert isinstance(self._method, Streaming)
        self._start(self._stream(self._method))

    def on_reset(self, code: int) -> None:
        self.release()
        if self.task is not None:
            self.task.cancel()

    def expire(self) -> None:
        """The caller's time is over."""
        self.expired = True
        self._refuse(Code.DEADLINE_EXCEEDED, "context deadline exceeded")

    def _refuse(self, code: Code, text: str) -> None:
        task = self.task
        if self.pending_size:  # the client does not read: nothing can be said any more
            self.connection.reset(self.id, ErrorCode.CANCEL)
        else:
            self.end(code, text)
        if task is not None:
            task.cancel()

    def release(self) -> None:
        """Give back what is held for unread messages."""
        held = self._messages.held if self._messages is not None else 0
        if self._inbox:
            held += sum(map(len, self._inbox))
            self._inbox.clear()
        self._messages = None
        self.connection.server.held -= held

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
            self._waiter = None

    # ---- running

    def _start(self, work: Any) -> None:
        connection = self.connection
        self.task = connection.loop.create_task(work)
        connection.server.tasks.add(self.task)
        self.task.add_done_callback(connection.server.tasks.discard)

    async def _unary(self, method: Unary, request: bytes) -> None:
        try:
            reply = await method.run(request, self)
        except Exception as error:
            self._failed(error)
        else:
            self.reply(reply)

    async def _stream(self, method: Streaming) -> None:
        try:
            await method.run(self)
        except Exception as error:
            self._failed(error)
        else:
            self.end()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, RpcError):
            self.end(error.code, error.text)
        elif isinstance(error, self.connection.server.refusal):
            self.end(Code[error.code], error.text)  # type: ignore[attr-defined]
        else:
            log.error("the call %s failed", self.head.path, exc_info=error)
            self.end(Code.UNKNOWN, str(error) or type(error).__name__)


class ServerConnection(Connection):
    """One client."""

    def __init__(self, server: "Server") -> None:
        super().__init__(server.settings, RequestHead)
        self.server = server
        self.common_name = ""
        self._preface = b""
        self._greeted = False
        self._last = 0
        self._left: dict[int, None] = {}  # streams that we ended while the client was still sending
        self._leaving = False
        self._last_ping = -_PING_SECONDS
        self._strikes = 0
        self._deadlines: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.TimerHandle | None = None

    # ---- the socket

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.server.connections.add(self)
        self._keepalive = self.loop.call_later(_PREFACE_SECONDS, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.server.connections.discard(self)
        for timer in (self._deadlines, self._keepalive):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        # A client that does not read is not read from either: nothing of its can pile up here.
        super().pause_writing()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.closed:
            self._transport.resume_reading()

    def _send_outgoing(self) -> None:
        self.server.sent += self._outgoing_size
        super()._send_outgoing()

    def data_received(self, data: bytes) -> None:
        if not self._greeted:
            self._preface += data
            data = self._preface
            if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                self._hand_over(data)
                return
            if len(data) < len(frames.PREFACE):
                return
            self._greet()
            data = data[len(frames.PREFACE) :]
        self.server.received += len(data)
        super().data_received(data)

    def _greet(self) -> None:
        self._greeted, self._preface = True, b""
        assert self._keepalive is not None
        self._keepalive.cancel()
        certificate = self.extra("peercert")
        for part in certificate.get("subject", ()) if certificate else ():
            self.common_name = dict(part).get("commonName", self.common_name)
        super().connection_made(self._transport)
        self._keepalive = self.loop.call_later(_KEEPALIVE_SECONDS, self._keep_alive)

    def _hand_over(self, data: bytes) -> None:
        """Not HTTP/2."""
        transport = self._transport
        assert self._keepalive is not None
        self._keepalive.cancel()
        self.server.connections.discard(self)
        if self.server.http1 is None or not data[:1].isalpha():
            transport.close()
            return
        protocol: Any = self.server.http1()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    # ---- calls

    def on_headers(self, id: int, head: RequestHead, end: bool) -> None:
        stream = self.streams.get(id)
        if stream is not None:  # trailers: gRPC has none in requests, HTTP/2 has
            if not end or stream.remote_closed:
                code = ErrorCode.STREAM_CLOSED if stream.remote_closed else ErrorCode.PROTOCOL_ERROR
                raise StreamFailed(id, code, "a second header block")
            stream.on_end()
            return
        if not id & 1:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a stream with an even number")
        if id <= self._last:
            if id in self._left:
                return
            raise ConnectionFailed(ErrorCode.STREAM_CLOSED, f"HEADERS on the stream {id}, which is over")
        if self._leaving:
            return  # it has been told that nothing beyond the last one is taken
        self._last = id
        if head.malformed:
            raise StreamFailed(id, ErrorCode.PROTOCOL_ERROR, head.malformed)
        if len(self.streams) >= _MAX_STREAMS or self.unsent > _MAX_UNSENT:
            raise StreamFailed(id, ErrorCode.REFUSED_STREAM, "too many calls at once")
        method = self.server.methods.get(head.path)
        if method is None or not head.is_grpc or head.http_method != "POST":
            self._refuse(id, head, end)
            return
        stream = self.streams[id] = ServerStream(self, id, head, method)
        stream.remote_closed = end
        if head.timeout_text is not None:
            if head.timeout is None:
                stream.end(Code.INTERNAL, f"malformed grpc-timeout: {head.timeout_text!r}")
                return
            self._set_deadline(stream, head.timeout)
        if isinstance(method, Streaming):
            stream.start_stream()
        elif end:
            stream.on_end()

    def _refuse(self, id: int, head: RequestHead, end: bool) -> None:
        """No call: say why in the language of whoever asks."""
        if head.http_method != "POST" or not head.is_grpc:
            status = "405" if head.http_method != "POST" else "415"
            block, self.prefix = self.prefix + encode([(":status", status)]), b""
            self.write(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, id, block))
            if not end:
                self._leave(id)
            return
        service, _, name = head.path[1:].rpartition("/")
        if not head.path.startswith("/") or not service:
            text = f'malformed method name: "{head.path}"'
        elif any(path.startswith(f"/{service}/") for path in self.server.methods):
            text = f"unknown method {name} for service {service}"
        else:
            text = f"unknown service {service}"
        stream = self.streams[id] = ServerStream(self, id, head, _NOTHING)
        stream.remote_closed = end
        stream.end(Code.UNIMPLEMENTED, text)

    def after_final(self, stream: Stream) -> None:
        assert isinstance(stream, ServerStream)
        self.streams.pop(stream.id, None)
        if not stream.remote_closed:
            self._leave(stream.id)
        stream.release()

    def _leave(self, id: int) -> None:
        """Ask the client to stop sending on a stream that has been answered (RFC 9113, 8.1)."""
        self.write(frames.rst_stream(id, ErrorCode.NO_ERROR))
        if len(self._left) >= _MAX_LEFT:
            del self._left[next(iter(self._left))]
        self._left[id] = None

    def reset(self, id: int, code: int) -> None:
        super().reset(id, code)
        if len(self._left) >= _MAX_LEFT:
            del self._left[next(iter(self._left))]
        self._left[id] = None

    def on_stray_data(self, id: int) -> None:
        if id not in self._left:
            self._control.spend(self.heard, "frames for streams that are over")
            self.write(frames.rst_stream(id, ErrorCode.STREAM_CLOSED))

    def on_stream_lost(self, stream: ServerStream, reason: str) -> None:
        stream.on_reset(ErrorCode.CANCEL)

    # ---- time

    def _set_deadline(self, stream: ServerStream, seconds: float) -> None:
        """One timer for all calls, at the earliest deadline: most calls are over long before, and cost nothing."""
        stream.deadline = self.heard + seconds
        if self._deadlines is None or stream.deadline < self._deadlines.when():
            if self._deadlines is not None:
                self._deadlines.cancel()
            self._deadlines = self.loop.call_at(stream.deadline, self._expire)

    def _expire(self) -> None:
        now = self.loop.time()
        for stream in [s for s in self.streams.values() if s.deadline and s.deadline <= now]:
            stream.deadline = 0.0
            stream.expire()
        left = [s.deadline for s in self.streams.values() if s.deadline]
        self._deadlines = self.loop.call_at(min(left), self._expire) if left else None

    def on_ping(self) -> None:
        if self.answered or self.heard - self._last_ping >= _PING_SECONDS:
            self._strikes = 0
        else:
            self._strikes += 1
            if self._strikes > _PING_STRIKES:
                raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last_ping = self.heard
        self.answered = False

    def _keep_alive(self) -> None:
        quiet = self.loop.time() - self.heard
        if quiet < _KEEPALIVE_SECONDS:
            self._keepalive = self.loop.call_later(_KEEPALIVE_SECONDS - quiet, self._keep_alive)
            return
        self.write(frames.frame(frames.PING, 0, 0, b"still up"))
        self._keepalive = self.loop.call_later(_KEEPALIVE_TIMEOUT, self._transport.abort)

    def on_pong(self, payload: bytes) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
        self._keepalive = self.loop.call_later(_KEEPALIVE_SECONDS, self._keep_alive)

    # ---- the end

    def last_stream(self) -> int:
        return self._last

    def is_idle(self, id: int) -> bool:
        # After a GOAWAY the client may have opened more, which we do not look at.
        return not id & 1 or (id > self._last and not self._leaving)

    def leave(self) -> None:
        """Take no more calls; the client is told which were the last."""
        self._leaving = True
        if self._greeted:
            self.write(frames.goaway(self._last, ErrorCode.NO_ERROR, "server stopped"))
        if not self.streams:
            self.close()

    def cut(self) -> None:
        """End what is still running."""
        for stream in list(self.streams.values()):
            stream.end(Code.UNAVAILABLE, "the server stops")
            if stream.task is not None:
                stream.task.cancel()
        self.close()


class Server:
    """Listens, and keeps what its connections share."""

    def __init__(
        self,
        methods: Mapping[str, Unary | Streaming],
        *,
        max_message: int = 4 << 20,
        refusal: type[Exception] = RpcError,
        http1: Callable[[], asyncio.BaseProtocol] | None = None,
    ) -> None:
        self.methods = methods
        self.max_message = max_message
        self.refusal = refusal
        self.http1 = http1
        self.connections: set[ServerConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.held = 0
        self.received = self.sent = 0  # bytes, of all connections
        self.settings = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
            # A whole message fits, so a call never waits for a window.
            frames.INITIAL_WINDOW_SIZE: min(frames.MAX_WINDOW, max(4 << 20, 2 * max_message)),
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST_SIZE,
        }
        self._listeners: list[asyncio.Server] = []

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """The port; raises ``OSError``."""
        if context is not None:
            # gRPC offers h2 alone. Who could do both wants a page or the gateway, and these speak HTTP/1.1.
            context.set_alpn_protocols(["http/1.1", "h2"])
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: ServerConnection(self), host, port, ssl=context)
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def stop(self, grace: float) -> None:
        """No new connections and calls; those that run have ``grace`` seconds to end."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.leave()
        if self.tasks and grace > 0:
            await asyncio.wait(set(self.tasks), timeout=grace)
        for connection in list(self.connections):
            connection.cut()
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=1.0)


async def _never(stream: ServerStream) -> None:
    raise AssertionError("a stream without a method is never run")


_NOTHING = Streaming(_never)
