"""Forgetting history: every five minutes the store is compacted to where it was five minutes ago.

All API servers try; a key that counts the attempts lets one of them win each round, as upstream's do, so ours and
upstream's can share a store. Watches and pages older than that start over with 410.
"""

import asyncio
import logging

from apimachinery.errors import StatusError
from apiserver.storage.store import Store
from etcd_raft.client import Compacted, Compare, EtcdError, op_get, op_put

log = logging.getLogger(__name__)
KEY = b"compact_rev_key"
INTERVAL_SECONDS = 300.0


class Compactor:
    """``run`` never returns."""

    def __init__(self, store: Store, interval: float = INTERVAL_SECONDS) -> None:
        self._store = store
        self._interval = interval

    async def run(self) -> None:
        version, revision = 0, 0
        while True:
            await asyncio.sleep(self._interval)
            try:
                version, revision = await self.step(version, revision)
            except (EtcdError, StatusError) as error:
                log.warning("compaction was put off: %s", error)

    async def step(self, version: int, revision: int) -> tuple[int, int]:
        """One round: (attempts counted so far, the revision to compact to next time)."""
        client = self._store.client
        result = await client.txn(
            [Compare.version(KEY, "=", version)], [op_put(KEY, str(revision).encode())], [op_get(KEY)]
        )
        current = result.revision
        if not result.succeeded:
            kvs = result.responses[0].kvs
            return (kvs[0].version if kvs else 0), current  # somebody else has won this round
        if revision:
            try:
                await client.compact(revision)
            except Compacted:
                log.debug("revision %d was compacted by somebody else", revision)
        return version + 1, current
