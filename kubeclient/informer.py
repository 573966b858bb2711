"""Informers: list once, watch from there, keep a cache, tell the handlers.

The cache holds every object of one resource (in one namespace, matching selectors) as the server last showed it.
Handlers run synchronously on the event loop, in order, after the cache has changed; they should only enqueue keys. Objects in the cache are
shared: never change one, copy it first (``copy.deepcopy``).

A lost watch is resumed from the last resourceVersion; when the server says that is gone (410), the informer lists again and
turns the difference into add, update and delete calls, so a handler never misses a final state.
"""

import asyncio
import builtins
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kubeclient.http import TransportError
from kubeclient.rest import ApiError, Client, Object, ResourceClient

log = logging.getLogger(__name__)

AddHandler = Callable[[Object], None]
UpdateHandler = Callable[[Object, Object], None]
DeleteHandler = Callable[[Object], None]
IndexFunction = Callable[[Object], Iterable[str]]
Transform = Callable[[Object], Object]


def key_of(obj: Object) -> str:
    """``namespace/name``, or ``name`` for cluster-scoped objects."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else meta["name"]


def split_key(key: str) -> tuple[str, str]:
    """``(namespace, name)``; the namespace is empty for cluster-scoped objects."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


class Informer:
    """One resource, listed and watched. ``add_index`` and ``on`` go before ``run``.

    ``transform`` cuts an object down to what its readers need before it is kept.
    """

    def __init__(
        self,
        resource: ResourceClient,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        transform: Transform | None = None,
    ) -> None:
        self.resource, self.namespace, self._transform = resource, namespace, transform
        self._selectors: dict[str, Any] = {"label_selector": label_selector, "field_selector": field_selector}
        self._objects: dict[str, Object] = {}
        self._indexes: dict[str, tuple[IndexFunction, dict[str, dict[str, None]]]] = {}
        self._handlers: list[tuple[AddHandler | None, UpdateHandler | None, DeleteHandler | None]] = []
        self._synced = asyncio.Event()
        self.resource_version = ""

    def on(
        self,
        add: AddHandler | None = None,
        update: UpdateHandler | None = None,
        delete: DeleteHandler | None = None,
    ) -> None:
        """Handlers get ``(obj)``, ``(old, new)`` and ``(last known obj)``. Registered late, they first see what is cached."""
        self._handlers.append((add, update, delete))
        if add:
            for obj in list(self._objects.values()):
                add(obj)

    def on_any(self, handler: Callable[[Object], None]) -> None:
        """One handler for every change, given the newest known object."""
        self.on(handler, lambda old, new: handler(new), handler)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """``by_index(name, value)`` finds the objects for which ``function`` yields ``value``."""
        self._indexes[name] = (function, {})
        for key, obj in self._objects.items():
            self._index(key, obj)

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> "builtins.list[Object]":
        if namespace is None:
            return list(self._objects.values())
        return [o for o in self._objects.values() if o["metadata"].get("namespace") == namespace]

    def keys(self) -> Iterator[str]:
        return iter(self._objects)

    def by_index(self, name: str, value: str) -> "builtins.list[Object]":
        return [self._objects[key] for key in self._indexes[name][1].get(value, ())]

    def index_values(self, name: str) -> set[str]:
        """Every value under which the index has an object."""
        return set(self._indexes[name][1])

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    async def run(self) -> None:
        """Never returns. Trouble with the server is logged and retried with back-off."""
        backoff = 0.1
        while True:
            try:
                if not self.resource_version:
                    await self._relist()
                await self._watch()
                backoff = 0.1
                continue
            except ApiError as error:
                if error.expired:
                    log.info(
                        "%s: resourceVersion %s is too old, listing again",
                        self.resource.plural,
                        self.resource_version,
                    )
                    self.resource_version = ""
                    continue
                log.warning("%s: %s", self.resource.plural, error)
            except TransportError as error:
                log.info("%s: watch lost: %s", self.resource.plural, error or type(error).__name__)
            await asyncio.sleep(backoff * random.uniform(0.8, 1.2))
            backoff = min(backoff * 2, 5.0)

    async def _relist(self) -> None:
        listed = await self.resource.list(
            self.namespace, resource_version="0" if not self.has_synced else "", **self._selectors
        )
        kind = listed["kind"].removesuffix("List")
        fresh: dict[str, Object] = {}
        for item in listed["items"]:
            # Items of a list carry neither kind nor apiVersion; handlers and owner references want both.
            item.setdefault("apiVersion", listed["apiVersion"])
            item.setdefault("kind", kind)
            if self._transform:
                item = self._transform(item)
            fresh[key_of(item)] = item
        for key in [k for k in self._objects if k not in fresh]:
            self._apply("DELETED", self._objects[key])
        for obj in fresh.values():
            self._apply("MODIFIED", obj)
        self.resource_version = listed["metadata"]["resourceVersion"]
        self._synced.set()

    async def _watch(self) -> None:
        # The server ends the stream after a random time, so that the load of many watches spreads over its replicas.
        seconds = random.randint(300, 600)
        async for event in self.resource.watch(
            self.namespace, resource_version=self.resource_version, timeout_seconds=seconds, **self._selectors
        ):
            version = event.object["metadata"]["resourceVersion"]
            if event.type != "BOOKMARK":
                self._apply(event.type, self._transform(event.object) if self._transform else event.object)
            self.resource_version = version

    def _apply(self, type_: str, obj: Object) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if type_ == "DELETED":
            if old is None:
                return
            self._unindex(key, old)
            del self._objects[key]
        else:
            if old is not None:
                if old["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
                    return
                self._unindex(key, old)
            self._objects[key] = obj
            self._index(key, obj)
        for add, update, delete in self._handlers:
            if type_ == "DELETED":
                if delete:
                    delete(obj)
            elif old is None:
                if add:
                    add(obj)
            elif old["metadata"]["uid"] != obj["metadata"]["uid"]:
                # Deleted and created again while nobody was looking.
                if delete:
                    delete(old)
                if add:
                    add(obj)
            elif update:
                update(old, obj)

    def _index(self, key: str, obj: Object) -> None:
        for function, entries in self._indexes.values():
            for value in function(obj):
                entries.setdefault(value, {})[key] = None

    def _unindex(self, key: str, obj: Object) -> None:
        for function, entries in self._indexes.values():
            for value in function(obj):
                keys = entries.get(value)
                if keys is not None:
                    keys.pop(key, None)
                    if not keys:
                        del entries[value]


def without_managed_fields(obj: Object) -> Object:
    """A transform for those who never look at field ownership: it is often half of an object."""
    obj["metadata"].pop("managedFields", None)
    return obj


class InformerFactory:
    """One informer per resource for all the loops of a process."""

    def __init__(self, client: Client, *, transform: Transform | None = None) -> None:
        self.client, self._transform = client, transform
        self._informers: dict[tuple[Any, ...], Informer] = {}

    def informer(
        self,
        api_version: str,
        plural: str,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Informer:
        key = (api_version, plural, namespace, label_selector, field_selector)
        if key not in self._informers:
            self._informers[key] = Informer(
                self.client.resource(api_version, plural),
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                transform=self._transform,
            )
        return self._informers[key]

    def existing(self, api_version: str, plural: str) -> Informer | None:
        """The informer for the whole resource, when some loop has asked for one."""
        return self._informers.get((api_version, plural, None, "", ""))

    def unsynced(self) -> str | None:
        """For ``/readyz``: which informers still wait for their first list, or None."""
        waiting = [i.resource.plural for i in self._informers.values() if not i.has_synced]
        return f"waiting for {', '.join(waiting)}" if waiting else None

    async def wait_synced(self) -> None:
        await asyncio.gather(*(informer.wait_synced() for informer in self._informers.values()))

    async def run(self) -> None:
        """Runs every informer asked for so far; never returns."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run(), name=f"informer {informer.resource.plural}")
