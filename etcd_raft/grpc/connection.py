"""One HTTP/2 connection, whichever end of it: settings, windows, pings, and streams that bytes go into.

What is different at each end (who opens streams, what a header block means) is in ``server`` and ``client``. Limits that keep a
peer from costing more than it should are here: nothing is kept for a peer but what it may have outstanding, and frames that cost
us an answer without being a call (SETTINGS, PING, resets) are on an allowance.

Windows: the connection's is never the limit on what we receive (a stream's is), so it is opened wide and refilled on arrival; a
stream's is refilled when its messages have been taken. What we send waits in its stream until both windows and the socket take it.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from etcd_raft.grpc import frames
from etcd_raft.grpc.frames import ConnectionFailed, ErrorCode, FrameReader, StreamFailed
from etcd_raft.grpc.headers import MAX_LIST_SIZE, NO_TABLE, HeaderDecoder

log = logging.getLogger(__name__)

_OWN_WINDOW = 1 << 30
# A header block in pieces: as long as all headers may be, in no more frames than that takes (and a few).
_MAX_BLOCK = MAX_LIST_SIZE
_MAX_BLOCK_FRAMES = 16
# Unsent DATA of a stream beyond which its writer waits; and how much goes to the socket at once.
_STREAM_HIGH = 256 * 1024
_BURST = 256 * 1024
_SOCKET_HIGH = 1 << 20
_LINGER_SECONDS = 5.0


class Allowance:
    """So many at once, and so many a second: what a peer may make us do beyond calls."""

    __slots__ = ("_burst", "_left", "_rate", "_then")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._then = 0.0

    def spend(self, now: float, what: str) -> None:
        self._left = min(self._burst, self._left + (now - self._then) * self._rate) - 1
        self._then = now
        if self._left < 0:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")


class Stream:
    """What both ends of a stream have: windows, and bytes that are still to be sent."""

    __slots__ = ("_drained", "_final", "_owed", "_pending", "connection", "id", "local_closed", "pending_size", "receive_window",
                 "remote_closed", "send_window")  # fmt: skip

    def __init__(self, connection: "Connection", id: int) -> None:
        self.connection = connection
        self.id = id
        self.send_window = connection.peer_window
        self.receive_window = connection.stream_window
        self.local_closed = False
        self.remote_closed = False
        self._owed = 0
        self._pending: deque[memoryview] | None = None
        self.pending_size = 0
        self._final = b""
        self._drained: asyncio.Future[None] | None = None

    @property
    def over(self) -> bool:
        """Whether the last frame has been sent, or only waits for what is before it."""
        return self.local_closed or bool(self._final)

    # ---- out

    def write(self, data: bytes) -> None:
        """Send DATA, now or when it may be sent."""
        connection, size = self.connection, len(data)
        if (
            not self._pending
            and size <= connection.peer_frame
            and size <= self.send_window
            and size <= connection.send_window
            and connection.writable
        ):
            self.send_window -= size
            connection.send_window -= size
            connection.write(frames.head(size, frames.DATA, 0, self.id) + data)
            return
        if self._pending is None:
            self._pending = deque()
        self._pending.append(memoryview(data))
        self.pending_size += size
        connection.unsent += size
        self.flush()

    def finish(self, final: bytes) -> None:
        """Send the frame ``final`` behind everything that waits; nothing is sent after it."""
        self._final = final
        if self._pending:
            self.connection.blocked[self] = None
        else:
            self._finished()

    def flush(self) -> None:
        """Send what waits, as far as windows and socket take it."""
        connection, pending = self.connection, self._pending
        while pending and connection.writable:
            parts: list[Any] = []
            burst = 0
            while pending and burst < _BURST:
                room = min(self.send_window, connection.send_window, connection.peer_frame)
                if room <= 0:
                    break
                part = pending.popleft()
                if len(part) > room:
                    pending.appendleft(part[room:])
                    part = part[:room]
                size = len(part)
                parts += (frames.head(size, frames.DATA, 0, self.id), part)
                self.send_window -= size
                connection.send_window -= size
                burst += size
            if not parts:
                break
            self.pending_size -= burst
            connection.unsent -= burst
            connection.write(b"".join(parts))
            connection.answered = True
        connection.blocked.pop(self, None)
        if pending:
            connection.blocked[self] = None  # behind the others: they are served in turn
        elif self._final:
            self._finished()
        if self._drained is not None and self.pending_size <= _STREAM_HIGH:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    def _finished(self) -> None:
        final, self._final = self._final, b""
        self.local_closed = True
        self.connection.write(final)
        self.connection.after_final(self)

    async def drain(self) -> None:
        """Wait until so little is unsent that more may be written."""
        while self.pending_size > _STREAM_HIGH and not self.local_closed:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def discard(self) -> None:
        """Forget what is unsent: the stream is over."""
        self.local_closed = True
        connection = self.connection
        connection.unsent -= self.pending_size
        connection.blocked.pop(self, None)
        self._pending, self.pending_size, self._final = None, 0, b""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # ---- in

    def take(self, size: int) -> None:
        """``size`` bytes of DATA have come; the peer must have had leave to send them."""
        self.receive_window -= size
        if self.receive_window < 0:
            raise StreamFailed(self.id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window allows")

    def consumed(self, size: int) -> None:
        """They need not be kept any more: the peer may send as much again."""
        self._owed += size
        connection = self.connection
        if self._owed * 2 >= connection.stream_window and not self.remote_closed:
            connection.write(frames.window_update(self.id, self._owed))
            self.receive_window += self._owed
            self._owed = 0

    def on_data(self, payload: bytes, size: int, end: bool) -> None:
        raise NotImplementedError

    def on_reset(self, code: int) -> None:
        raise NotImplementedError


class Connection(asyncio.Protocol):
    """Frames in, frames out. Subclasses know who opens streams."""

    first_bytes = b""  # what this end says before its SETTINGS

    def __init__(self, settings: dict[int, int], interpret: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, Any] = {}
        self.blocked: dict[Stream, None] = {}
        self.unsent = 0
        self.answered = False  # anything but answers to pings has gone out since the peer's last ping
        self.writable = False
        self.closed = False
        self.heard = 0.0
        self.peer_window = frames.DEFAULT_WINDOW
        self.peer_frame = frames.DEFAULT_FRAME
        self.peer_streams = frames.MAX_WINDOW
        self.send_window = frames.DEFAULT_WINDOW
        self.stream_window = settings.get(frames.INITIAL_WINDOW_SIZE, frames.DEFAULT_WINDOW)
        self.prefix = NO_TABLE  # goes before our first header block
        self._settings = settings
        self._reader = FrameReader(settings.get(frames.MAX_FRAME_SIZE, frames.DEFAULT_FRAME))
        self._decoder: HeaderDecoder[Any] = HeaderDecoder(interpret)
        self._transport: Any = None
        self._outgoing: list[bytes] = []
        self._outgoing_size = 0
        self._abort: asyncio.TimerHandle | None = None
        self._received = 0
        self._settled = False  # the peer's first frame has to be its SETTINGS
        self._block: tuple[int, int, bytearray] | None = None
        self._block_frames = 0
        self._control = Allowance(200, 20)
        self._resets = Allowance(2000, 500)
        self._handlers = {
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # ---- the socket

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=_SOCKET_HIGH)
        self.writable = True
        self.heard = self.loop.time()
        widen = frames.window_update(0, _OWN_WINDOW - frames.DEFAULT_WINDOW)
        transport.write(self.first_bytes + frames.settings(self._settings) + widen)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed, self.writable = True, False
        if self._abort is not None:
            self._abort.cancel()
        reason = str(error) if error is not None else "the connection was closed"
        for stream in list(self.streams.values()):
            stream.discard()
            self.on_stream_lost(stream, reason)
        self.streams.clear()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = not self.closed
        self._flush_blocked()

    def write(self, data: bytes) -> None:
        """Frames, in order. Those of one turn of the loop go to the socket together: each write is a system call."""
        if self.closed:
            return
        if not self._outgoing:
            self.loop.call_soon(self._send_outgoing)
        self._outgoing.append(data)
        self._outgoing_size += len(data)
        if self._outgoing_size > _BURST:
            self._send_outgoing()

    def _send_outgoing(self) -> None:
        if self._outgoing and not self.closed:
            data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
            self._outgoing.clear()
            self._outgoing_size = 0
            self._transport.write(data)

    def close(self) -> None:
        """Without another word; what was written before is sent."""
        if not self.closed:
            self._send_outgoing()
            self.closed, self.writable = True, False
            self._transport.close()
            # A peer that does not read would keep the socket open for ever.
            self._abort = self.loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def fail(self, error: ConnectionFailed) -> None:
        log.debug("connection failed: %s (%s)", error, error.code.name)
        self.write(frames.goaway(self.last_stream(), error.code, str(error)))
        self.close()

    def extra(self, name: str) -> Any:
        return self._transport.get_extra_info(name) if self._transport is not None else None

    # ---- frames

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        try:
            for kind, flags, id, payload in self._reader.feed(data):
                if self._block is not None and (kind != frames.CONTINUATION or id != self._block[0]):
                    raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a frame inside a header block")
                try:
                    if kind == frames.DATA:
                        self._on_data(flags, id, payload)
                    elif kind == frames.HEADERS:
                        self._on_headers(flags, id, payload)
                    elif (handler := self._handlers.get(kind)) is not None:
                        handler(flags, id, payload)
                    else:
                        self._control.spend(self.heard, "frames of no known type")
                except StreamFailed as error:
                    self.reset(error.stream, error.code)
                if self.closed:
                    return
        except ConnectionFailed as failure:
            self.fail(failure)

    def _on_data(self, flags: int, id: int, payload: bytes) -> None:
        size = len(payload)
        self._received += size
        if self._received * 2 >= _OWN_WINDOW:
            self.write(frames.window_update(0, self._received))
            self._received = 0
        if flags & frames.PADDED:
            payload = frames.unpadded(flags, payload)
        stream = self.streams.get(id)
        if stream is None:
            self._unless_idle(id, "DATA")
            self.on_stray_data(id)
            return
        if stream.remote_closed:
            raise StreamFailed(id, ErrorCode.STREAM_CLOSED, "DATA after the end of the stream")
        end = bool(flags & frames.END_STREAM)
        if not payload and not end:
            self._control.spend(self.heard, "empty DATA frames")
        stream.take(size)
        stream.on_data(payload, size, end)

    def _on_headers(self, flags: int, id: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(flags, payload)
            if flags & frames.HAS_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that it announces")
                payload = payload[5:]
        if not self._settled:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "HEADERS before SETTINGS")
        if id == 0:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & frames.END_HEADERS:
            self.on_headers(id, self._decoder.decode(payload), bool(flags & frames.END_STREAM))
        else:
            self._block, self._block_frames = (id, flags, bytearray(payload)), 0

    def _on_continuation(self, flags: int, id: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, block = self._block
        block += payload
        self._block_frames += 1
        if len(block) > _MAX_BLOCK or self._block_frames > _MAX_BLOCK_FRAMES:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self.on_headers(id, self._decoder.decode(bytes(block)), bool(first_flags & frames.END_STREAM))

    def _on_priority(self, flags: int, id: int, payload: bytes) -> None:
        self._control.spend(self.heard, "PRIORITY frames")
        if id == 0:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise StreamFailed(id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a wrong length")

    def _on_rst_stream(self, flags: int, id: int, payload: bytes) -> None:
        code = frames.parse_number(payload, "RST_STREAM")
        self._unless_idle(id, "RST_STREAM")
        self._resets.spend(self.heard, "resets")
        stream = self.streams.pop(id, None)
        if stream is not None:
            stream.discard()
            stream.on_reset(code)

    def _on_settings(self, flags: int, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload")
            self._decoder.acknowledged()
            return
        self._control.spend(self.heard, "SETTINGS")
        for name, value in frames.parse_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._resize_windows(value - self.peer_window)
                self.peer_window = value
            elif name == frames.MAX_FRAME_SIZE:
                self.peer_frame = value
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.peer_streams = value
        first, self._settled = not self._settled, True
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._flush_blocked()
        if first:
            self.on_ready()

    def _resize_windows(self, change: int) -> None:
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, "an initial window that is too large")

    def _on_push_promise(self, flags: int, id: int, payload: bytes) -> None:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")

    def _on_ping(self, flags: int, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if flags & frames.ACK:
            self.on_pong(payload)
            return
        self.on_ping()
        self.write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_goaway(self, flags: int, id: int, payload: bytes) -> None:
        if id:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        self._control.spend(self.heard, "GOAWAY frames")
        self.on_goaway(*frames.parse_goaway(payload))

    def _on_window_update(self, flags: int, id: int, payload: bytes) -> None:
        increment = frames.parse_number(payload, "WINDOW_UPDATE") & frames.MAX_WINDOW
        if id == 0:
            self.send_window += increment
            if not increment or self.send_window > frames.MAX_WINDOW:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                raise ConnectionFailed(code, f"a window update of {increment}")
            if self.blocked:
                self._flush_blocked()
            return
        stream = self.streams.get(id)
        if stream is None:
            self._unless_idle(id, "WINDOW_UPDATE")
            return
        stream.send_window += increment
        if not increment or stream.send_window > frames.MAX_WINDOW:
            code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
            raise StreamFailed(id, code, f"a window update of {increment}")
        if stream in self.blocked:
            stream.flush()

    def _flush_blocked(self) -> None:
        for stream in list(self.blocked):
            if self.send_window <= 0 or not self.writable:
                return
            stream.flush()

    def _unless_idle(self, id: int, what: str) -> None:
        if id == 0 or self.is_idle(id):
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"{what} on the stream {id}, which nobody has opened")

    def reset(self, id: int, code: int) -> None:
        """End a stream from this side, in whatever state it is."""
        stream = self.streams.pop(id, None)
        self.write(frames.rst_stream(id, code))
        if stream is not None:
            stream.discard()
            stream.on_reset(code)

    # ---- what the two ends do differently

    def last_stream(self) -> int:
        """The last stream of the peer's that we have taken."""
        raise NotImplementedError

    def is_idle(self, id: int) -> bool:
        """Whether nobody has opened this stream yet."""
        raise NotImplementedError

    def on_ready(self) -> None:
        """The peer's settings have come."""

    def on_headers(self, id: int, meaning: Any, end: bool) -> None:
        raise NotImplementedError

    def on_stray_data(self, id: int) -> None:
        """DATA for a stream that is over."""

    def on_ping(self) -> None:
        """The peer pings; raise to refuse."""

    def on_pong(self, payload: bytes) -> None:
        pass

    def on_goaway(self, last: int, code: int, text: str) -> None:
        pass

    def on_stream_lost(self, stream: Any, reason: str) -> None:
        """The connection ended under a stream."""
        raise NotImplementedError

    def after_final(self, stream: Stream) -> None:
        """The last frame of a stream has been handed to the socket."""
