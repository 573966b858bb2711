"""A server that is spoken to in raw bytes, without a socket: what goes in and what comes out is all there is."""

import asyncio
from collections.abc import Callable
from typing import Any

import hpack

from etcd_raft.grpc import frames
from etcd_raft.grpc.frames import Frame, FrameReader
from etcd_raft.grpc.messages import PREFIX, MessageReader, prefixed
from etcd_raft.grpc.server import Server, ServerConnection, ServerStream, Streaming, Unary
from etcd_raft.grpc.status import Code, RpcError

DEADLINE = 10.0


class Methods:
    """What the server under test can do; it notes what became of its calls."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.running = 0
        self.go = asyncio.Event()

    def table(self) -> dict[str, Unary | Streaming]:
        return {
            "/t.T/Echo": Unary(self.echo),
            "/t.T/Wait": Unary(self.wait),
            "/t.T/Fail": Unary(self.fail),
            "/t.T/Break": Unary(self.broken),
            "/t.T/Times": Unary(self.times),
            "/t.T/Who": Unary(self.who),
            "/t.T/Chat": Streaming(self.chat),
            "/t.T/Count": Streaming(self.count),
            "/t.T/Sum": Streaming(self.sum),
        }

    async def echo(self, request: bytes, stream: ServerStream) -> bytes:
        return request

    async def wait(self, request: bytes, stream: ServerStream) -> bytes:
        self.running += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return request

    async def fail(self, request: bytes, stream: ServerStream) -> bytes:
        raise RpcError(Code.OUT_OF_RANGE, request.decode())

    async def broken(self, request: bytes, stream: ServerStream) -> bytes:
        raise ZeroDivisionError("a bug")

    async def times(self, request: bytes, stream: ServerStream) -> bytes:
        """``n`` -> n bytes."""
        return b"x" * int(request)

    async def who(self, request: bytes, stream: ServerStream) -> bytes:
        return f"{stream.common_name} {stream.metadata.get('token')}".encode()

    async def chat(self, stream: ServerStream) -> None:
        while (message := await stream.receive()) is not None:
            await stream.send(message)

    async def count(self, stream: ServerStream) -> None:
        """``n size`` -> n messages of that size."""
        n, size = map(int, (await stream.receive() or b"0 0").split())
        for number in range(n):
            await stream.send(b"%d" % (number % 10) * size)

    async def sum(self, stream: ServerStream) -> None:
        total = 0
        while (message := await stream.receive()) is not None:
            total += len(message)
        await stream.send(b"%d" % total)


class Wire(asyncio.Transport):
    """The socket that is not there. ``full`` says whether whoever is at the other end does not read."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.connection = connection
        self.sent = bytearray()
        self.closed = False
        self.aborted = False
        self.reading = True
        self.stuck = False
        self._high = 1 << 16
        self._reader = FrameReader(1 << 24)
        self._decoder = hpack.Decoder()
        self._arrived = asyncio.Event()
        self.frames: list[Frame] = []
        connection.connection_made(self)

    # ---- the transport

    def write(self, data: Any) -> None:
        assert not self.closed
        self.sent += data
        self._arrived.set()
        if self.stuck and len(self.sent) > self._high:
            self.connection.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or self._high

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._arrived.set()
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    # ---- the other end

    def feed(self, *parts: bytes) -> None:
        for part in parts:
            if not self.closed:
                self.connection.data_received(part)

    def collect(self) -> list[Frame]:
        """What has been sent so far."""
        if not self.stuck:
            self.frames += self._reader.feed(bytes(self.sent))
            self.sent.clear()
        return self.frames

    async def until(self, what: str, holds: Callable[[list[Frame]], bool]) -> list[Frame]:
        """Wait for frames."""
        async with asyncio.timeout(DEADLINE):
            while not holds(self.collect()):
                assert not self.closed, f"closed while waiting for {what}: {self.frames}"
                self._arrived.clear()
                await self._arrived.wait()
        return self.frames

    async def turns(self, count: int = 10) -> list[Frame]:
        """Let everything run that can."""
        for _ in range(count):
            await asyncio.sleep(0)
        return self.collect()

    async def answer(self, id: int) -> tuple[int, str, list[bytes]]:
        """Status, text and messages of the call on stream ``id``."""
        await self.until(f"the end of stream {id}", lambda found: any(_ends(f, id) for f in found))
        return self.result(id)

    def result(self, id: int) -> tuple[int, str, list[bytes]]:
        headers: dict[str, str] = {}
        reader = MessageReader(1 << 30)
        messages: list[bytes] = []
        for kind, _, stream, payload in self.frames:
            if kind == frames.HEADERS:
                block = dict(self._decoder.decode(payload))
                if stream == id:
                    headers |= block
            elif kind == frames.DATA and stream == id:
                messages += reader.feed(payload)
        self.frames.clear()
        return int(headers["grpc-status"]), headers.get("grpc-message", ""), messages

    def goaway(self) -> tuple[int, str] | None:
        """Code and text of the GOAWAY that was sent."""
        for kind, _, _, payload in self.collect():
            if kind == frames.GOAWAY:
                _, code, text = frames.parse_goaway(payload)
                return code, text
        return None

    def resets(self) -> list[tuple[int, int]]:
        """Stream and code of every RST_STREAM that was sent."""
        return [(f[2], int.from_bytes(f[3], "big")) for f in self.collect() if f[0] == frames.RST_STREAM]


def _ends(frame: Frame, id: int) -> bool:
    kind, flags, stream, _ = frame
    return stream == id and (kind == frames.RST_STREAM or (kind == frames.HEADERS and bool(flags & frames.END_STREAM)))


HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/t.T/Echo"),
    (":authority", "here"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def request_headers(path: str = "/t.T/Echo", *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [(name, path if name == ":path" else value) for name, value in HEADERS] + list(more)


class Caller:
    """Makes the frames of calls, with an encoder as any client has one."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        self.encoder.header_table_size = 0

    def hello(self, settings: dict[int, int] | None = None) -> bytes:
        return frames.PREFACE + frames.settings(settings or {}) + frames.frame(frames.SETTINGS, frames.ACK, 0)

    def head(self, id: int, path: str = "/t.T/Echo", *more: tuple[str, str], flags: int = frames.END_HEADERS) -> bytes:
        return frames.frame(frames.HEADERS, flags, id, self.encoder.encode(request_headers(path, *more)))

    def call(self, id: int, message: bytes = b"hello", path: str = "/t.T/Echo", *more: tuple[str, str]) -> bytes:
        return self.head(id, path, *more) + data(id, prefixed(message), end=True)


def data(id: int, payload: bytes, *, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if end else 0, id, payload)


def serve(methods: Methods, **options: Any) -> tuple[Server, Wire]:
    """A server, and a wire into it."""
    server = Server(methods.table(), **options)
    return server, Wire(ServerConnection(server))


__all__ = ["PREFIX", "Caller", "Methods", "Wire", "data", "prefixed", "request_headers", "serve"]
