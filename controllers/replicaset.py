"""ReplicaSets (and ReplicationControllers, their elder twin): as many pods of one template as wanted.

:func:`surplus` and :func:`status` decide, the loop does. The number of pods is only touched when everything that was done
before has been seen (:mod:`controllers.expectations`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from apimachinery import meta, selectors
from apimachinery.selectors import Selector
from controllers import claims
from controllers.claims import Claims
from controllers.expectations import Expectations
from controllers.loop import Context, Loop
from controllers.pace import Pace
from controllers.podcontrol import PodControl
from controllers.podindex import Pod
from controllers.pods import deletion_order
from kubeclient.informer import key_of

Object = dict[str, Any]

#: At most so many pods are created or deleted in one go, so that one set does not keep the others waiting.
BURST = 500


def wanted_replicas(owner: Object) -> int:
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else replicas


def surplus(owner: Object, active: int) -> int:
    """How many pods there are too many; negative: too few. Never more than ``BURST`` at once."""
    return max(-BURST, min(BURST, active - wanted_replicas(owner)))


def status(owner: Object, active: Sequence[Pod], failure: tuple[str, str] | None, now: float) -> Object:
    """``failure`` is the reason and message of what went wrong in creating or deleting pods."""
    template_labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = owner["spec"].get("minReadySeconds") or 0
    wanted = template_labels.items()
    counts = {
        "fullyLabeledReplicas": sum(wanted <= pod.labels.items() for pod in active),
        "readyReplicas": sum(pod.ready for pod in active),
        "availableReplicas": sum(pod.available(min_ready, now) for pod in active),
    }
    found: Object = {"replicas": len(active), **{k: v for k, v in counts.items() if v}}
    if generation := owner["metadata"].get("generation"):
        found["observedGeneration"] = generation
    conditions = [dict(c) for c in (owner.get("status") or {}).get("conditions") or ()]
    had = any(c["type"] == "ReplicaFailure" for c in conditions)
    if failure and not had:
        reason, message = failure
        stamp = meta.format_time(now)
        conditions.append(
            {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": stamp,
                "reason": reason,
                "message": message,
            }
        )
    elif not failure:
        conditions = [c for c in conditions if c["type"] != "ReplicaFailure"]
    if conditions:
        found["conditions"] = conditions
    return found


def next_available(owner: Object, active: Sequence[Pod], now: float) -> float | None:
    """In how many seconds a ready pod will have been ready for long enough, if one is waiting for that."""
    min_ready = owner["spec"].get("minReadySeconds") or 0
    if not min_ready:
        return None
    waits = [pod.ready_since + min_ready - now for pod in active if pod.ready and not pod.available(min_ready, now)]
    return max(min(waits), 0.01) if waits else None


class ReplicaSetLoop(Loop):
    name = "replicaset-controller"
    component: ClassVar[str] = "replicaset-controller"
    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "ReplicaSet"
    plural: ClassVar[str] = "replicasets"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch_pods()
        self.sets = self.watch(self.api_version, self.plural)
        self.sets.add_index("namespace", lambda owner: [meta.namespace(owner)])
        if self.kind == "ReplicaSet":
            self.sets.add_index("controller", _controller_uid)
        self.expectations = Expectations()
        self.pace = Pace(self.queue)
        self.control = PodControl(self.client, context.recorder(self.component))
        self.api = self.client.resource(self.api_version, self.plural)
        self.pods_api = self.client.resource("v1", "pods")
        self.sets.on(self._set_changed, lambda old, new: self._set_changed(new), self._set_deleted)
        self.pods.informer.on(self._pod_added, self._pod_updated, self._pod_deleted)

    # --- what changed

    def _set_changed(self, owner: Object) -> None:
        self.queue.add(key_of(owner))

    def _set_deleted(self, owner: Object) -> None:
        key = key_of(owner)
        self.expectations.forget(key)
        self.queue.add(key)

    def _owner_key(self, pod: Object) -> str | None:
        """The key of the set that controls the pod, when it is one of ours and still the same one."""
        reference = meta.controller_of(pod)
        if reference is None or reference["kind"] != self.kind:
            return None
        owner = self.sets.get(f"{meta.namespace(pod)}/{reference['name']}")
        return key_of(owner) if owner is not None and meta.uid(owner) == reference["uid"] else None

    def _pod_added(self, pod: Object) -> None:
        if meta.is_deleting(pod):
            self._pod_deleted(pod)
            return
        key = self._owner_key(pod)
        if key is not None:
            self.expectations.creation_observed(key)
            self._later(key)
        elif meta.controller_of(pod) is None:
            self._offer(pod)

    def _pod_updated(self, old: Object, new: Object) -> None:
        if meta.is_deleting(new):
            self._pod_deleted(new)
            return
        key, before = self._owner_key(new), self._owner_key(old)
        if before is not None and before != key:
            self.queue.add(before)
        if key is not None:
            self._later(key)
        elif meta.controller_of(new) is None and (
            meta.labels(new) != meta.labels(old) or meta.controller_of(old) is not None
        ):
            self._offer(new)

    def _pod_deleted(self, pod: Object) -> None:
        key = self._owner_key(pod)
        if key is not None:
            self.expectations.deletion_observed(key, meta.uid(pod))
            self._later(key)

    def _later(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None or not self.expectations.satisfied(key):
            # What is still to be seen will call again; until then a sync could do nothing but count.
            size = 1000
        else:
            size = self.pods.count_owned_by(meta.uid(owner))
        self.pace.add(key, size)

    def _offer(self, pod: Object) -> None:
        """An orphan: whoever's selector matches may want it."""
        for owner in self.sets.by_index("namespace", meta.namespace(pod)):
            if self.selector(owner).matches(meta.labels(pod)):
                self.queue.add(key_of(owner))

    # --- what to do

    def selector(self, owner: Object) -> Selector:
        return selectors.from_label_selector(owner["spec"].get("selector"))

    async def reconcile(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None:
            self.expectations.forget(key)
            self.pace.forget(key)
            return
        self.pace.synced(key)
        active = await self._claim(owner)
        failure: tuple[str, str] | None = None
        error: Exception | None = None
        if self.expectations.satisfied(key) and not meta.is_deleting(owner):
            extra = surplus(owner, len(active))
            if extra < 0:
                error = await self._create(key, owner, -extra)
                failure = ("FailedCreate", str(error)) if error else None
            elif extra > 0:
                error = await self._delete(key, owner, active, extra)
                failure = ("FailedDelete", str(error)) if error else None
        await self._write_status(owner, status(owner, active, failure, self.clock()))
        wait = next_available(owner, active, self.clock())
        if wait is not None:
            self.queue.add_after(key, wait)
        if error is not None:
            raise error

    async def _claim(self, owner: Object) -> list[Pod]:
        """The active pods that are the set's, after adoption and release."""
        found: Claims[Pod] = claims.claim(
            self.selector(owner),
            (pod for pod in self.pods.owned_by(meta.uid(owner)) if pod.active),
            (pod for pod in self.pods.orphans(meta.namespace(owner)) if pod.active),
            owner_deleting=meta.is_deleting(owner),
            labels=lambda pod: pod.labels,
            deleting=lambda pod: not pod.active,
        )
        return await claims.settle(
            found,
            owner,
            owners=self.api,
            dependents=self.pods_api,
            object_of=lambda pod: pod.object,
            claimant=Pod,
        )

    async def _create(self, key: str, owner: Object, count: int) -> Exception | None:
        self.expectations.expect_creations(key, count)
        created, error = await self.control.create_many(owner, owner["spec"]["template"], count)
        if created < count:
            self.expectations.creation_observed(key, count - created)
        if getattr(error, "namespace_terminating", False):
            return None
        return error

    async def _delete(self, key: str, owner: Object, active: Sequence[Pod], count: int) -> Exception | None:
        candidates = [pod.object for pod in active]
        if count < len(candidates):
            candidates = deletion_order(candidates, self._related(owner), self.clock())[:count]
        self.expectations.expect_deletions(key, (meta.uid(pod) for pod in candidates))
        return await self.control.delete_many(
            owner, candidates, lambda pod: self.expectations.deletion_observed(key, meta.uid(pod))
        )

    def _related(self, owner: Object) -> list[Object]:
        """Pods of all sets of the same Deployment: a node that already runs a new one can spare the old one."""
        siblings = [owner]
        reference = meta.controller_of(owner)
        if reference is not None and self.kind == "ReplicaSet":
            siblings = self.sets.by_index("controller", reference["uid"])
        return [pod.object for sibling in siblings for pod in self.pods.owned_by(meta.uid(sibling))]

    async def _write_status(self, owner: Object, fresh: Object) -> None:
        old = {k: v for k, v in (owner.get("status") or {}).items() if v or k == "replicas"}
        if old != fresh:
            await self.api.update_status({**owner, "status": fresh})


def _controller_uid(obj: Object) -> list[str]:
    reference = meta.controller_of(obj)
    return [reference["uid"]] if reference else []


class ReplicationControllerLoop(ReplicaSetLoop):
    name = "replicationcontroller-controller"
    component = "replication-controller"
    api_version = "v1"
    kind = "ReplicationController"
    plural = "replicationcontrollers"

    def selector(self, owner: Object) -> Selector:
        """Plain equality; an empty selector chooses nothing."""
        chosen = owner["spec"].get("selector")
        return selectors.from_label_selector({"matchLabels": chosen} if chosen else None)
