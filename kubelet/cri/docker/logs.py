"""The engine's log of a container becomes the CRI log file that the kubelet serves.

The engine keeps every entry with its time, so a kubelet that was away reads on from the last entry that the file has:
nothing is lost and nothing comes twice.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from kubelet.cri.api import NotFound, RuntimeServiceError
from kubelet.cri.docker.objects import nanoseconds
from kubelet.cri.docker.streams import frames, request

logger = logging.getLogger(__name__)

_TAIL = 1 << 17
_RETRY_SECONDS = 1.0
_STREAMS = {1: b"stdout", 2: b"stderr"}


def last_written(path: Path) -> tuple[str, int]:
    """``(time of the last entry, how many entries have that time)`` of a CRI log; cuts off an entry that was half written."""
    try:
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
            keep = tail.rfind(b"\n") + 1
            if keep < len(tail):
                file.truncate(size - len(tail) + keep)
    except FileNotFoundError:
        return "", 0
    lines = tail[:keep].splitlines()
    if not lines:
        return "", 0
    time = lines[-1].split(b" ", 1)[0]
    return time.decode(), sum(line.startswith(time + b" ") for line in lines)


def resume_point(path: Path) -> tuple[str, int]:
    """As :func:`last_written`, also when the file has just been rotated away and the new one is empty."""
    found = last_written(path)
    if found[0]:
        return found
    rotated = [p for p in path.parent.glob(path.name + ".*") if p.suffix not in (".gz", ".tmp")]
    return last_written(max(rotated, key=lambda p: p.stat().st_mtime)) if rotated else ("", 0)


def entry(stream: int, payload: bytes) -> tuple[str, bytes]:
    """``(time, the CRI line)`` of one frame ``TIME MESSAGE``; a message without a newline is a part of a longer one."""
    time, _, message = payload.partition(b" ")
    whole = message.endswith(b"\n")
    text = message.rstrip(b"\n").removesuffix(b"\r")
    return time.decode(), b"%s %s %s %s\n" % (time, _STREAMS.get(stream, b"stdout"), b"F" if whole else b"P", text)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """A terminal's output has no frames: every line is one entry."""
    rest = b""
    async for data in chunks:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield 1, line + b"\n"
    if rest:
        yield 1, rest


class LogPump:
    """Copies one container's log until it has ended; ``done`` then."""

    def __init__(self, endpoint: str, container: str, path: str, *, tty: bool) -> None:
        self._endpoint = endpoint
        self._container = container
        self._path = Path(path)
        self._tty = tty
        self._file: int = -1
        self._task = asyncio.create_task(self._run(), name=f"log of {container[:12]}")

    async def finished(self, seconds: float) -> None:
        """Wait for the end of the log, at most so long."""
        await asyncio.wait({self._task}, timeout=seconds)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    def reopen(self) -> None:
        self._close_file()
        self._open_file()

    def _open_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _run(self) -> None:
        try:
            last, count = resume_point(self._path)
            self._open_file()
            while True:
                try:
                    await self._copy(last, count, follow=True)
                    # Engines before 23 end a followed log without its last entries when the container ends at once.
                    last, count = resume_point(self._path)
                    await self._copy(last, count, follow=False)
                    return
                except NotFound:
                    return
                except (RuntimeServiceError, OSError, asyncio.IncompleteReadError) as e:
                    logger.warning("log of container %s: %s; trying again", self._container[:12], e)
                    await asyncio.sleep(_RETRY_SECONDS)
                    last, count = resume_point(self._path)
        finally:
            self._close_file()

    async def _copy(self, last: str, count: int, *, follow: bool) -> None:
        query = {"follow": str(int(follow)), "stdout": "1", "stderr": "1", "timestamps": "1"}
        if last:
            seconds, fraction = divmod(nanoseconds(last), 1_000_000_000)
            query["since"] = f"{seconds}.{fraction:09d}"
        skip = count
        stream = await request(self._endpoint, "GET", f"/containers/{self._container}/logs", query)
        try:
            pieces = _lines(stream.body()) if self._tty else frames(stream.body())
            async for number, payload in pieces:
                time, line = entry(number, payload)
                if skip and time == last:
                    skip -= 1
                    continue
                os.write(self._file, line)
        finally:
            stream.close()
