"""A container's log file in CRI format: ``<RFC3339Nano time> stdout|stderr F|P <bytes>`` a line."""

from __future__ import annotations

import posix
import time

MAX_LINE = 16384  # containerd's and CRI-O's limit: longer lines come as several ``P`` entries and a last ``F``


class LogFile:
    """Appends complete lines; keeps an unfinished one of each stream back until its end or :meth:`finish`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._unfinished = {"stdout": b"", "stderr": b""}
        self._second = 0
        self._prefix = b""
        self.reopen()

    def reopen(self) -> None:
        """Open the path anew: after a rotation has moved the old file away."""
        fd = -1
        if self._path:
            flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
            fd = posix.open(self._path, flags, 0o640)
        if self._fd >= 0:
            posix.close(self._fd)
        self._fd = fd

    def write(self, stream: str, data: bytes) -> None:
        """Raises ``OSError`` when the disk does not take it; the bytes are lost then."""
        if self._fd < 0:
            return
        stamp = self._stamp() + stream.encode()
        lines = (self._unfinished[stream] + data).split(b"\n")
        entries: list[bytes] = []
        for line in lines[:-1]:
            self._append(entries, stamp, line, b" F ")
        rest = lines[-1]
        whole = len(rest) - len(rest) % MAX_LINE
        for start in range(0, whole, MAX_LINE):
            entries += (stamp, b" P ", rest[start : start + MAX_LINE], b"\n")
        self._unfinished[stream] = rest[whole:]
        self._put(b"".join(entries))

    def finish(self, stream: str) -> None:
        """The stream ended: what has no newline is a line as well (as in containerd)."""
        line, self._unfinished[stream] = self._unfinished[stream], b""
        if line and self._fd >= 0:
            self._put(self._stamp() + stream.encode() + b" F " + line + b"\n")

    @staticmethod
    def _append(entries: list[bytes], stamp: bytes, line: bytes, tag: bytes) -> None:
        while len(line) > MAX_LINE:
            entries += (stamp, b" P ", line[:MAX_LINE], b"\n")
            line = line[MAX_LINE:]
        entries += (stamp, tag, line, b"\n")

    def _stamp(self) -> bytes:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if seconds != self._second:
            self._second = seconds
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()
        return b"%s.%09dZ " % (self._prefix, nanoseconds)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[posix.write(self._fd, view) :]
