"""How the cache stays fresh: list the store once, then follow one watch over everything below the prefix.

One watch for all resources means one progress counter: ``revision`` says that every change up to it has been
applied, whatever resource it was for. A consistent read asks the store for its revision (agreed on by a quorum after
the request came; requests that wait together share one question) and waits until the cache has got there, which it
mostly has already.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from apimachinery.errors import StatusError
from apimachinery.resources import Resource
from apiserver.cacher.entry import Fields
from apiserver.cacher.resource_cache import ResourceCache
from apiserver.cacher.watcher import Outbox
from apiserver.storage.store import KeyValue, Store
from etcd_raft.client import Compacted, EtcdError, WatchBatch

log = logging.getLogger(__name__)

#: How long a read waits for the cache to reach a revision (upstream: 3 s), and when it asks the store for a nudge.
WAIT_SECONDS, NUDGE_SECONDS = 3.0, 0.05
_PAGE = 2000


class Cacher:
    """All resource caches of the process. ``run`` never returns."""

    def __init__(self, store: Store, resources: Iterable[tuple[Resource, Fields]]) -> None:
        self.store = store
        self.revision = 0
        self.ready = asyncio.Event()
        self.behind: str | None = "waiting for the first list"
        """Why the cache may be stale, or None while the watch on the store stands."""
        self.caches: dict[str, ResourceCache] = {}
        self._nested: set[str] = set()
        outbox = Outbox()
        for resource, fields in resources:
            if resource.stored and resource.storage_prefix not in self.caches:
                self.caches[resource.storage_prefix] = ResourceCache(resource, fields, outbox)
                if "/" in resource.storage_prefix:
                    self._nested.add(resource.storage_prefix.partition("/")[0])
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._questions: list[asyncio.Future[int]] = []
        self._asking: asyncio.Task[None] | None = None
        self._watch: Any = None
        self.on_change: list[Callable[[str], None]] = []
        """Called with the key of each change below no resource's prefix (other API servers' leases and the like)."""

    def cache(self, resource: Resource) -> ResourceCache:
        return self.caches[resource.storage_prefix]

    # --- following the store

    async def run(self) -> None:
        while True:
            try:
                await self._load()
                await self._follow()
            except Compacted:
                log.warning("the store has compacted what was not yet seen: listing everything again")
            except (EtcdError, StatusError) as error:
                self.behind = f"the store does not answer: {error}"
                log.warning("%s", self.behind)
                await asyncio.sleep(0.2)

    async def _load(self) -> None:
        """List everything at one revision, page by page."""
        by_prefix: dict[str, list[tuple[str, bytes, int]]] = {prefix: [] for prefix in self.caches}
        start, revision, more = "", 0, True
        while more:
            page = await self.store.range("", start=start, revision=revision, limit=_PAGE)
            revision = revision or page.revision
            for item in page.items:
                prefix, key = self._split(item.key)
                if prefix in by_prefix:
                    by_prefix[prefix].append((key, item.value, item.revision))
            more = page.more
            if more:
                start = page.items[-1].key + "\0"
        for prefix, cache in self.caches.items():
            cache.load(by_prefix[prefix], revision)
        self._advance(revision)

    async def _follow(self) -> None:
        async with self.store.watch(self.revision + 1) as watch:
            self._watch = watch
            self.behind = None
            self.ready.set()
            try:
                async for batch in watch:
                    self._apply(batch)
            finally:
                self._watch = None

    def _apply(self, batch: WatchBatch) -> None:
        for event in batch.events:
            kv = event.kv
            full = self.store.relative(kv.key)
            prefix, key = self._split(full)
            cache = self.caches.get(prefix)
            if cache is None:
                for listener in self.on_change:
                    listener(full)
            elif event.type == "PUT":
                cache.put(key, kv.value, kv.mod_revision)
            else:
                cache.remove(key, kv.mod_revision)
        self._advance(batch.revision)

    def _split(self, key: str) -> tuple[str, str]:
        """``services/specs/default/web`` is ``default/web`` below the prefix ``services/specs``."""
        prefix, _, rest = key.partition("/")
        if prefix in self._nested:
            second, _, rest = rest.partition("/")
            prefix = f"{prefix}/{second}"
        return prefix, rest

    def _advance(self, revision: int) -> None:
        if revision <= self.revision:
            return
        self.revision = revision
        waiting = self._waiting
        while waiting and waiting[0][0] <= revision:
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)

    # --- consistency

    async def consistent(self) -> int:
        """Wait until the cache holds everything that was committed before this call; its revision then."""
        confirmed = await self._ask()
        if self.revision < confirmed:
            await self.wait_for(confirmed)
        return self.revision

    async def wait_for(self, revision: int) -> None:
        """Wait until the cache has reached ``revision``; upstream's 504 when it does not in a few seconds."""
        if self.revision >= revision:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (revision, next(self._order), future))
        deadline = loop.time() + WAIT_SECONDS
        while self.revision < revision:
            await asyncio.wait((future,), timeout=NUDGE_SECONDS)
            if future.done():
                return
            if loop.time() > deadline:
                future.cancel()
                raise too_large_resource_version(revision, self.revision)
            # Something outside the prefix was written last: only a notice of progress gets us there.
            if self._watch is not None:
                await self._watch.request_progress()

    async def _ask(self) -> int:
        """The store's revision, asked after this call began. Those who wait together share one question."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._questions.append(future)
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer(), name="read index")
        return await future

    async def _answer(self) -> None:
        try:
            while self._questions:
                asked, self._questions = self._questions, []
                try:
                    revision = await self.store.revision()
                except StatusError as error:
                    for future in asked:
                        if not future.done():
                            future.set_exception(StatusError(error.code, error.reason, error.message, error.details))
                else:
                    for future in asked:
                        if not future.done():
                            future.set_result(revision)
        finally:
            self._asking = None


def too_large_resource_version(asked: int, current: int) -> StatusError:
    text = f"Timeout: Too large resource version: {asked}, current: {current}"
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return StatusError(504, "Timeout", text, details)


__all__ = ["Cacher", "KeyValue", "too_large_resource_version"]
