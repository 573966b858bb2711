"""The garbage collector's loop: watches everything, asks for verdicts, carries them out."""

import asyncio
import logging
import math
from collections import OrderedDict
from typing import Any

from apimachinery import meta
from controllers.garbagecollector import verdict
from controllers.garbagecollector.graph import Entry, Graph
from controllers.garbagecollector.verdict import Verdict, judge
from controllers.loop import Context, Loop
from kubeclient import ApiError, Informer, TransportError
from kubeclient.discovery import ApiResource, served

log = logging.getLogger(__name__)

Object = dict[str, Any]

#: How often discovery is asked for new kinds, as upstream does.
_REDISCOVER = 30.0
#: Monitors are opened one after the other: forty TLS handshakes at once would delay the cluster's start.
_STAGGER = 0.02
_SYNC_PATIENCE = 30.0
_ABSENT_LIMIT = 500
_BELIEVED = 60.0
_IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})
_KEPT = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")


class GarbageCollectorLoop(Loop):
    name = "garbage-collector-controller"
    workers = 20

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.graph = Graph()
        self._monitors: dict[tuple[str, str], Informer] = {}
        self._by_kind: dict[tuple[str, str], ApiResource] = {}
        # Owners that the server said are not there, by uid: uids never come back.
        self._absent: OrderedDict[str, None] = OrderedDict()
        # Owners that it said are there though no monitor has shown them, and until when that is believed.
        self._present: dict[str, float] = {}
        self._learn(context.resources)

    # --- what there is to watch

    def _learn(self, resources: list[ApiResource]) -> list[ApiResource]:
        """Remembers every kind; the resources to monitor, each in its group's first version."""
        monitored: dict[tuple[str, str], ApiResource] = {}
        for resource in resources:
            self._by_kind.setdefault((resource.api_version, resource.kind), resource)
            key = (resource.group, resource.plural)
            if key not in _IGNORED and resource.verbs >= {"delete", "list", "watch"}:
                monitored.setdefault(key, resource)
        return list(monitored.values())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            await self._open(self._learn(self.context.resources), group)
            group.create_task(self.controller.run())
            while True:
                await asyncio.sleep(_REDISCOVER)
                try:
                    await self._open(self._learn(await served(self.client)), group)
                except (ApiError, TransportError) as error:
                    log.info("discovery: %s", error or type(error).__name__)

    async def _open(self, resources: list[ApiResource], group: asyncio.TaskGroup) -> None:
        fresh = [r for r in resources if (r.group, r.plural) not in self._monitors]
        for resource in fresh:
            shared = self.context.informers.existing(resource.api_version, resource.plural)
            informer = shared or self._metadata_informer(resource)
            self._monitors[(resource.group, resource.plural)] = informer
            self._listen(resource, informer)
            if shared is None:
                group.create_task(informer.run(), name=f"monitor {resource.plural}")
                await asyncio.sleep(_STAGGER)
        waiting = [informer.wait_synced() for informer in self._monitors.values() if not informer.has_synced]
        try:
            async with asyncio.timeout(_SYNC_PATIENCE):
                await asyncio.gather(*waiting)
        except TimeoutError:
            # Safe to go on: what is not seen is asked for before anything is deleted.
            late = [i.resource.plural for i in self._monitors.values() if not i.has_synced]
            log.warning("not synced within %g s: %s", _SYNC_PATIENCE, ", ".join(late))

    def _metadata_informer(self, resource: ApiResource) -> Informer:
        def metadata_only(obj: Object) -> Object:
            metadata = {field: obj["metadata"][field] for field in _KEPT if field in obj["metadata"]}
            return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}

        client = self.client.resource(resource.api_version, resource.plural, metadata_only=True)
        return Informer(client, transform=metadata_only)

    def _listen(self, resource: ApiResource, informer: Informer) -> None:
        def observe(obj: Object) -> None:
            for uid in self.graph.observe(resource, obj):
                self.queue.add(uid)

        def forget(obj: Object) -> None:
            for uid in self.graph.forget(obj["metadata"]["uid"]):
                self.queue.add(uid)

        informer.on(observe, lambda old, new: observe(new), forget)

    # --- verdicts

    async def reconcile(self, key: str) -> None:
        entry = self.graph.get(key)
        if entry is None:
            return
        found = judge(entry, self.graph, self._is_absent)
        if found.action == verdict.VERIFY:
            for reference in found.owners:
                await self._verify(entry, reference)
            found = judge(entry, self.graph, self._is_absent)
        for other in found.others:
            if found.action == verdict.KEEP:
                self.queue.add(other.uid)
        await self._carry_out(entry, found)

    def _is_absent(self, reference: Object) -> bool | None:
        uid = reference["uid"]
        if uid in self._absent:
            return True
        return False if self._present.get(uid, 0.0) > asyncio.get_running_loop().time() else None

    async def _verify(self, entry: Entry, reference: Object) -> None:
        """Asks the server whether the owner lives under this name *and* uid."""
        uid = reference["uid"]
        resource = self._by_kind.get((reference["apiVersion"], reference["kind"]))
        if resource is None:
            raise UnknownOwnerKind(f"{entry} is owned by a {reference['apiVersion']} {reference['kind']}: no such kind")
        if resource.namespaced and not entry.namespace:
            log.warning("%s has no namespace but names the owner %s, which has one", entry, reference["name"])
            self._present[uid] = math.inf
            return
        api = self.client.resource(resource.api_version, resource.plural, metadata_only=True)
        try:
            live = await api.get(reference["name"], entry.namespace if resource.namespaced else None)
            there = live["metadata"]["uid"] == uid
        except ApiError as error:
            if not error.not_found:
                raise
            there = False
        if there:
            self._believe(entry, uid, resource)
            return
        self._absent[uid] = None
        if len(self._absent) > _ABSENT_LIMIT:
            self._absent.popitem(last=False)

    def _believe(self, entry: Entry, uid: str, resource: ApiResource) -> None:
        """A monitor is about to show the owner; if it does not (the owner went before it could), ask again. Owners of a kind
        that cannot be watched are believed for good: nobody would tell of their end."""
        if (resource.group, resource.plural) not in self._monitors:
            self._present[uid] = math.inf
            return
        now = asyncio.get_running_loop().time()
        self._present = {u: until for u, until in self._present.items() if until > now}
        self._present[uid] = now + _BELIEVED
        self.queue.add_after(entry.uid, _BELIEVED)

    async def _carry_out(self, entry: Entry, found: Verdict) -> None:
        try:
            if found.action == verdict.DELETE:
                if found.unblock:
                    await self._write_owners(entry, [{**r, "blockOwnerDeletion": False} for r in entry.owners])
                await self._delete(entry, found.policy)
            elif found.action == verdict.DROP_OWNERS:
                lost = {r["uid"] for r in found.owners}
                await self._write_owners(entry, [r for r in entry.owners if r["uid"] not in lost])
            elif found.action == verdict.RELEASE:
                await self._remove_finalizer(entry, meta.FOREGROUND_FINALIZER)
            elif found.action == verdict.ORPHAN_DEPENDENTS:
                await asyncio.gather(*(self._disown(entry.uid, d) for d in found.others))
                await self._remove_finalizer(entry, meta.ORPHAN_FINALIZER)
        except ApiError as error:
            if not error.not_found:
                raise

    async def _delete(self, entry: Entry, policy: str) -> None:
        """Guarded by uid and resourceVersion: should its owners have changed meanwhile, it is judged anew."""
        log.debug("deleting %s (%s)", entry, policy)
        api = self.client.resource(entry.resource.api_version, entry.resource.plural)
        unblocked = self.graph.get(entry.uid)
        version = unblocked.version if unblocked else entry.version
        await api.delete(
            entry.name,
            entry.namespace or None,
            propagation_policy=policy,
            uid=entry.uid,
            resource_version=version,
        )

    async def _disown(self, owner: str, dependent: Entry) -> None:
        try:
            await self._write_owners(dependent, [r for r in dependent.owners if r["uid"] != owner])
        except ApiError as error:
            if not error.not_found:
                raise

    async def _write_owners(self, entry: Entry, owners: list[Object]) -> None:
        await self._patch(entry, {"ownerReferences": owners or None})

    async def _remove_finalizer(self, entry: Entry, finalizer: str) -> None:
        await self._patch(entry, {"finalizers": [f for f in entry.finalizers if f != finalizer] or None})

    async def _patch(self, entry: Entry, metadata: Object) -> None:
        """A merge patch, which every kind takes; the resourceVersion makes replacing the whole list safe."""
        api = self.client.resource(entry.resource.api_version, entry.resource.plural)
        guarded = {"metadata": {**metadata, "uid": entry.uid, "resourceVersion": entry.version}}
        await api.patch(entry.name, guarded, entry.namespace or None)


class UnknownOwnerKind(Exception):
    """The owner's kind is not served (yet): nothing can be said of the owner, so nothing is done."""
