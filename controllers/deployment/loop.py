"""The Deployment loop: watches Deployments, their ReplicaSets and pods, and carries out the plan."""

from typing import Any

from apimachinery import meta, selectors
from controllers import claims
from controllers.deployment import status, template
from controllers.deployment.plan import Plan, reconcile
from controllers.loop import Context, Loop
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]


class DeploymentLoop(Loop):
    name = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deployments = self.watch("apps/v1", "deployments")
        self.sets = self.watch("apps/v1", "replicasets")
        self.pods = self.watch_pods()
        self.deployments.add_index("namespace", lambda d: [meta.namespace(d)])
        self.sets.add_index("deployment", _owner_or_namespace)
        self.api = self.client.resource("apps/v1", "deployments")
        self.sets_api = self.client.resource("apps/v1", "replicasets")
        self.events = context.recorder("deployment-controller")
        self.deployments.on_any(lambda d: self.queue.add(key_of(d)))
        self.sets.on(self._set_changed, self._set_updated, self._set_changed)
        self.pods.informer.on(delete=self._pod_deleted)

    def _owner_key(self, rs: Object) -> str | None:
        reference = meta.controller_of(rs)
        if reference is None or reference["kind"] != "Deployment":
            return None
        owner = self.deployments.get(f"{meta.namespace(rs)}/{reference['name']}")
        return key_of(owner) if owner is not None and meta.uid(owner) == reference["uid"] else None

    def _set_changed(self, rs: Object) -> None:
        key = self._owner_key(rs)
        if key is not None:
            self.queue.add(key)
        elif meta.controller_of(rs) is None and not meta.is_deleting(rs):
            for deployment in self.deployments.by_index("namespace", meta.namespace(rs)):
                if _selector(deployment).matches(meta.labels(rs)):
                    self.queue.add(key_of(deployment))

    def _set_updated(self, old: Object, new: Object) -> None:
        before = self._owner_key(old)
        if before is not None and before != self._owner_key(new):
            self.queue.add(before)
        self._set_changed(new)

    def _pod_deleted(self, pod: Object) -> None:
        """The Recreate strategy waits for the last old pod to go."""
        reference = meta.controller_of(pod)
        if reference is None or reference["kind"] != "ReplicaSet":
            return
        rs = self.sets.get(f"{meta.namespace(pod)}/{reference['name']}")
        key = self._owner_key(rs) if rs is not None else None
        deployment = self.deployments.get(key) if key else None
        if key and deployment and (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        deployment = self.deployments.get(key)
        if deployment is None:
            return
        if not _selector(deployment).requirements:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self.events.event(deployment, "Warning", "SelectingAll", message)
            return
        sets = await self._claim(deployment)
        plan = reconcile(deployment, sets, old_pods_running=self._old_pods_running(deployment, sets), now=self.clock())
        await self._carry_out(deployment, plan)
        if plan.recheck_after is not None:
            self.queue.add_after(key, plan.recheck_after)

    async def _claim(self, deployment: Object) -> list[Object]:
        return await claims.claim_objects(
            deployment,
            _selector(deployment),
            self.sets.by_index("deployment", meta.uid(deployment)),
            self.sets.by_index("deployment", f"/{meta.namespace(deployment)}"),
            owners=self.api,
            dependents=self.sets_api,
        )

    def _old_pods_running(self, deployment: Object, sets: list[Object]) -> bool:
        wanted = deployment["spec"]["template"]
        return any(
            (pod.object.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
            for rs in sets
            if not template.equal(rs["spec"]["template"], wanted)
            for pod in self.pods.owned_by(meta.uid(rs))
        )

    async def _carry_out(self, deployment: Object, plan: Plan) -> None:
        if plan.create is not None and not await self._create(deployment, plan):
            return
        for name, rs in plan.update.items():
            await self.sets_api.update(rs)
            self._tell(deployment, plan, name)
        for rs in plan.delete:
            await self._forget(rs)
        # The status subresource takes annotations along with the status, as upstream's does: one write for both.
        if plan.deployment is not deployment:
            await self.api.update_status(plan.deployment)

    def _tell(self, deployment: Object, plan: Plan, name: str) -> None:
        if name in plan.events:
            self.events.event(deployment, *plan.events[name])

    async def _create(self, deployment: Object, plan: Plan) -> bool:
        """Whether the new ReplicaSet is there now. Else the status says why not."""
        assert plan.create is not None
        try:
            await self.sets_api.create(plan.create)
        except ApiError as error:
            if error.already_exists:
                return await self._meet_namesake(deployment, plan.create)
            if error.namespace_terminating:
                return False
            seen = self.deployments.get(key_of(deployment)) or deployment
            message = f'Failed to create new replica set "{meta.name(plan.create)}": {error}'
            if status.has_deadline(seen):
                fresh = {**(seen.get("status") or {})}
                failure = status.condition("Progressing", "False", status.CREATE_ERROR, message, self.clock())
                status.put(fresh, failure)
                await self.api.update_status({**seen, "status": fresh})
            self.events.event(seen, "Warning", status.CREATE_ERROR, message)
            raise
        self._tell(deployment, plan, meta.name(plan.create))
        return True

    async def _meet_namesake(self, deployment: Object, wanted: Object) -> bool:
        """The name is taken: by our own ReplicaSet that the cache does not show yet, or by a stranger of the same hash."""
        found = await self.sets_api.get(meta.name(wanted), meta.namespace(wanted))
        ours = meta.is_controlled_by(found, deployment)
        if ours and template.equal(found["spec"]["template"], deployment["spec"]["template"]):
            return True
        seen = self.deployments.get(key_of(deployment)) or deployment
        fresh = {**(seen.get("status") or {})}
        fresh["collisionCount"] = (fresh.get("collisionCount") or 0) + 1
        await self.api.update_status({**seen, "status": fresh})
        return False

    async def _forget(self, rs: Object) -> None:
        try:
            await self.sets_api.delete(meta.name(rs), meta.namespace(rs), uid=meta.uid(rs))
        except ApiError as error:
            if not error.not_found:
                raise


def _selector(deployment: Object) -> selectors.Selector:
    return selectors.from_label_selector(deployment["spec"].get("selector"))


def _owner_or_namespace(rs: Object) -> list[str]:
    """ReplicaSets by their controller's uid; orphans by their namespace."""
    reference = meta.controller_of(rs)
    return [reference["uid"]] if reference else [f"/{meta.namespace(rs)}"]
