"""Reading a container's log: CRI's format in, the container's own bytes out (``kubectl logs`` and its options)."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from apimachinery.meta import parse_time
from kubelet.server.inotify import Watcher

_CHUNK = 64 * 1024
_LOOK_SECONDS = 0.25


class BadOptions(ValueError):
    """The query makes no sense; the text is for the client."""


@dataclass(slots=True)
class LogOptions:
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None
    since: float = 0.0  # seconds since the epoch
    stream: str = ""  # stdout, stderr or both

    @classmethod
    def parse(cls, query: Mapping[str, str], now: float) -> "LogOptions":
        def flag(name: str) -> bool:
            return query.get(name, "").lower() in ("true", "1", "t")

        def number(name: str) -> int | None:
            text = query.get(name)
            if not text:
                return None
            try:
                value = int(text)
            except ValueError:
                raise BadOptions(f"Unable to parse {name}: {text!r} is not a number") from None
            if value < 0:
                raise BadOptions(f"{name} must be greater than or equal to 0")
            return value

        since = 0.0
        seconds = number("sinceSeconds")
        if seconds is not None:
            since = now - seconds
        elif query.get("sinceTime"):
            try:
                since = parse_time(query["sinceTime"])
            except ValueError:
                raise BadOptions(f"sinceTime {query['sinceTime']!r} is not an RFC 3339 time") from None
        stream = query.get("stream", "").lower()
        return cls(
            follow=flag("follow"),
            previous=flag("previous"),
            timestamps=flag("timestamps"),
            tail=number("tailLines"),
            limit=number("limitBytes"),
            since=since,
            stream="" if stream == "all" else stream,
        )


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last ``lines`` lines begin."""
    end = position = file.seek(0, os.SEEK_END)
    if not lines:
        return end
    found, block = 0, b""
    while position > 0:
        size = min(_CHUNK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at + 1 == end:
                continue  # the last line's own end
            found += 1
            if found == lines:
                return position + at + 1
    return 0


class _Renderer:
    """Lines of the file to what the client sees; keeps count of the bytes that it may still have."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        self._partial = {"stdout": False, "stderr": False}
        self._late = options.since <= 0

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def render(self, line: bytes) -> bytes:
        """One line of the file, its newline included."""
        parts = line.split(b" ", 3)
        if len(parts) < 4:
            return b""  # torn by a crash: it is no entry
        time_, stream, tag, content = parts
        name = stream.decode(errors="replace")
        if self._options.stream and self._options.stream != name:
            return b""
        if not self._late:
            # The file is in order of time: from the first late entry on no more looks are needed.
            if parse_time(_micro(time_.decode())) < self._options.since:
                return b""
            self._late = True
        if tag.split(b":")[0] == b"P":
            content = content[:-1]
        if self._options.timestamps and not self._partial.get(name):
            content = time_ + b" " + content
        self._partial[name] = tag.split(b":")[0] == b"P"
        if self._left is not None:
            content = content[: max(0, self._left)]
            self._left -= len(content)
        return content


def _micro(text: str) -> str:
    """Nanoseconds cut to what Python's parser takes."""
    head, dot, rest = text.partition(".")
    if not dot:
        return text
    digits = rest.rstrip("Zz")
    if "+" in digits or "-" in digits:
        return text
    return f"{head}.{digits[:6]}Z"


async def read(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log as bytes; with ``follow`` until ``running()`` says no and everything is read, across rotations."""
    renderer = _Renderer(options)
    watcher = Watcher(path) if options.follow else None
    file: BinaryIO = path.open("rb")
    try:
        file.seek(tail_offset(file, options.tail) if options.tail is not None else 0)
        rest = b""
        while not renderer.full:
            alive = watcher is not None and running()
            data = file.read(_CHUNK)
            if data:
                *lines, rest = (rest + data).split(b"\n")
                out = b"".join(renderer.render(line + b"\n") for line in lines)
                if out:
                    yield out
                await asyncio.sleep(0)  # a long log must not keep the probes waiting
                continue
            replaced = _replacement(path, file)
            if replaced is not None:
                file.close()
                file, rest = replaced, b""
                continue
            if watcher is None or not alive:
                return
            await watcher.wait(_LOOK_SECONDS)
    finally:
        file.close()
        if watcher is not None:
            watcher.close()


def _replacement(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that a rotation put in the place of the one that is open and read to its end."""
    try:
        now, ours = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return path.open("rb") if now.st_ino != ours.st_ino else None
