"""What is kept of one resource: its objects in key order, and a window of recent changes for watches that resume.

Everything here runs synchronously on the event loop: a change is applied and handed to every watcher in one step, so
no lock is needed and a watch that starts between two changes misses none.
"""

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from apimachinery.errors import StatusError
from apimachinery.resources import Resource
from apiserver.cacher.entry import Attributes, Change, Entry, Fields
from apiserver.cacher.watcher import Matches, Outbox, Representation, Watcher
from apiserver.storage.codec import Codec

#: How many changes are remembered: always some, more while they are young, never too many.
WINDOW_MIN, WINDOW_MAX, WINDOW_SECONDS = 512, 20_000, 75.0


class ResourceCache:
    """The objects below one storage prefix. Keys are ``namespace/name`` or ``name``."""

    def __init__(self, resource: Resource, fields: Fields, outbox: Outbox | None = None) -> None:
        self.resource = resource
        self.prefix = resource.storage_prefix + "/"
        self.codec = Codec(resource)
        self._fields = fields
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._window: deque[Change] = deque()
        self._window_start = 0
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._outbox = outbox or Outbox()
        self._by_field: dict[tuple[str, str], dict[Watcher, None]] = {}
        self.listeners: list[Callable[[Change | None], None]] = []
        """Called with each change once it is applied, and with None after a new list: for indexes inside this process."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def watchers(self) -> int:
        return sum(map(len, self._watchers.values())) + sum(map(len, self._by_field.values()))

    # --- reading

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def entries(self, scope: str = "") -> list[Entry]:
        """In key order: all of them, or those below ``namespace/``, or the one named exactly."""
        entries = self._entries
        if not scope:
            return [entries[key] for key in self._keys]
        if not scope.endswith("/"):
            entry = entries.get(scope)
            return [entry] if entry is not None else []
        first = bisect_left(self._keys, scope)
        last = bisect_left(self._keys, scope[:-1] + "0", first)  # "0" follows "/"
        return [entries[key] for key in self._keys[first:last]]

    def attributes(self, entry: Entry) -> Attributes:
        return entry.attributes(self.codec, self._fields)

    # --- changes, called by the cacher

    def load(self, items: list[tuple[str, bytes, int]], revision: int) -> None:
        """Start anew from a list at ``revision``; open watches end, for what they missed is unknown."""
        self.close_watchers()
        self._entries = {key: Entry(key, self.codec.body(value, at), at) for key, value, at in items}
        self._keys = sorted(self._entries)
        self._window.clear()
        self._window_start = revision
        for listener in self.listeners:
            listener(None)

    def put(self, key: str, value: bytes, revision: int) -> None:
        entry = Entry(key, self.codec.body(value, revision), revision)
        previous = self._entries.get(key)
        if previous is None:
            insort(self._keys, key)
        self._entries[key] = entry
        self._announce(Change(key, entry, previous, revision, time.monotonic()))

    def remove(self, key: str, revision: int) -> None:
        previous = self._entries.pop(key, None)
        if previous is None:
            return
        del self._keys[bisect_left(self._keys, key)]
        self._announce(Change(key, None, previous, revision, time.monotonic()))

    def _announce(self, change: Change) -> None:
        for listener in self.listeners:
            listener(change)
        window = self._window
        window.append(change)
        while len(window) > WINDOW_MIN and (len(window) > WINDOW_MAX or window[0].at < change.at - WINDOW_SECONDS):
            self._window_start = window.popleft().revision
        for watcher in self._interested(change):
            watcher.offer(change, self.attributes, self._rebody)
        change.encoded = {}  # a watch that resumes later encodes again; the window stays small

    def _rebody(self, entry: Entry, revision: int) -> bytes:
        return self.codec.rebody(entry.body, revision)

    def _interested(self, change: Change) -> Iterator[Watcher]:
        watchers, key = self._watchers, change.key
        if watchers:
            namespace, slash, _ = key.rpartition("/")
            for scope in ("", namespace + "/", key) if slash else ("", key):
                some = watchers.get(scope)
                if some:
                    yield from list(some)  # a slow one takes itself out meanwhile
        if self._by_field:
            for pair in self._indexed_values(change):
                yield from list(self._by_field.get(pair, ()))

    def _indexed_values(self, change: Change) -> set[tuple[str, str]]:
        """The values before and after of the fields by which somebody watches."""
        fields = {field for field, _ in self._by_field}
        states = [self.attributes(e).fields for e in (change.entry, change.previous) if e is not None]
        return {(field, state.get(field, "")) for field in fields for state in states}

    # --- watching

    def watch(
        self,
        scope: str,
        matches: Matches | None,
        representation: Representation,
        since: int | None,
        index: tuple[str, str] | None = None,
    ) -> Watcher:
        """A registered watcher that already holds what happened after ``since``.

        ``since`` None: it first gets every object there is as ADDED; one of the future skips what is before it.
        Raises 410 when the window does not reach back to it. ``index`` names a field and its value when ``matches`` asks
        for that everywhere: such a watcher costs nothing while other objects change, which is what keeps a kubelet a node
        cheap.
        """
        watcher = Watcher(scope, matches, representation, self._forget, self._outbox, since or 0)
        if since is None:
            for entry in self.entries(scope):
                if matches is None or matches(self.attributes(entry)):
                    watcher.put_added(entry)
        else:
            if since < self._window_start:
                oldest = self._window_start
                raise StatusError(410, "Expired", f"too old resource version: {since} ({oldest})")
            for change in self._after(since):
                if _in_scope(change.key, scope):
                    watcher.offer(change, self.attributes, self._rebody)
        if index is not None and not scope:
            watcher.index = index
            self._by_field.setdefault(index, {})[watcher] = None
        else:
            self._watchers.setdefault(scope, {})[watcher] = None
        return watcher

    def _after(self, revision: int) -> list[Change]:
        found: list[Change] = []
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            found.append(change)
        found.reverse()
        return found

    def _forget(self, watcher: Watcher) -> None:
        if watcher.index is not None:
            _take_out(self._by_field, watcher.index, watcher)
        else:
            _take_out(self._watchers, watcher.scope, watcher)

    def close_watchers(self) -> None:
        for some in [*self._watchers.values(), *self._by_field.values()]:
            for watcher in list(some):
                watcher.close()


def _in_scope(key: str, scope: str) -> bool:
    return not scope or (key.startswith(scope) if scope.endswith("/") else key == scope)


def _take_out(registry: dict[Any, dict[Watcher, None]], key: Any, watcher: Watcher) -> None:
    some = registry.get(key)
    if some is not None:
        some.pop(watcher, None)
        if not some:
            del registry[key]
