"""Events do not stay: each is written with a lease of the store that ends after ``--event-ttl``.

A lease an event would be many; the events of one minute share one, so an event lives up to a minute longer than asked.
"""

import asyncio
import time

from apiserver.storage import Store

_SHARED_SECONDS = 60


class EventLeases:
    def __init__(self, store: Store, ttl: float) -> None:
        self._store = store
        self._ttl = int(ttl)
        self._lease = 0
        self._until = 0.0
        self._granting = asyncio.Lock()

    async def lease(self) -> int:
        """The id of the lease to write an event with now."""
        if time.monotonic() >= self._until:
            async with self._granting:
                if time.monotonic() >= self._until:
                    self._lease = await self._store.lease(self._ttl + _SHARED_SECONDS)
                    self._until = time.monotonic() + _SHARED_SECONDS
        return self._lease
