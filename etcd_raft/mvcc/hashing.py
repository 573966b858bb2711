"""Checksums of the state, to compare members: equal histories have equal hashes."""

import asyncio
import zlib

from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.store import HEADER_SIZE, Store

_SLICE = 5_000


async def hash_keys(store: Store, revision: int) -> int:
    """Of every change up to ``revision`` that a reader at or after the last compaction can still see.

    Whether compaction has got around to freeing something must not matter: what it is going to drop is left out.
    """
    compacted = store.compacted
    value = zlib.crc32(compacted.to_bytes(8, "big", signed=True))
    last_of: dict[bytes, tuple[int, bool, bytes]] = {}
    for seen, (at, change) in enumerate(store.changes(0, revision + 1)):
        if at < compacted:
            last_of[change.key] = (at, change.deleted, change.kv)
            continue
        if at == compacted:
            last_of.pop(change.key, None)
        value = zlib.crc32(b"\1" if change.deleted else b"\0", zlib.crc32(change.kv, value))
        if seen % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
    for key in sorted(last_of):
        at, deleted, kv = last_of[key]
        if not deleted:
            value = zlib.crc32(kv, value)
    return value


def hash_all(backend: Backend) -> int:
    """Of the whole state as it is on this member, deletions that are not freed yet and all."""
    value = 0
    for database in (backend.log, backend.index, backend.lease):
        with backend.txn.cursor(db=database) as cursor:
            for key, data in cursor.iternext(keys=True, values=True):
                value = zlib.crc32(data[HEADER_SIZE:] if database is backend.log else data, zlib.crc32(key, value))
    return value
