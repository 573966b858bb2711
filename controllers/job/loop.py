"""The Job loop: watches Jobs and their pods, and carries out the plan."""

from typing import Any

import orjson

from apimachinery import meta, selectors
from controllers import claims
from controllers.expectations import Expectations
from controllers.job.plan import Plan, reconcile
from controllers.job.pod import FINALIZER, make
from controllers.loop import Context, Loop
from controllers.pace import Pace
from controllers.podcontrol import CallError, PodControl, slow_start
from kubeclient import ApiError
from kubeclient.informer import key_of
from kubeclient.rest import STRATEGIC_MERGE_PATCH

Object = dict[str, Any]


class JobLoop(Loop):
    name = "job-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch_pods()
        self.jobs = self.watch("batch/v1", "jobs")
        self.jobs.add_index("namespace", lambda job: [meta.namespace(job)])
        self.expectations = Expectations()
        self.pace = Pace(self.queue)
        # A plan for a Job whose last status the cache does not show yet would count, and start, anew.
        self._written: dict[str, int] = {}
        self.events = context.recorder("job-controller")
        self.control = PodControl(self.client, self.events)
        self.api = self.client.resource("batch/v1", "jobs")
        self.pods_api = self.client.resource("v1", "pods")
        self.jobs.on(
            lambda job: self.queue.add(key_of(job)),
            lambda old, new: self.queue.add(key_of(new)),
            self._job_deleted,
        )
        self.pods.informer.on(self._pod_added, self._pod_updated, self._pod_deleted)

    # --- what changed

    def _job_deleted(self, job: Object) -> None:
        key = key_of(job)
        self.expectations.forget(key)
        self.pace.forget(key)
        self._written.pop(key, None)
        # Its pods must not keep a finalizer that nobody would remove.
        for pod in self.pods.owned_by(meta.uid(job)):
            if meta.has_finalizer(pod.object, FINALIZER):
                self.queue.add(f"orphan/{pod.key}")

    def _owner_key(self, pod: Object) -> str | None:
        reference = meta.controller_of(pod)
        if reference is None or reference["kind"] != "Job":
            return None
        job = self.jobs.get(f"{meta.namespace(pod)}/{reference['name']}")
        return key_of(job) if job is not None and meta.uid(job) == reference["uid"] else None

    def _later(self, key: str) -> None:
        job = self.jobs.get(key)
        self.pace.add(key, self.pods.count_owned_by(meta.uid(job)) if job else 0)

    def _pod_added(self, pod: Object) -> None:
        key = self._owner_key(pod)
        if key is not None:
            self.expectations.creation_observed(key)
            self._later(key)
        elif meta.controller_of(pod) is None:
            for job in self.jobs.by_index("namespace", meta.namespace(pod)):
                if _selector(job).matches(meta.labels(pod)):
                    self.queue.add(key_of(job))
        elif meta.has_finalizer(pod, FINALIZER):
            self.queue.add(f"orphan/{key_of(pod)}")

    def _pod_updated(self, old: Object, new: Object) -> None:
        for key in {self._owner_key(old), self._owner_key(new)} - {None}:
            assert key is not None
            if meta.is_deleting(new):
                self.expectations.deletion_observed(key, meta.uid(new))
            self._later(key)

    def _pod_deleted(self, pod: Object) -> None:
        key = self._owner_key(pod)
        if key is not None:
            self.expectations.deletion_observed(key, meta.uid(pod))
            self._later(key)

    # --- what to do

    async def reconcile(self, key: str) -> None:
        if key.startswith("orphan/"):
            await self._free_orphan(key.removeprefix("orphan/"))
            return
        job = self.jobs.get(key)
        if (
            job is None
            or job["spec"].get("managedBy", "kubernetes.io/job-controller") != "kubernetes.io/job-controller"
        ):
            return
        behind = int(job["metadata"]["resourceVersion"]) < self._written.get(key, 0)
        if behind or not self.expectations.satisfied(key):
            return  # what is still to be seen calls again
        self.pace.synced(key)
        own = await self._claim(job)
        plan = reconcile(job, own, self.clock())
        error = await self._carry_out(key, job, plan)
        if plan.recheck_after is not None:
            self.queue.add_after(key, plan.recheck_after)
        if error is not None:
            raise error

    async def _claim(self, job: Object) -> list[Object]:
        return await claims.claim_objects(
            job,
            _selector(job),
            [p.object for p in self.pods.owned_by(meta.uid(job))],
            [p.object for p in self.pods.orphans(meta.namespace(job))],
            owners=self.api,
            dependents=self.pods_api,
        )

    async def _carry_out(self, key: str, job: Object, plan: Plan) -> Exception | None:
        if _differs(job.get("status") or {}, plan.status):
            # First of all: what is listed as being counted must be written before a finalizer goes.
            written = await self.api.update_status({**job, "status": plan.status})
            self._written[key] = int(written["metadata"]["resourceVersion"])
        for event in plan.events:
            self.events.event(job, *event)
        for pod in (*plan.release, *plan.drop):
            await self._remove_finalizer(pod)
        doomed = [*plan.delete, *plan.drop]
        if doomed:
            self.expectations.expect_deletions(key, (meta.uid(p) for p in doomed))
            return await self.control.delete_many(
                job, doomed, lambda pod: self.expectations.deletion_observed(key, meta.uid(pod))
            )
        if plan.create:
            return await self._create(key, job, plan.create)
        return None

    async def _create(self, key: str, job: Object, wanted: list[int | None]) -> Exception | None:
        self.expectations.expect_creations(key, len(wanted))
        numbers = iter(wanted)

        async def create() -> None:
            await self.control.create(job, orjson.dumps(make(job, next(numbers))))

        created, error = await slow_start(len(wanted), create)
        if created < len(wanted):
            self.expectations.creation_observed(key, len(wanted) - created)
        return None if getattr(error, "namespace_terminating", False) else error

    async def _remove_finalizer(self, pod: Object) -> None:
        if not meta.has_finalizer(pod, FINALIZER):
            return
        patch = {"metadata": {"uid": meta.uid(pod), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
        try:
            await self.pods_api.patch(meta.name(pod), patch, meta.namespace(pod), content_type=STRATEGIC_MERGE_PATCH)
        except ApiError as error:
            if not (error.not_found or error.code == 422):
                raise

    async def _free_orphan(self, key: str) -> None:
        """A tracked pod whose Job is gone; the server is asked whether it is."""
        pod = self.pods.get(key)
        reference = meta.controller_of(pod) if pod is not None else None
        if pod is None or reference is None:
            return
        try:
            live = await self.api.get(reference["name"], meta.namespace(pod))
            if meta.uid(live) == reference["uid"]:
                return
        except CallError as error:
            if not (isinstance(error, ApiError) and error.not_found):
                raise
        await self._remove_finalizer(pod)


def _differs(before: Object, fresh: Object) -> bool:
    def significant(status: Object) -> Object:
        return {k: v for k, v in status.items() if v not in (None, 0, {}, [])}

    return significant(before) != significant(fresh)


def _selector(job: Object) -> selectors.Selector:
    return selectors.from_label_selector(job["spec"].get("selector"))
