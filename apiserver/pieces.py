"""A body of many parts that is never whole in memory: a list of thousands of objects shares their cached bytes until it is sent."""

from collections.abc import Iterator, Sequence

#: Small enough for a processor's cache, so that what has just been joined is encrypted from there.
PIECE_BYTES = 256 * 1024


class Pieces:
    """``start``, the parts with the separator between them, ``end``."""

    __slots__ = ("_end", "_length", "_parts", "_separator", "_start")

    def __init__(self, start: bytes, separator: bytes, parts: Sequence[bytes], end: bytes) -> None:
        self._start, self._separator, self._parts, self._end = start, separator, parts, end
        between = len(separator) * max(len(parts) - 1, 0)
        self._length = len(start) + sum(map(len, parts)) + between + len(end)

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join((self._start, self._separator.join(self._parts), self._end))

    def __iter__(self) -> Iterator[bytes]:
        """The body in order, in pieces of about ``PIECE_BYTES``."""
        if self._length <= PIECE_BYTES:
            yield bytes(self)
            return
        parts, separator = self._parts, self._separator
        step = max(PIECE_BYTES * len(parts) // self._length, 1)
        yield self._start
        for first in range(0, len(parts), step):
            lead = separator if first else b""
            yield lead + separator.join(parts[first : first + step])
        yield self._end


def whole(body: "bytes | Pieces") -> bytes:
    return body if isinstance(body, bytes) else bytes(body)
