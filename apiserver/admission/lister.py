"""What plugins read about the cluster: objects of one kind from the watch cache, each decoded at most once.

A lookup costs no call to the store, and one in a namespace without such objects next to nothing. What it returns is shared:
nobody may change it.
"""

from typing import Any

from apiserver.cacher import Change, Entry, ResourceCache

Object = dict[str, Any]


class Lister:
    def __init__(self, cache: ResourceCache) -> None:
        self._cache = cache
        self._decoded: dict[str, tuple[Entry, Object]] = {}
        cache.listeners.append(self._changed)

    def get(self, key: str) -> Object | None:
        """``key`` is ``namespace/name``, or ``name``."""
        entry = self._cache.get(key)
        return None if entry is None else self._decode(entry)

    def body(self, key: str) -> bytes | None:
        """The encoded object, for who only has to know that something is not in it."""
        entry = self._cache.get(key)
        return None if entry is None else entry.body

    def list(self, namespace: str = "") -> list[Object]:
        """In the order of names; everywhere when no namespace is named."""
        return [self._decode(entry) for entry in self._cache.entries(f"{namespace}/" if namespace else "")]

    def _decode(self, entry: Entry) -> Object:
        known = self._decoded.get(entry.key)
        if known is not None and known[0] is entry:
            return known[1]
        obj = self._cache.codec.decode_body(entry.body)
        self._decoded[entry.key] = (entry, obj)
        return obj

    def _changed(self, change: Change | None) -> None:
        if change is None:
            self._decoded.clear()
        elif change.entry is None:
            self._decoded.pop(change.key, None)
