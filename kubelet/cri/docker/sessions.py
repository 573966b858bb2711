"""Execs and attaches: the connection that the engine hands over, as an :class:`kubelet.cri.api.ExecSession`."""

from collections.abc import AsyncIterator, Awaitable, Callable

from kubelet.cri.docker.streams import EngineStream, frames, raw


class DockerSession:
    def __init__(
        self,
        stream: EngineStream,
        *,
        tty: bool,
        resize: Callable[[int, int], Awaitable[None]],
        wait: Callable[[], Awaitable[int]],
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._tty = tty
        self._resize = resize
        self._wait = wait
        self._kill = kill

    async def write_stdin(self, data: bytes) -> None:
        self._stream.writer.write(data)
        await self._stream.writer.drain()

    async def close_stdin(self) -> None:
        if self._stream.writer.can_write_eof() and not self._stream.writer.is_closing():
            self._stream.writer.write_eof()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        chunks = raw(self._stream.reader)
        try:
            if self._tty:
                async for data in chunks:
                    yield 1, data
            else:
                async for piece in frames(chunks):
                    yield piece
        except ConnectionResetError:  # the engine ended it: so did the process
            return

    async def resize(self, width: int, height: int) -> None:
        if self._tty:
            await self._resize(width, height)

    async def wait(self) -> int:
        return await self._wait()

    async def kill(self) -> None:
        await self._kill()
        self._stream.close()

    def close(self) -> None:
        self._stream.close()
