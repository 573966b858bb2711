"""Keys and their revisions: writing makes one revision, reading is at any that is not compacted.

A write happens inside ``with store.writing() as write``: all its changes get one main revision and sub revisions in order.
Checks come first, in the caller: a write never stops halfway.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.index import RECORD, KeyIndex, Record
from etcd_raft.proto.kv_pb2 import KeyValue

_HEADER = struct.Struct(">BQI")  # tombstone, main and sub revision of the key's previous change
_REVISION = struct.Struct(">QI")
HEADER_SIZE = _HEADER.size
_TOMBSTONE = RECORD.size - 1  # where an index record says so
_NONE = bytes(12)
_COMPACT_STEP = 1000


@dataclass(slots=True)
class Change:
    """One key of one revision, as watchers need it. ``kv`` is an encoded ``KeyValue``, ``previous`` a key into ``log``."""

    key: bytes
    deleted: bool
    kv: bytes
    previous: bytes


@dataclass(slots=True)
class Found:
    """What a range found: encoded ``KeyValue`` messages, up to the limit, and how many there are in all."""

    kvs: list[bytes]
    count: int


class Store:
    """All keys. ``revision`` is the newest one; ``compacted`` the one up to which history is forgotten."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.index = KeyIndex(backend)
        self._half_written = False  # the index is ahead of `revision`: inside a write that has changed something
        self.load()

    def load(self) -> None:
        """Take over what the file says (at the start, and after the file was replaced)."""
        self.revision = self.backend.get_number(b"revision") or 1
        # -1: never compacted. Compacting at 0 is allowed once, as in etcd.
        self.compacted = self._number_or(b"compacted", -1)
        self.compact_done = self._number_or(b"compact-done", -1)

    def _number_or(self, name: bytes, otherwise: int) -> int:
        return self.backend.get_number(name) if self.backend.get_meta(name) is not None else otherwise

    def save(self) -> None:
        """Put the revision into the transaction that is about to be committed."""
        self.backend.put_number(b"revision", self.revision)

    # ---- reading

    def check_revision(self, revision: int) -> int:
        """The revision to read at; 0 or less means the newest."""
        if revision <= 0:
            return self.revision
        if revision > self.revision:
            raise errors.FUTURE_REVISION
        if revision < self.compacted:
            raise errors.COMPACTED
        return revision

    def range(self, key: bytes, end: bytes, revision: int = 0, limit: int = 0, count_only: bool = False) -> Found:
        """Keys of ``[key, end)`` as of ``revision``, in order."""
        at = self.check_revision(revision)
        if revision <= 0 or (at == self.revision and not self._half_written):
            return self._range_newest(key, end, limit, count_only)
        found = Found([], 0)
        for _, record in self.index.scan(key, end):
            kv = self._as_of(record, at)
            if kv is not None:
                found.count += 1
                if not count_only and (limit <= 0 or len(found.kvs) < limit):
                    found.kvs.append(kv)
        return found

    def _range_newest(self, key: bytes, end: bytes, limit: int, count_only: bool) -> Found:
        get, log = self.backend.txn.get, self.backend.log
        kvs: list[bytes] = []
        count = 0
        room = 0 if count_only else (limit if limit > 0 else 1 << 62)
        for _, record in self.index.scan(key, end):
            if record[_TOMBSTONE]:
                continue
            if count < room:
                kvs.append(get(record[:12], db=log)[HEADER_SIZE:])
            count += 1
        return Found(kvs, count)

    def _as_of(self, record: bytes, revision: int) -> bytes | None:
        """The encoded key as it was at ``revision``: follow the changes back; None when it was not there."""
        place = record[:12]
        get, log = self.backend.txn.get, self.backend.log
        while place != _NONE:
            raw = get(place, db=log)
            if raw is None:
                return None  # a deletion that has been compacted
            if int.from_bytes(place[:8], "big") <= revision:
                return None if raw[0] else raw[HEADER_SIZE:]
            place = raw[1:HEADER_SIZE]
        return None

    def kv_at(self, place: bytes) -> bytes | None:
        """The encoded key of the change at ``place`` in ``log``; None when there is none, or it is a deletion."""
        if place == _NONE:
            return None
        raw = self.backend.txn.get(place, db=self.backend.log)
        return raw[HEADER_SIZE:] if raw is not None and not raw[0] else None

    def newest(self, key: bytes) -> bytes | None:
        """The encoded key as it is now."""
        raw = self.index.get_raw(key)
        return self.kv_at(raw[:12]) if raw is not None else None

    def changes(self, start: int, stop: int) -> Iterator[tuple[int, Change]]:
        """Changes of the revisions ``start <= r < stop`` in order, with their revision."""
        txn = self.backend.txn
        with txn.cursor(db=self.backend.log) as cursor:
            if not cursor.set_range(_REVISION.pack(max(start, 0), 0)):
                return
            for place, raw in cursor.iternext(keys=True, values=True):
                revision = int.from_bytes(place[:8], "big")
                if revision >= stop:
                    return
                kv = raw[HEADER_SIZE:]
                yield revision, Change(_key_of(kv), bool(raw[0]), kv, raw[1:HEADER_SIZE])

    # ---- writing

    def writing(self) -> "Write":
        return Write(self)

    def take_over(self, change: Change, record: Record) -> None:
        """Append a change with the revision that it has been given; ``revision`` is left to the caller."""
        place = _REVISION.pack(record.mod, record.sub)
        flag = b"\1" if change.deleted else b"\0"
        self.backend.txn.put(place, flag + change.previous + change.kv, db=self.backend.log, append=True)
        self.index.put(change.key, record)

    @staticmethod
    def place_of(record: Record | None) -> bytes:
        """Where a change lies in the log; twelve zeros for none."""
        return _REVISION.pack(record.mod, record.sub) if record is not None else _NONE

    # ---- forgetting

    def check_compact(self, revision: int) -> None:
        if revision <= self.compacted:
            raise errors.COMPACTED
        if revision > self.revision:
            raise errors.FUTURE_REVISION

    def compact(self, revision: int) -> None:
        """From now on nothing before ``revision`` can be read; ``compact_step`` frees it."""
        self.check_compact(revision)
        if self.compacting:  # start that one over: what it keeps for its own revision is not to be kept for this one
            self.backend.txn.delete(b"compact-at", db=self.backend.meta)
        self.compacted = revision
        self.backend.put_number(b"compacted", revision)

    @property
    def compacting(self) -> bool:
        return self.compact_done < self.compacted

    def compact_step(self) -> bool:
        """Free some of what is forgotten; whether there is more. Done again after a crash, it does no harm.

        A change is dropped once a later one up to the compacted revision replaces it; a deletion is dropped too, but not
        one at the compacted revision itself, which a watch from there still has to see.
        """
        backend, limit = self.backend, self.compacted
        resume = self.backend.get_meta(b"compact-at")
        at = resume if resume is not None else _REVISION.pack(max(0, self.compact_done), 0)
        batch: list[tuple[bytes, bytes]] = []
        with backend.txn.cursor(db=backend.log) as cursor:
            if cursor.set_range(at):
                for place, raw in cursor.iternext(keys=True, values=True):
                    if len(batch) >= _COMPACT_STEP or int.from_bytes(place[:8], "big") > limit:
                        break
                    batch.append((place, raw))
        for place, raw in batch:
            self._forget_before(place, raw, limit)
        if len(batch) >= _COMPACT_STEP:
            self.backend.put_meta(b"compact-at", batch[-1][0] + b"\0")
            return True
        backend.txn.delete(b"compact-at", db=backend.meta)
        self.compact_done = limit
        self.backend.put_number(b"compact-done", limit)
        return False

    def _forget_before(self, place: bytes, raw: bytes, limit: int) -> None:
        txn, backend = self.backend.txn, self.backend
        previous = raw[1:HEADER_SIZE]
        if previous != _NONE:
            txn.delete(previous, db=backend.log)
        if raw[0] and int.from_bytes(place[:8], "big") < limit:
            txn.delete(place, db=backend.log)
            key = _key_of(raw[HEADER_SIZE:])
            newest = self.index.get_raw(key)
            if newest is not None and newest[:12] == place:
                self.index.delete(key)
        backend.dirty += 64


class Write:
    """The changes of one revision under way. Use as a context: leaving it makes the revision, if anything changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.main = store.revision + 1
        self.changes: list[Change] = []

    def __enter__(self) -> "Write":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if self.changes:
            self._store.revision = self.main
            self._store._half_written = False

    @property
    def revision(self) -> int:
        """The revision that a read inside this write is at."""
        return self.main if self.changes else self.main - 1

    def put(self, key: bytes, value: bytes, lease: int) -> Record | None:
        """Write a key; returns its record before, None when it was not there."""
        store = self._store
        before = store.index.get(key)
        alive = before is not None and not before.tombstone
        create, version = (before.create, before.version + 1) if before is not None and alive else (self.main, 1)
        kv = KeyValue(
            key=key, create_revision=create, mod_revision=self.main, version=version, value=value, lease=lease
        ).SerializeToString()
        self._append(key, False, kv, before, Record(self.main, len(self.changes), create, version, lease, 0))
        return before if alive else None

    def delete(self, key: bytes) -> None:
        """Write a deletion; the key must be there."""
        before = self._store.index.get(key)
        assert before is not None, f"{key!r} was never there"
        assert not before.tombstone, f"{key!r} is deleted already"
        kv = KeyValue(key=key, mod_revision=self.main).SerializeToString()
        self._append(key, True, kv, before, Record(self.main, len(self.changes), 0, 0, 0, 1))

    def _append(self, key: bytes, deleted: bool, kv: bytes, before: Record | None, record: Record) -> None:
        store = self._store
        change = Change(key, deleted, kv, store.place_of(before))
        store.take_over(change, record)
        store.backend.dirty += len(kv) + 64
        store._half_written = True
        self.changes.append(change)


def _key_of(kv: bytes) -> bytes:
    """The key of an encoded ``KeyValue``: it is always its first field."""
    length, position, shift = 0, 1, 0
    while True:
        byte = kv[position]
        length |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return kv[position : position + length]
