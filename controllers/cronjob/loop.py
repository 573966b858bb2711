"""The CronJob loop: watches CronJobs and their Jobs, wakes up when one is due, and carries out the plan."""

from typing import Any

from apimachinery import meta
from controllers.cronjob.plan import Plan, reconcile, zone_of
from controllers.cronjob.schedule import Schedule, ScheduleError
from controllers.loop import Context, Loop
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]


class CronJobLoop(Loop):
    name = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cronjobs = self.watch("batch/v1", "cronjobs")
        self.jobs = self.watch("batch/v1", "jobs")
        self.jobs.add_index("controller", _controller_uid)
        self.api = self.client.resource("batch/v1", "cronjobs")
        self.jobs_api = self.client.resource("batch/v1", "jobs")
        self.events = context.recorder("cronjob-controller")
        self.cronjobs.on(lambda obj: self.queue.add(key_of(obj)), lambda old, new: self.queue.add(key_of(new)))
        self.jobs.on_any(self._job_changed)
        # The time of the last Job started, where the cache may not show the status that says so.
        self._started: dict[str, str] = {}

    def _job_changed(self, job: Object) -> None:
        reference = meta.controller_of(job)
        if reference is not None and reference["kind"] == "CronJob":
            self.queue.add(f"{meta.namespace(job)}/{reference['name']}")

    async def reconcile(self, key: str) -> None:
        cronjob = self.cronjobs.get(key)
        if cronjob is None:
            return
        try:
            schedule = Schedule(cronjob["spec"]["schedule"], zone_of(cronjob))
        except ScheduleError as error:
            # Validation lets none through; a zone may be missing on this machine though.
            message = f"invalid schedule: {cronjob['spec']['schedule']} : {error}"
            self.events.event(cronjob, "Warning", "UnparseableSchedule", message)
            return
        status = cronjob.get("status") or {}
        started = self._started.get(meta.uid(cronjob), "")
        if started > (status.get("lastScheduleTime") or ""):
            cronjob = {**cronjob, "status": {**status, "lastScheduleTime": started}}
        jobs = self.jobs.by_index("controller", meta.uid(cronjob))
        plan = reconcile(cronjob, jobs, schedule, self.clock())
        await self._carry_out(cronjob, plan)
        if plan.wait is not None:
            self.queue.add_after(key, plan.wait)

    async def _carry_out(self, cronjob: Object, plan: Plan) -> None:
        for event in plan.events:
            self.events.event(cronjob, *event)
        for job in plan.delete:
            await self._delete(cronjob, job)
        if plan.create is not None:
            await self._create(cronjob, plan)
        before = cronjob.get("status") or {}
        if _told(before) != _told(plan.status):
            await self.api.update_status({**cronjob, "status": plan.status})

    async def _create(self, cronjob: Object, plan: Plan) -> None:
        assert plan.create is not None
        try:
            created = await self.jobs_api.create(plan.create)
        except ApiError as error:
            if error.namespace_terminating:
                return
            if not error.already_exists:
                self.events.event(cronjob, "Warning", "FailedCreate", f"Error creating job: {error}")
                raise
        else:
            self.events.event(cronjob, "Normal", "SuccessfulCreate", f"Created job {meta.name(created)}")
            reference = {"apiVersion": "batch/v1", "kind": "Job", "namespace": meta.namespace(created)}
            reference |= {"name": meta.name(created), "uid": meta.uid(created)}
            reference["resourceVersion"] = created["metadata"]["resourceVersion"]
            plan.status.setdefault("active", []).append(reference)
        self._started[meta.uid(cronjob)] = plan.status["lastScheduleTime"]

    async def _delete(self, cronjob: Object, job: Object) -> None:
        try:
            await self.jobs_api.delete(
                meta.name(job), meta.namespace(job), propagation_policy="Background", uid=meta.uid(job)
            )
        except ApiError as error:
            if error.not_found or error.conflict:
                return
            self.events.event(cronjob, "Warning", "FailedDelete", f"Deleted job: {error}")
            raise
        self.events.event(cronjob, "Normal", "SuccessfulDelete", f"Deleted job {meta.name(job)}")


def _told(status: Object) -> Any:
    """What of a status is worth a write: not the resourceVersions of its Jobs."""
    active = sorted(reference["uid"] for reference in status.get("active") or ())
    return active, status.get("lastScheduleTime"), status.get("lastSuccessfulTime")


def _controller_uid(job: Object) -> list[str]:
    reference = meta.controller_of(job)
    return [reference["uid"]] if reference else []
