"""The StatefulSet loop: watches sets, pods and claims, and carries out the plan."""

from typing import Any

from apimachinery import meta, selectors
from controllers import claims
from controllers.loop import Context, Loop
from controllers.podcontrol import CallError
from controllers.revisions import HashCollision, Revisions, template_of
from controllers.statefulset import identity
from controllers.statefulset.plan import Plan, reconcile
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]


class StatefulSetLoop(Loop):
    name = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch_pods()
        self.sets = self.watch("apps/v1", "statefulsets")
        self.sets.add_index("namespace", lambda owner: [meta.namespace(owner)])
        self.revisions = Revisions(self.client, self.watch("apps/v1", "controllerrevisions"))
        self.api = self.client.resource("apps/v1", "statefulsets")
        self.pods_api = self.client.resource("v1", "pods")
        self.claims_api = self.client.resource("v1", "persistentvolumeclaims")
        self.events = context.recorder("statefulset-controller")
        self.sets.on(
            lambda owner: self.queue.add(key_of(owner)),
            lambda old, new: self.queue.add(key_of(new)),
            self._set_deleted,
        )
        self.pods.informer.on(self._pod_seen, self._pod_updated, self._pod_seen)

    def _set_deleted(self, owner: Object) -> None:
        self.revisions.forget(meta.uid(owner))

    def _pod_seen(self, pod: Object) -> None:
        reference = meta.controller_of(pod)
        if reference is not None:
            if reference["kind"] == "StatefulSet":
                self.queue.add(f"{meta.namespace(pod)}/{reference['name']}")
            return
        for owner in self.sets.by_index("namespace", meta.namespace(pod)):
            if _selector(owner).matches(meta.labels(pod)):
                self.queue.add(key_of(owner))

    def _pod_updated(self, old: Object, new: Object) -> None:
        before, after = meta.controller_of(old), meta.controller_of(new)
        if before is not None and before != after:
            self._pod_seen(old)
        if after is not None or meta.labels(old) != meta.labels(new) or before is not None:
            self._pod_seen(new)

    async def reconcile(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None:
            return
        own = await self._claim(owner)
        history = self.revisions.history(owner)
        try:
            update = await self.revisions.update_revision(owner, history)
        except HashCollision:
            state = owner.get("status") or {}
            bumped = {**state, "collisionCount": (state.get("collisionCount") or 0) + 1}
            await self.api.update_status({**owner, "status": bumped})
            return
        by_name = {meta.name(r): r for r in [*history, update]}
        current = (owner.get("status") or {}).get("currentRevision") or ""
        if current not in by_name:
            current = meta.name(update)
        plan = reconcile(owner, own, current, meta.name(update), self.clock())
        try:
            await self._carry_out(owner, plan, by_name)
        finally:
            # Also when a pod could not be created: what is there is true all the same.
            await self._write_status(owner, plan.status)
        if plan.recheck_after is not None:
            self.queue.add_after(key, plan.recheck_after)
        live = {current, meta.name(update)} | {meta.labels(p).get("controller-revision-hash", "") for p in own}
        await self.revisions.truncate(owner, self.revisions.history(owner), live)

    async def _claim(self, owner: Object) -> list[Object]:
        return await claims.claim_objects(
            owner,
            _selector(owner),
            [p.object for p in self.pods.owned_by(meta.uid(owner))],
            [
                p.object
                for p in self.pods.orphans(meta.namespace(owner))
                if identity.ordinal_of(owner, p.object) is not None
            ],
            owners=self.api,
            dependents=self.pods_api,
        )

    async def _carry_out(self, owner: Object, plan: Plan, revisions: dict[str, Object]) -> None:
        for ordinal, revision in plan.create:
            await self._create_claims(owner, ordinal)
            template = template_of(revisions[revision])
            await self._create_pod(owner, identity.make_pod(owner, template, revision, ordinal))
        for pod in plan.condemned:
            await self._hand_claims_to(owner, pod)
        for pod in plan.delete:
            await self._delete_pod(owner, pod)

    async def _create_claims(self, owner: Object, ordinal: int) -> None:
        for claim in identity.make_claims(owner, ordinal):
            name = meta.name(claim)
            try:
                await self.claims_api.create(claim)
            except ApiError as error:
                if not error.already_exists:
                    self._tell(owner, "create", f"Claim {name} Pod {identity.pod_name(owner, ordinal)}", error)
                    raise
            else:
                self._tell(owner, "create", f"Claim {name} Pod {identity.pod_name(owner, ordinal)}", None)

    async def _create_pod(self, owner: Object, pod: Object) -> None:
        try:
            await self.pods_api.create(pod)
        except ApiError as error:
            if error.already_exists or error.namespace_terminating:
                return  # the cache has not shown it yet, or there is nothing to do here any more
            self._tell(owner, "create", f"Pod {meta.name(pod)}", error)
            raise
        self._tell(owner, "create", f"Pod {meta.name(pod)}", None)

    async def _delete_pod(self, owner: Object, pod: Object) -> None:
        if (pod.get("status") or {}).get("phase") == "Failed":
            message = f"StatefulSet {meta.key(owner)} is recreating failed Pod {meta.name(pod)}"
            self.events.event(owner, "Warning", "RecreatingFailedPod", message)
        try:
            await self.pods_api.delete(meta.name(pod), meta.namespace(pod), uid=meta.uid(pod))
        except CallError as error:
            if isinstance(error, ApiError) and (error.not_found or error.conflict):
                return
            self._tell(owner, "delete", f"Pod {meta.name(pod)}", error)
            raise
        self._tell(owner, "delete", f"Pod {meta.name(pod)}", None)

    def _tell(self, owner: Object, verb: str, what: str, error: Exception | None) -> None:
        """In upstream's words: ``create Pod web-0 in StatefulSet web successful``."""
        where = f"{verb} {what} in StatefulSet {meta.name(owner)}"
        reason = verb.capitalize()
        if error is None:
            self.events.event(owner, "Normal", f"Successful{reason}", f"{where} successful")
        else:
            self.events.event(owner, "Warning", f"Failed{reason}", f"{where} failed error: {error}")

    async def _hand_claims_to(self, owner: Object, pod: Object) -> None:
        """With ``whenScaled: Delete`` the claims of a pod that is scaled away go with it: they become its own."""
        policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        ordinal = identity.ordinal_of(owner, pod)
        if policy.get("whenScaled") != "Delete" or ordinal is None:
            return
        reference = {"apiVersion": "v1", "kind": "Pod", "name": meta.name(pod), "uid": meta.uid(pod)}
        for claim in identity.make_claims(owner, ordinal):
            try:
                live = await self.claims_api.get(meta.name(claim), meta.namespace(claim))
                if any(r["uid"] == meta.uid(pod) for r in meta.owner_references(live)):
                    continue
                # The set lets go of it: with two owners it would outlive the pod.
                metadata = {**live["metadata"], "ownerReferences": [reference]}
                await self.claims_api.update({**live, "metadata": metadata})
            except ApiError as error:
                if not error.not_found:
                    raise

    async def _write_status(self, owner: Object, fresh: Object) -> None:
        before = owner.get("status") or {}
        if {k: v for k, v in before.items() if k != "conditions"} != fresh:
            conditions = {"conditions": before["conditions"]} if before.get("conditions") else {}
            await self.api.update_status({**owner, "status": {**fresh, **conditions}})


def _selector(owner: Object) -> selectors.Selector:
    return selectors.from_label_selector(owner["spec"].get("selector"))
