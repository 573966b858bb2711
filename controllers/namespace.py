"""A namespace that is deleted: delete everything in it, whatever kinds there are, then let it go.

What there is comes from discovery, so that kinds this program has never heard of are emptied too. While something is left (a pod in
its grace period, an object with a finalizer) the conditions say what, and the loop looks again.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop
from kubeclient import ApiError, TransportError
from kubeclient.discovery import ApiResource, preferred

Object = dict[str, Any]

#: Kinds that are not emptied at the same time as the rest: controllers report what they do about it as Events.
_LAST = "events"


@dataclass
class Remains:
    """What is left after one round of deleting."""

    resources: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    discovery_error: str = ""
    grace: int = 0

    @property
    def empty(self) -> bool:
        return not (self.resources or self.errors or self.discovery_error)


def _listing(counts: Counter[str], text: str) -> str:
    return ", ".join(text.format(name, counts[name]) for name in sorted(counts))


def conditions(status: Object, remains: Remains, now: str) -> Object:
    """The status with upstream's five conditions about a deletion."""
    fresh = {**status, "conditions": [dict(c) for c in status.get("conditions") or ()]}
    rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            remains.discovery_error,
            ("DiscoveryFailed", "ResourcesDiscovered"),
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            ("GroupVersionParsingFailed", "ParsedGroupVersions"),
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            f"Failed to delete all resource types, {len(remains.errors)} remaining: {', '.join(sorted(remains.errors))}"
            if remains.errors
            else "",
            ("ContentDeletionFailed", "ContentDeleted"),
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            "Some resources are remaining: " + _listing(remains.resources, "{} has {} resource instances")
            if remains.resources
            else "",
            ("SomeResourcesRemain", "ContentRemoved"),
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            "Some content in the namespace has finalizers remaining: "
            + _listing(remains.finalizers, "{} in {} resource instances")
            if remains.finalizers
            else "",
            ("SomeFinalizersRemain", "ContentHasNoFinalizers"),
            "All content-preserving finalizers finished",
        ),
    ]
    for type_, problem, (bad, good), fine in rows:
        condition = {
            "type": type_,
            "status": "True" if problem else "False",
            "reason": bad if problem else good,
            "message": problem or fine,
        }
        meta.set_condition(fresh, condition, now)
    return fresh


class NamespaceLoop(Loop):
    name = "namespace-controller"
    workers = 10

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.watch("v1", "namespaces")
        self.pods = self.watch("v1", "pods")
        self.api = self.client.resource("v1", "namespaces")
        self.namespaces.on(self._changed, lambda old, new: self._changed(new))
        self.pods.on(delete=self._pod_gone)
        self._rounds: Counter[str] = Counter()

    def _changed(self, namespace: Object) -> None:
        if meta.is_deleting(namespace):
            self.queue.add(meta.name(namespace))

    def _pod_gone(self, pod: Object) -> None:
        """Pods are what takes long: each that goes may have been the last."""
        namespace = self.namespaces.get(meta.namespace(pod))
        if namespace is not None and meta.is_deleting(namespace):
            self.queue.add(meta.name(namespace))

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or not meta.is_deleting(namespace):
            self._rounds.pop(key, None)
            return
        if "kubernetes" not in (namespace["spec"].get("finalizers") or ()):
            return
        remains = await self._empty(key)
        namespace = await self._report(namespace, remains)
        if remains.empty:
            await self._finalize(namespace)
            self._rounds.pop(key, None)
            return
        self._rounds[key] += 1
        self.queue.add_after(key, min(0.1 * 2 ** min(self._rounds[key], 10), 5.0))

    async def _report(self, namespace: Object, remains: Remains) -> Object:
        status = namespace.get("status") or {}
        fresh = {**conditions(status, remains, meta.format_time(self.clock())), "phase": "Terminating"}
        if fresh == status or (remains.empty and not status.get("conditions")):
            # A namespace that was emptied in one go has nothing to explain to anybody.
            return namespace
        return await self.api.update_status({**namespace, "status": fresh})

    async def _finalize(self, namespace: Object) -> None:
        left = [f for f in namespace["spec"].get("finalizers") or () if f != "kubernetes"]
        fresh = {**namespace, "spec": {**namespace["spec"], "finalizers": left}}
        try:
            await self.api.update(fresh, subresource="finalize")
        except ApiError as error:
            if not error.not_found:
                raise

    async def _empty(self, namespace: str) -> Remains:
        remains = Remains()
        try:
            resources = await preferred(self.client)
        except (ApiError, TransportError) as error:
            remains.discovery_error = str(error) or type(error).__name__
            return remains
        wanted = [r for r in resources if r.namespaced and "delete" in r.verbs and "list" in r.verbs]
        events = [r for r in wanted if r.plural == _LAST]
        others = [r for r in wanted if r.plural != _LAST]
        for batch in (others, events):
            await asyncio.gather(*(self._empty_resource(r, namespace, remains) for r in batch))
            if not remains.empty:
                break
        return remains

    async def _empty_resource(self, resource: ApiResource, namespace: str, remains: Remains) -> None:
        api = self.client.resource(resource.api_version, resource.plural, metadata_only=True)
        name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        try:
            items = (await api.list(namespace))["items"]
            if not items:
                return
            if "deletecollection" in resource.verbs:
                await api.delete_collection(namespace)
            else:
                for item in items:
                    await self._delete(api, item)
            items = (await api.list(namespace))["items"]
        except (ApiError, TransportError) as error:
            if not (isinstance(error, ApiError) and error.code in (404, 405)):
                remains.errors.append(f"{name}: {error or type(error).__name__}")
            return
        if items:
            remains.resources[name] += len(items)
            for item in items:
                remains.finalizers.update(meta.finalizers(item))

    async def _delete(self, api: Any, item: Object) -> None:
        try:
            await api.delete(meta.name(item), meta.namespace(item), propagation_policy="Background")
        except ApiError as error:
            if not error.not_found:
                raise
