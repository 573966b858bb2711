"""The DaemonSet loop: watches sets, Nodes and pods, and carries out the plan."""

from typing import Any

import orjson

from apimachinery import meta, selectors
from controllers import claims, pods
from controllers.daemonset.placement import make_pod, should_run
from controllers.daemonset.plan import Plan, reconcile
from controllers.expectations import Expectations
from controllers.loop import Context, Loop
from controllers.podcontrol import PodControl, slow_start
from controllers.revisions import HASH_LABEL, HashCollision, Revisions, same
from kubeclient.informer import key_of

Object = dict[str, Any]


class DaemonSetLoop(Loop):
    name = "daemonset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch_pods()
        self.nodes = self.watch("v1", "nodes")
        self.sets = self.watch("apps/v1", "daemonsets")
        self.sets.add_index("namespace", lambda owner: [meta.namespace(owner)])
        self.revisions = Revisions(self.client, self.watch("apps/v1", "controllerrevisions"))
        self.expectations = Expectations()
        self.events = context.recorder("daemonset-controller")
        self.control = PodControl(self.client, self.events)
        self.api = self.client.resource("apps/v1", "daemonsets")
        self.pods_api = self.client.resource("v1", "pods")
        self.sets.on(
            lambda owner: self.queue.add(key_of(owner)),
            lambda old, new: self.queue.add(key_of(new)),
            self._set_deleted,
        )
        self.nodes.on(lambda node: self._all(), self._node_updated, lambda node: self._all())
        self.pods.informer.on(self._pod_added, self._pod_updated, self._pod_deleted)

    # --- what changed

    def _set_deleted(self, owner: Object) -> None:
        self.expectations.forget(key_of(owner))
        self.revisions.forget(meta.uid(owner))

    def _all(self) -> None:
        for owner in self.sets.list():
            self.queue.add(key_of(owner))

    def _node_updated(self, old: Object, new: Object) -> None:
        """Heartbeats change Nodes all the time; only labels and taints decide where daemons run."""
        taints = [(n.get("spec") or {}).get("taints") for n in (old, new)]
        if meta.labels(old) == meta.labels(new) and taints[0] == taints[1]:
            return
        for owner in self.sets.list():
            if should_run(owner, old) != should_run(owner, new):
                self.queue.add(key_of(owner))

    def _owner_key(self, pod: Object) -> str | None:
        reference = meta.controller_of(pod)
        if reference is None or reference["kind"] != "DaemonSet":
            return None
        return f"{meta.namespace(pod)}/{reference['name']}"

    def _pod_added(self, pod: Object) -> None:
        key = self._owner_key(pod)
        if key is not None:
            self.expectations.creation_observed(key)
            self.queue.add(key)
        elif meta.controller_of(pod) is None:
            for owner in self.sets.by_index("namespace", meta.namespace(pod)):
                if _selector(owner).matches(meta.labels(pod)):
                    self.queue.add(key_of(owner))

    def _pod_updated(self, old: Object, new: Object) -> None:
        keys = {self._owner_key(old), self._owner_key(new)} - {None}
        if meta.is_deleting(new) and not meta.is_deleting(old):
            self._pod_deleted(new)
        for key in keys:
            assert key is not None
            self.queue.add(key)

    def _pod_deleted(self, pod: Object) -> None:
        key = self._owner_key(pod)
        if key is not None:
            self.expectations.deletion_observed(key, meta.uid(pod))
            self.queue.add(key)

    # --- what to do

    async def reconcile(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None:
            return
        if not _selector(owner).requirements:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self.events.event(owner, "Warning", "SelectingAll", message)
            return
        history = self.revisions.history(owner)
        try:
            revision = await self.revisions.update_revision(owner, history)
        except HashCollision:
            state = owner.get("status") or {}
            bumped = {**state, "collisionCount": (state.get("collisionCount") or 0) + 1}
            await self.api.update_status({**owner, "status": bumped})
            return
        own = await self._claim(owner)
        current = meta.labels(revision)[HASH_LABEL]
        plan = reconcile(owner, self.nodes.list(), own, current, self.clock())
        error = None
        if self.expectations.satisfied(key):
            error = await self._carry_out(key, owner, plan, revision)
        await self._write_status(owner, plan.status)
        self._look_again(key, owner, own)
        hashes = {meta.labels(p).get("controller-revision-hash", "") for p in own}
        live = {meta.name(r) for r in history if meta.labels(r).get(HASH_LABEL) in hashes or same(r, owner)}
        await self.revisions.truncate(owner, self.revisions.history(owner), live | {meta.name(revision)})
        if error is not None:
            raise error

    def _look_again(self, key: str, owner: Object, own: list[Object]) -> None:
        min_ready = owner["spec"].get("minReadySeconds") or 0
        waits = [pods.ready_since(p) + min_ready - self.clock() for p in own if min_ready and pods.is_ready(p)]
        later = [w for w in waits if w > 0]
        if later:
            self.queue.add_after(key, min(later) + 0.01)

    async def _claim(self, owner: Object) -> list[Object]:
        return await claims.claim_objects(
            owner,
            _selector(owner),
            [p.object for p in self.pods.owned_by(meta.uid(owner))],
            [p.object for p in self.pods.orphans(meta.namespace(owner))],
            owners=self.api,
            dependents=self.pods_api,
        )

    async def _carry_out(self, key: str, owner: Object, plan: Plan, revision: Object) -> Exception | None:
        for pod in plan.failed:
            message = f"Found failed daemon pod {meta.key(pod)} on node {pods.node_name(pod)}, will try to kill it"
            self.events.event(owner, "Warning", "FailedDaemonPod", message)
        if plan.create:
            self.expectations.expect_creations(key, len(plan.create))
            targets = iter(plan.create)

            async def create() -> None:
                body = orjson.dumps(make_pod(owner, revision, next(targets)))
                await self.control.create(owner, body)

            created, error = await slow_start(len(plan.create), create)
            self.expectations.creation_observed(key, len(plan.create) - created)
            if error is not None:
                return None if getattr(error, "namespace_terminating", False) else error
        if plan.delete:
            if not plan.create:
                self.expectations.expect_deletions(key, (meta.uid(p) for p in plan.delete))
            return await self.control.delete_many(
                owner, plan.delete, lambda pod: self.expectations.deletion_observed(key, meta.uid(pod))
            )
        return None

    async def _write_status(self, owner: Object, fresh: Object) -> None:
        before = owner.get("status") or {}
        known = {k: v for k, v in before.items() if v or k in _ALWAYS}
        if known != fresh:
            await self.api.update_status({**owner, "status": fresh})


_ALWAYS = frozenset(
    {"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration"}
)


def _selector(owner: Object) -> selectors.Selector:
    return selectors.from_label_selector(owner["spec"].get("selector"))
