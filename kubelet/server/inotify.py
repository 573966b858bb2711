"""Waiting for a file to grow, without polling: a small inotify on the event loop."""

import asyncio
import ctypes
import os
from pathlib import Path

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_MODIFY, _MOVED_TO, _CREATE, _MOVE_SELF, _DELETE_SELF = 0x2, 0x80, 0x100, 0x800, 0x400


class Watcher:
    """``wait`` returns once something happened to the file or in its directory since the last time, or after ``timeout``."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        mask = _MODIFY | _CREATE | _MOVED_TO | _MOVE_SELF | _DELETE_SELF
        libc.inotify_add_watch(self._fd, os.fsencode(path.parent), mask)
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self._changed.set()

    async def wait(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
