"""A SPDY/3.1 connection, the server's side: the client opens streams, each end writes and half-closes them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from kubelet.server import spdy

_CHUNK = 32 * 1024
_MAX_STREAMS = 1000


class Stream:
    """One stream that the client opened; ``headers`` say what it is for."""

    def __init__(self, connection: "SpdyConnection", number: int, headers: spdy.Headers) -> None:
        self._connection, self.number, self.headers = connection, number, headers
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ended = False

    def feed(self, data: bytes, *, fin: bool) -> None:
        if data:
            self._received.put_nowait(data)
        if fin:
            self._received.put_nowait(None)

    async def read(self) -> AsyncIterator[bytes]:
        """Until the client half-closes it or is gone."""
        while (data := await self._received.get()) is not None:
            yield data

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _CHUNK):
            await self._connection.send(self._connection.encoder.data(self.number, data[start : start + _CHUNK]))

    async def end(self) -> None:
        """Half-close our side."""
        if not self._ended:
            self._ended = True
            await self._connection.send(self._connection.encoder.data(self.number, b"", fin=True))


class SpdyConnection:
    """``source`` gives the client's bytes, ``write`` sends ours: a socket, or the messages of a WebSocket."""

    def __init__(self, source: AsyncIterator[bytes], write: Callable[[bytes], Awaitable[None]]) -> None:
        self._source, self._write = source, write
        self.encoder = spdy.Encoder()
        self._decoder = spdy.Decoder()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()

    async def send(self, data: bytes) -> None:
        await self._write(data)

    async def opened(self) -> AsyncIterator[Stream]:
        """Each stream as the client opens it, until it is gone."""
        while (stream := await self._opened.get()) is not None:
            yield stream

    async def run(self) -> None:
        """Read until the client is gone or says something that is not SPDY."""
        try:
            async for data in self._source:
                for frame in self._decoder.feed(data):
                    if isinstance(frame, spdy.Data):
                        stream = self._streams.get(frame.stream)
                        if stream is not None:
                            stream.feed(frame.data, fin=frame.fin)
                    elif not await self._control(frame):
                        return
        except (OSError, spdy.SpdyError):
            return
        finally:
            for stream in self._streams.values():
                stream.feed(b"", fin=True)
            self._opened.put_nowait(None)

    async def _control(self, frame: spdy.Control) -> bool:
        """Whether the connection goes on."""
        if frame.type == spdy.SYN_STREAM:
            if len(self._streams) >= _MAX_STREAMS:
                await self.send(self.encoder.reset(frame.stream, 3))
                return True
            stream = self._streams[frame.stream] = Stream(self, frame.stream, frame.headers)
            await self.send(self.encoder.syn_reply(frame.stream))
            if frame.fin:
                stream.feed(b"", fin=True)
            self._opened.put_nowait(stream)
        elif frame.type == spdy.PING:
            await self.send(self.encoder.ping(frame.stream))
        elif frame.type == spdy.RST_STREAM:
            stream_ = self._streams.pop(frame.stream, None)
            if stream_ is not None:
                stream_.feed(b"", fin=True)
        elif frame.type == spdy.GOAWAY:
            return False
        return True

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
