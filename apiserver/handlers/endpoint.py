"""Everything the handlers need to know of one served resource, in one place."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from apimachinery import errors
from apimachinery.apply import FieldManager
from apimachinery.resources import Resource
from apiserver.cacher import Cacher, Entry
from apiserver.forms import AnyForm, Converter, PlainForm, form_for
from apiserver.handlers.ownership import field_manager
from apiserver.negotiation import Form
from apiserver.registry import Strategy
from apiserver.storage import Store
from apiserver.storage.store import Also

Object = dict[str, Any]
#: Takes what an object needs besides itself (addresses, ports): given new and old (None: a creation), may change new.
Allocate = Callable[[Object, Object | None], Awaitable[Also]]
Release = Callable[[Object], list[str]]


class Endpoint:
    """One row of the resource table, ready to serve."""

    def __init__(
        self,
        resource: Resource,
        strategy: Strategy,
        cacher: Cacher,
        store: Store,
        converter: Converter | None = None,
    ) -> None:
        self.resource = resource
        self.strategy = strategy
        self.cacher = cacher
        self.store = store
        self.converter = converter
        self.cache = cacher.cache(resource)
        self.codec = self.cache.codec
        self.plain = PlainForm(resource, self.codec, converter)
        self.allocate: Allocate | None = None
        self.release: Release | None = None
        self._fields: dict[str, FieldManager] = {}

    def key(self, namespace: str, name: str) -> str:
        """The key in the cache. The path of a Namespace has its name in both places."""
        return f"{namespace}/{name}" if self.resource.namespaced else name

    def storage_key(self, key: str) -> str:
        return self.cache.prefix + key

    def form(self, form: Form, include: str = "") -> AnyForm:
        return form_for(form, self.plain, self.strategy, self.codec, self.converter, include)

    def decode_entry(self, entry: Entry) -> Object:
        """A fresh copy of a cached object, in the stored version: the one that strategies and admission see."""
        return self.codec.decode_body(entry.body)

    def decode_value(self, value: bytes, revision: int) -> Object:
        return self.codec.decode(value, revision)

    def to_served(self, obj: Object) -> Object:
        """An object in the version that this endpoint's clients see."""
        return obj if self.converter is None else self.converter.to_served(obj)

    def to_stored(self, obj: Object) -> Object:
        """What a client sent, in the stored version."""
        return obj if self.converter is None else self.converter.to_stored(obj)

    def fields(self, subresource: str = "") -> FieldManager:
        """Who keeps the owners of what this resource, or a subresource of it, writes."""
        found = self._fields.get(subresource)
        if found is None:
            found = self._fields[subresource] = field_manager(self.resource, subresource)
        return found

    def owned(self, live: Object | None, new: Object, manager: str, subresource: str = "") -> Object:
        """``new`` with the owners that its fields have after a write by ``manager``; both in the stored version."""
        fields = self.fields(subresource)
        if self.converter is None:
            return fields.update(live, new, manager)
        served = None if live is None else self.to_served(live)
        owners = fields.update(served, self.to_served(new), manager)["metadata"].get("managedFields")
        metadata = {k: v for k, v in new["metadata"].items() if k != "managedFields"}
        return {**new, "metadata": {**metadata, "managedFields": owners} if owners else metadata}

    def encode(self, obj: Object) -> bytes:
        """The value to store."""
        return self.codec.encode(obj)

    def not_found(self, name: str) -> errors.StatusError:
        return errors.not_found(self.resource, name)

    async def live(self, key: str) -> tuple[Object, int] | None:
        """The object as the store holds it now, past the cache."""
        found = await self.store.get(self.storage_key(key))
        return None if found is None else (self.decode_value(found.value, found.revision), found.revision)


def copy_of(obj: Object) -> Object:
    """A deep copy; through JSON, which is several times faster than walking it."""
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied
