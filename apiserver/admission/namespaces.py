"""NamespaceLifecycle: nothing is created in a namespace that is not there or is going away; some namespaces stay."""

import time

from apimachinery import errors, resources
from apiserver.admission.chain import Attributes, Plugin
from apiserver.cacher import Cacher
from apiserver.storage import Store

IMMORTAL = ("default", "kube-system", "kube-public")
#: How long the store is asked instead of the cache after a namespace was deleted here, as upstream: the cache may lag behind.
LIVE_LOOKUP_SECONDS = 30.0


class NamespaceLifecycle(Plugin):
    handles = frozenset({"CREATE", "DELETE"})

    def __init__(self, cacher: Cacher, store: Store) -> None:
        self._namespaces = resources.lookup("", "v1", "namespaces")
        assert self._namespaces is not None, "namespaces are a row of the resource table"
        self._cache = cacher.cache(self._namespaces)
        self._store = store
        self._deleted: dict[str, float] = {}  # name -> until when the cache is not to be believed

    async def admit(self, attributes: Attributes) -> None:
        # Among the first plugins: the namespace must be there before anything else looks at the object.
        if attributes.operation == "DELETE":
            if attributes.resource is self._namespaces and not attributes.subresource:
                self._refuse_immortal(attributes)
                self._deleted[attributes.name] = time.monotonic() + LIVE_LOOKUP_SECONDS
            return
        if not attributes.resource.namespaced or attributes.resource.plural == "namespaces":
            return
        # An access review is a question about a namespace, not something that lives in it.
        if not attributes.resource.stored and attributes.resource.kind != "Binding":
            return
        await self._require(attributes)

    def _refuse_immortal(self, attributes: Attributes) -> None:
        if attributes.name in IMMORTAL:
            why = "this namespace may not be deleted"
            raise errors.forbidden(attributes.resource, attributes.name, why)

    def _lately_deleted(self, name: str) -> bool:
        if not self._deleted:
            return False
        now = time.monotonic()
        if self._deleted.get(name, now) > now:
            return True
        self._deleted = {other: until for other, until in self._deleted.items() if until > now}
        return False

    async def _require(self, attributes: Attributes) -> None:
        name = attributes.namespace
        entry = self._cache.get(name)
        if entry is None or self._lately_deleted(name):
            # Perhaps it was made a moment ago, through another API server; or the cache has yet to see what happened to it.
            found = await self._store.get(self._cache.prefix + name)
            if found is None:
                assert self._namespaces is not None
                raise errors.not_found(self._namespaces, name)
            namespace = self._cache.codec.decode(found.value, found.revision)
        elif b'"Terminating"' not in entry.body:
            return  # the common case, without decoding
        else:
            namespace = self._cache.codec.decode_body(entry.body)
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            return
        text = f"unable to create new content in namespace {name} because it is being terminated"
        error = errors.forbidden(attributes.resource, attributes.name, text)
        assert error.details is not None
        error.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {name} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise error
