"""Running execs and attaches: the kubelet's ends of their pipes or terminal, as asynchronous streams of bytes."""

import asyncio
import fcntl
import os
import struct
import termios
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from kubelet.cri.native.spawning import resolve

_CHUNK = 65536
_MAX_QUEUED = 64  # chunks: then the process has to wait until somebody reads
_DRAIN_SECONDS = 1.0  # after the process ended: a child of it that keeps the pipe open does not keep the session


class Session:
    """An :class:`kubelet.cri.api.ExecSession` over descriptors that it owns.

    ``outputs`` maps 1 and 2 to what to read, ``stdin`` (-1: none) is where to write, ``terminal`` (-1: none) a tty's master
    to resize: descriptors of their own each, also when they are duplicates of one master. ``attached``: the process was
    there before and goes on after this session, so the end of its client's input is not the end of a terminal's.
    """

    def __init__(
        self,
        outputs: dict[int, int],
        stdin: int,
        *,
        terminal: int = -1,
        attached: bool = False,
        wait: Callable[[], Awaitable[int]],
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._outputs = outputs
        self._stdin = stdin
        self._terminal = terminal
        self._attached = attached
        self._kill = kill
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._arrived = asyncio.Event()
        self._paused = False
        self._exit = asyncio.ensure_future(wait())
        self._exit.add_done_callback(lambda _done: self._loop.call_later(_DRAIN_SECONDS, self._release))
        for number, fd in outputs.items():
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._readable, number, fd)
        if stdin >= 0:
            os.set_blocking(stdin, False)

    def _readable(self, number: int, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal's last user left
            data = b""
        if data:
            self._chunks.append((number, data))
            if len(self._chunks) >= _MAX_QUEUED and not self._paused:
                self._paused = True
                for open_fd in self._outputs.values():
                    self._loop.remove_reader(open_fd)
        else:
            self._close_output(number)
        self._arrived.set()

    def _close_output(self, number: int) -> None:
        fd = self._outputs.pop(number, -1)
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _release(self) -> None:
        for number in list(self._outputs):
            self._close_output(number)
        self._close_input()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        self._arrived.set()

    def _close_input(self) -> None:
        if self._stdin >= 0:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if not self._outputs:
                return
            if self._paused:
                self._paused = False
                for number, fd in self._outputs.items():
                    self._loop.add_reader(fd, self._readable, number, fd)
            self._arrived.clear()
            await self._arrived.wait()

    async def write_stdin(self, data: bytes) -> None:
        """Raises ``BrokenPipeError`` when nobody will read it."""
        view = memoryview(data)
        while view:
            if self._stdin < 0:
                raise BrokenPipeError("stdin is closed")
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await self._writable()

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        fd = self._stdin
        self._loop.add_writer(fd, resolve, ready)
        try:
            await asyncio.wait({ready, self._exit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._stdin == fd:
                self._loop.remove_writer(fd)
        if self._exit.done() and not ready.done():
            raise BrokenPipeError("the process has ended")

    async def close_stdin(self) -> None:
        if self._stdin < 0:
            return
        if self._terminal >= 0:
            if self._attached:
                return
            await self.write_stdin(b"\x04")  # a terminal has no half-close: ^D says it
            return
        self._close_input()

    async def resize(self, width: int, height: int) -> None:
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        await self._kill()

    def close(self) -> None:
        """Let go of everything; the process is not killed."""
        self._exit.cancel()
        self._release()


def pipes(count: int) -> list[tuple[int, int]]:
    """``count`` pipes of ``(read end, write end)``; all or none."""
    made: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            made.append(os.pipe2(os.O_CLOEXEC))
    except OSError:
        for pair in made:
            for fd in pair:
                os.close(fd)
        raise
    return made
