"""Where the newest change of every key is, ordered by key.

LMDB's keys end at 511 bytes and etcd's do not. Keys of ``_SPLIT`` bytes and more share one LMDB entry with all that start
with the same ``_SPLIT`` bytes: its value is the sorted list of their rests. Order is kept, because a shorter key that is a
prefix sorts before, and any other key differs within those bytes. Such keys are rare; the common case is one entry a key.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from etcd_raft.mvcc.backend import Backend

_SPLIT = 500
# main and sub revision come first, so that record[:12] is the key of the change in `log`.
RECORD = struct.Struct(">QIQQqB")
_LENGTH = struct.Struct(">I")
NO_END = b"\0"


class Record(NamedTuple):
    """The newest change of a key; a deleted key keeps a tombstone until compaction."""

    mod: int
    sub: int
    create: int
    version: int
    lease: int
    tombstone: int


class KeyIndex:
    """``records`` are packed ``Record`` tuples: most reads need no more than their first 12 and last byte."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, key: bytes) -> Record | None:
        raw = self.get_raw(key)
        return Record._make(RECORD.unpack(raw)) if raw is not None else None

    def get_raw(self, key: bytes) -> bytes | None:
        backend = self._backend
        value: bytes | None = backend.txn.get(key[:_SPLIT], db=backend.index)
        if value is None or len(key) < _SPLIT:
            return value
        rest = key[_SPLIT:]
        return next((record for suffix, record in _unpack(value) if suffix == rest), None)

    def put(self, key: bytes, record: Record) -> None:
        packed = RECORD.pack(*record)
        backend = self._backend
        if len(key) >= _SPLIT:
            entries = self._shared(key)
            place = bisect_left(entries, (key[_SPLIT:],))
            if place < len(entries) and entries[place][0] == key[_SPLIT:]:
                entries[place] = (key[_SPLIT:], packed)
            else:
                entries.insert(place, (key[_SPLIT:], packed))
            packed = _pack(entries)
        backend.txn.put(key[:_SPLIT], packed, db=backend.index)
        backend.dirty += len(key) + len(packed) + 64

    def delete(self, key: bytes) -> None:
        backend = self._backend
        if len(key) >= _SPLIT:
            entries = [entry for entry in self._shared(key) if entry[0] != key[_SPLIT:]]
            if entries:
                backend.txn.put(key[:_SPLIT], _pack(entries), db=backend.index)
                return
        backend.txn.delete(key[:_SPLIT], db=backend.index)

    def scan(self, key: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and packed records of ``[key, end)`` in order, tombstones too; ``b""`` is the one key, ``b"\\0"`` no end.

        The index must not change while the iterator is in use.
        """
        if not end:
            raw = self.get_raw(key)
            if raw is not None:
                yield key, raw
            return
        backend = self._backend
        with backend.txn.cursor(db=backend.index) as cursor:
            if not cursor.set_range(key[:_SPLIT]):
                return
            open_ended = end == NO_END
            for found, value in cursor.iternext(keys=True, values=True):
                if not open_ended and found >= end:
                    return
                if len(found) < _SPLIT:
                    yield found, value
                    continue
                for suffix, record in _unpack(value):
                    whole = found + suffix
                    if whole >= key and (open_ended or whole < end):
                        yield whole, record

    def _shared(self, key: bytes) -> list[tuple[bytes, bytes]]:
        backend = self._backend
        value = backend.txn.get(key[:_SPLIT], db=backend.index)
        return _unpack(value) if value is not None else []


def _pack(entries: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(_LENGTH.pack(len(suffix)) + suffix + record for suffix, record in entries)


def _unpack(value: bytes) -> list[tuple[bytes, bytes]]:
    entries: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(value):
        (length,) = _LENGTH.unpack_from(value, position)
        start = position + _LENGTH.size
        entries.append((value[start : start + length], value[start + length : start + length + RECORD.size]))
        position = start + length + RECORD.size
    return entries
