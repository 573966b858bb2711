"""The write-ahead log: what a member has promised, on disk before it promises.

A log is a folder of segments ``<first frame>-<first index>.wal``. Every ``append`` writes one frame and syncs it, so one
sync serves all proposals of a round, and a frame that follows another proves that the other one was synced:

    frame   = length u32 | crc32 u32 | number u64 | records      (crc over number and records)
    record  = type u8 | length u32 | data

Segments are preallocated, so beyond the last frame there are zeros. What a crash may leave is one torn frame at the very
end: it was never promised and is wiped. Anything else that does not check, in the middle or at the end without the trace of
a torn write (a stretch of zeros, or a file that is too short), is corruption and refused, with file and offset.

A failed write or sync is final: what is on disk is unknown from then on, and trying again could lie. ``failed`` stays set.
"""

import os
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from etcd_raft.histogram import Histogram
from etcd_raft.raft.codec import (
    decode_entry,
    decode_hard_state,
    decode_snapshot,
    encode_entry,
    encode_hard_state,
    encode_snapshot,
)
from etcd_raft.raft.messages import Entry, HardState, Snapshot

SEGMENT_BYTES = 16 << 20
_FRAME = struct.Struct("<IIQ")
_RECORD = struct.Struct("<BI")
_NUMBER = struct.Struct("<Q")
_SECTOR = 512
# RESET: a leader's snapshot replaced the log. MARK: the state on disk holds everything up to here, the log goes on.
_METADATA, _HARD_STATE, _ENTRY, _RESET, _MARK = 1, 2, 3, 4, 5
# How many following frames are looked for behind a bad one before it counts as the last.
_LOOK_AHEAD = 64
# A thread hop costs 0.1 ms, on a busy machine a few: worth it when the loop would stand still for longer.
_SLOW_SECONDS = 0.004


class WALError(Exception):
    """The log on disk cannot be trusted or written; the text says where and what to do."""


@dataclass(slots=True)
class Recovered:
    """What the log held: enough to go on as if nothing had happened."""

    metadata: bytes = b""
    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: list[Entry] = field(default_factory=list)
    repaired: str = ""  # what was wiped from the torn end, for the log


class WAL:
    """Open with ``WAL.create`` or ``WAL.open``; ``append`` returns only when everything is synced."""

    def __init__(self, folder: Path, metadata: bytes, segment_bytes: int) -> None:
        self.folder = folder
        self.metadata = metadata
        self.segment_bytes = segment_bytes
        self.failed: WALError | None = None
        self._fd = -1
        self._path = folder
        self._offset = 0
        self._number = 0  # of the next frame
        self._segments: list[tuple[int, int, Path]] = []  # first frame, first index, path
        self._hard_state = HardState()
        self._snapshot = Snapshot()
        self._last_index = 0
        self._usual_sync = 0.0
        self.sync_times = Histogram()

    # ---- opening

    @classmethod
    def exists(cls, folder: Path) -> bool:
        return folder.is_dir() and any(folder.glob("*.wal"))

    @classmethod
    def create(
        cls, folder: Path, metadata: bytes, snapshot: Snapshot | None = None, segment_bytes: int = SEGMENT_BYTES
    ) -> "WAL":
        """A new log. With ``snapshot`` it starts behind that state, else at nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        if cls.exists(folder):
            raise WALError(f"{folder} holds a log already")
        wal = cls(folder, metadata, segment_bytes)
        wal._snapshot = snapshot or Snapshot()
        wal._last_index = wal._snapshot.index
        # Never a term before that of what we start behind: it would be given out a second time.
        wal._hard_state = HardState(wal._snapshot.term, 0, wal._snapshot.index)
        wal._cut()
        _sync_folder(folder.parent)
        return wal

    @classmethod
    def open(cls, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> tuple["WAL", Recovered]:
        """Read the log back, repair a torn end, and go on behind it."""
        paths = sorted(folder.glob("*.wal"))
        if not paths:
            raise WALError(f"{folder} holds no log")
        wal = cls(folder, b"", segment_bytes)
        recovered = Recovered()
        by_index: dict[int, Entry] = {}
        last_frame = end = 0
        for path in paths:
            first_frame, first_index = _parse_name(path)
            if wal._segments and first_frame != wal._number:
                raise WALError(f"{path}: starts with frame {first_frame}, expected {wal._number}: a segment is missing")
            wal._number = first_frame
            wal._segments.append((first_frame, first_index, path))
            last_frame, end = wal._read_segment(path, path == paths[-1], recovered, by_index)
        recovered.entries = _contiguous(by_index, recovered.snapshot.index, folder)
        wal.metadata = recovered.metadata
        wal._hard_state = HardState(recovered.hard_state.term, recovered.hard_state.vote, recovered.hard_state.commit)
        wal._snapshot = recovered.snapshot
        wal._last_index = recovered.entries[-1].index if recovered.entries else recovered.snapshot.index
        wal._resume(paths[-1], last_frame, end)
        return wal, recovered

    def _read_segment(self, path: Path, last: bool, into: Recovered, by_index: dict[int, Entry]) -> tuple[int, int]:
        """Take in the frames of one segment; where the last good one begins and ends."""
        data = memoryview(path.read_bytes())
        begin = offset = 0
        while True:
            frame = _frame_at(data, offset, self._number)
            if frame is None:
                break
            _take_records(frame, into, by_index, path, offset)
            begin = offset
            offset += _padded(_FRAME.size + len(frame))
            self._number += 1
        rest = data[offset:]
        if not last:
            if self._number == _parse_name(path)[0] or not _is_zero(rest):
                raise WALError(_corrupt(path, offset))
            return begin, offset
        if _is_zero(rest):
            return begin, offset
        _require_torn(rest, self._number, path, offset)
        into.repaired = f"{path}: wiped a torn write at offset {offset}, it was never acknowledged"
        return begin, offset

    def _resume(self, path: Path, last_frame: int, end: int) -> None:
        """Go on at ``end``. The last frame is written anew: its sync may have failed, and then it was read from the system's
        cache, which takes it for written, while the disk does not have it (fsync tells of an error once)."""
        self._path, self._offset = path, end
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(self._fd, os.pread(self._fd, end - last_frame, last_frame), last_frame)
            os.ftruncate(self._fd, end)  # a torn frame must not come back behind the frames to come
            self._preallocate()
            os.fsync(self._fd)
        except OSError as error:
            raise self._fail("open", error) from error
        if end == 0:  # the crash came while the segment was cut: its head is missing
            self._write(self._head())

    # ---- writing

    def append(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None = None) -> None:
        """Write and sync. After a ``WALError`` the member must stop: nothing later may be acknowledged."""
        if self.write(hard_state, entries, snapshot):
            self.sync()
            self.settle()

    def write(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None = None) -> bool:
        """Hand a frame to the system; whether there was anything to write.

        ``sync`` and ``settle`` have to follow before the next frame is written: a frame proves that the one before was synced.
        """
        if self.failed is not None:
            raise self.failed
        if not hard_state and not entries and not snapshot:
            return False
        parts: list[bytes] = []
        if snapshot is not None:
            self._snapshot = snapshot
            self._last_index = snapshot.index
            parts += _record(_RESET, encode_snapshot(snapshot))
        if hard_state is not None:
            self._hard_state = hard_state
            parts += _record(_HARD_STATE, encode_hard_state(hard_state))
        for entry in entries:
            parts += _record(_ENTRY, encode_entry(entry))
        if entries:
            self._last_index = entries[-1].index
        self._put(b"".join(parts))
        return True

    def sync(self) -> None:
        """What was written is on the disk when this returns. It touches nothing but the file, so a thread may run it."""
        started = time.monotonic()
        try:
            sync(self._fd)
        except OSError as error:
            raise self._fail("write", error) from error
        took = time.monotonic() - started
        self.sync_times.observe(took)
        self._usual_sync += (took - self._usual_sync) / 8

    def settle(self) -> None:
        """Go on in a new segment when this one is full."""
        if self._offset >= self.segment_bytes:
            self._cut()

    @property
    def slow(self) -> bool:
        """Whether the last syncs took so long that a thread should do the next one, and the loop something else meanwhile."""
        return self._usual_sync > _SLOW_SECONDS

    def _put(self, records: bytes) -> None:
        frame = _pack_frame(self._number, records)
        try:
            written = os.pwrite(self._fd, frame, self._offset)
            while written < len(frame):
                written += os.pwrite(self._fd, frame[written:], self._offset + written)
        except OSError as error:
            raise self._fail("write", error) from error
        self._offset += len(frame)
        self._number += 1

    def _write(self, records: bytes) -> None:
        self._put(records)
        self.sync()

    def _head(self) -> bytes:
        parts = _record(_METADATA, self.metadata)
        parts += _record(_MARK, encode_snapshot(self._snapshot))
        parts += _record(_HARD_STATE, encode_hard_state(self._hard_state))
        return b"".join(parts)

    def _cut(self) -> None:
        """Go on in a new segment, which starts with everything but the entries."""
        path = self.folder / f"{self._number:016x}-{self._last_index + 1:016x}.wal"
        try:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._path, self._offset = path, 0
            self._preallocate()
        except OSError as error:
            raise self._fail("create", error) from error
        self._segments.append((self._number, self._last_index + 1, path))
        self._write(self._head())
        try:
            _sync_folder(self.folder)
        except OSError as error:
            raise self._fail("create", error) from error

    def _preallocate(self) -> None:
        missing = self.segment_bytes - self._offset
        if missing > 0:
            os.posix_fallocate(self._fd, self._offset, missing)

    def _fail(self, what: str, error: OSError) -> WALError:
        hint = " (the disk is full)" if error.errno == 28 else ""
        self.failed = WALError(
            f"{self._path}: cannot {what} the log at offset {self._offset}: {error.strerror or error}{hint}; "
            "this member stops, because it cannot tell what is on its disk"
        )
        return self.failed

    # ---- forgetting

    def release(self, snapshot: Snapshot) -> None:
        """The state on disk holds everything up to ``snapshot``: delete segments that hold nothing newer."""
        if snapshot.index > self._snapshot.index:
            if self.failed is not None:
                raise self.failed
            self._snapshot = snapshot
            self._write(b"".join(_record(_MARK, encode_snapshot(snapshot))))
        while len(self._segments) > 1 and self._segments[1][1] <= snapshot.index + 1:
            _, _, path = self._segments.pop(0)
            path.unlink()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def sync(fd: int) -> None:
    """Everything written to ``fd`` is on the disk when this returns. (Tests replace it to inject faults.)"""
    os.fdatasync(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _record(kind: int, data: bytes) -> list[bytes]:
    return [_RECORD.pack(kind, len(data)), data]


def _padded(size: int) -> int:
    return (size + 7) & ~7


def _pack_frame(number: int, records: bytes) -> bytes:
    crc = zlib.crc32(records, zlib.crc32(_NUMBER.pack(number)))
    frame = _FRAME.pack(len(records), crc, number) + records
    return frame + bytes(_padded(len(frame)) - len(frame))


def _frame_at(data: memoryview, offset: int, number: int) -> memoryview | None:
    """The records of the frame ``number`` at ``offset``, or None when there is no such good frame."""
    if offset + _FRAME.size > len(data):
        return None
    length, crc, found = _FRAME.unpack_from(data, offset)
    start = offset + _FRAME.size
    if found != number or length == 0 or start + length > len(data):
        return None
    records = data[start : start + length]
    return records if zlib.crc32(records, zlib.crc32(_NUMBER.pack(number))) == crc else None


def _take_records(frame: memoryview, into: Recovered, by_index: dict[int, Entry], path: Path, offset: int) -> None:
    position = 0
    while position < len(frame):
        kind, length = _RECORD.unpack_from(frame, position)
        start = position + _RECORD.size
        data = bytes(frame[start : start + length])
        position = start + length
        if kind == _ENTRY:
            entry, _ = decode_entry(data)
            by_index[entry.index] = entry
            _cut_after(by_index, entry.index)
        elif kind == _HARD_STATE:
            into.hard_state = decode_hard_state(data)
        elif kind == _RESET:
            into.snapshot = decode_snapshot(data)[0]
            by_index.clear()
        elif kind == _MARK:
            _take_mark(decode_snapshot(data)[0], into, by_index)
        elif kind == _METADATA:
            into.metadata = data
        else:
            raise WALError(f"{path}: unknown record {kind} in the frame at offset {offset}: a newer version wrote it")


def _cut_after(by_index: dict[int, Entry], index: int) -> None:
    """An entry replaces what was at its index, and everything behind."""
    index += 1
    while index in by_index:
        del by_index[index]
        index += 1


def _take_mark(snapshot: Snapshot, into: Recovered, by_index: dict[int, Entry]) -> None:
    if snapshot.index <= into.snapshot.index:
        return
    into.snapshot = snapshot
    for index in [i for i in by_index if i <= snapshot.index]:
        del by_index[index]


def _contiguous(by_index: dict[int, Entry], start: int, folder: Path) -> list[Entry]:
    entries = [by_index[index] for index in sorted(by_index) if index > start]
    for position, entry in enumerate(entries):
        if entry.index != start + 1 + position:
            raise WALError(f"{folder}: entry {start + 1 + position} is missing before {entry.index}")
    return entries


def _require_torn(rest: memoryview, number: int, path: Path, offset: int) -> None:
    """Whether what follows the last good frame can be a torn write; raise when it can only be corruption."""
    raw = bytes(rest)
    for later in range(number + 1, number + 1 + _LOOK_AHEAD):
        at = raw.find(_NUMBER.pack(later))
        while at >= 0:
            if at >= 8 and _frame_at(rest, at - 8, later) is not None:
                raise WALError(_corrupt(path, offset))  # a later frame is good, so this one had been synced
            at = raw.find(_NUMBER.pack(later), at + 1)
    length, _, found = _FRAME.unpack_from(raw + bytes(_FRAME.size))
    size = _FRAME.size + length
    if found != number or size > len(raw):
        return  # its head is missing, or the file ends within it
    first = _SECTOR - offset % _SECTOR
    cuts = [0, *range(first, size, _SECTOR), size]
    if not any(_is_zero(rest[a:b]) for a, b in pairwise(cuts)):
        raise WALError(_corrupt(path, offset))


def _corrupt(path: Path, offset: int) -> str:
    return (
        f"{path}: the frame at offset {offset} is corrupt, and it had been acknowledged; this member refuses to start "
        "on it: restore it from a snapshot, or remove it from the cluster and add it again with an empty data directory"
    )


def _is_zero(data: memoryview) -> bool:
    return not any(data[:64]) and (len(data) <= 64 or bytes(data).count(0) == len(data))


def _parse_name(path: Path) -> tuple[int, int]:
    try:
        frame, index = path.stem.split("-")
        return int(frame, 16), int(index, 16)
    except ValueError:
        raise WALError(f"{path}: not the name of a log segment") from None
