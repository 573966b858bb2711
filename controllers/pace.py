"""Fewer syncs for bigger objects.

A sync of a set of a thousand pods sums up a thousand pods and writes a status; done for each of their events, that
would be most of what the cluster does. The first event is acted on at once; those that follow wait a little, longer for more
pods: at most 5000 pods a second are summed up for one key.
"""

import asyncio

from kubeclient import WorkQueue

_SECONDS_PER_ITEM = 0.0002
_LONGEST = 0.5


class Pace:
    """``synced`` when a sync begins, ``add`` instead of the queue's ``add`` for news that may wait."""

    def __init__(self, queue: WorkQueue[str]) -> None:
        self._queue = queue
        self._last: dict[str, float] = {}

    def synced(self, key: str) -> None:
        self._last[key] = asyncio.get_running_loop().time()

    def forget(self, key: str) -> None:
        self._last.pop(key, None)

    def add(self, key: str, size: int) -> None:
        last = self._last.get(key)
        if last is None:
            self._queue.add(key)
            return
        wait = last + min(size * _SECONDS_PER_ITEM, _LONGEST) - asyncio.get_running_loop().time()
        self._queue.add_after(key, wait)
