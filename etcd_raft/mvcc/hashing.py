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
    start = last = 0
    while start <= revision:
        # A slice at a time and no cursor in between: whoever has the next turn may commit, which ends all cursors.
        seen, stop = 0, revision + 1
        for at, change in store.changes(start, revision + 1):
            if seen >= _SLICE and at > last:
                stop = at
                break
            seen, last = seen + 1, at
            if at < compacted:
                last_of[change.key] = (at, change.deleted, change.kv)
                continue
            if at == compacted:
                last_of.pop(change.key, None)
            value = zlib.crc32(b"\1" if change.deleted else b"\0", zlib.crc32(change.kv, value))
        start = stop
        await asyncio.sleep(0)
        if store.compacted != compacted:
            return await hash_keys(store, store.check_revision(revision))
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
