"""What a CronJob needs next, as a function of its Jobs and the time."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from apimachinery import meta
from controllers.cronjob.schedule import Schedule, ScheduleError
from controllers.job.plan import end_of

Object = dict[str, Any]

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


@dataclass
class Plan:
    """``delete`` (old or replaced Jobs) first, then ``create``, then ``status``. ``events`` are ``(type, reason, message)``."""

    create: Object | None = None
    delete: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    wait: float | None = None


def zone_of(cronjob: Object) -> tzinfo:
    """Raises ScheduleError for an unknown zone."""
    name = cronjob["spec"].get("timeZone")
    if not name:
        return UTC
    from zoneinfo import ZoneInfo  # rarely asked for

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError(f"unknown time zone {name}: {error}") from None


def reconcile(cronjob: Object, jobs: list[Object], schedule: Schedule, now: float) -> Plan:
    spec, before = cronjob["spec"], cronjob.get("status") or {}
    plan = Plan(status={k: before[k] for k in ("lastScheduleTime", "lastSuccessfulTime") if before.get(k)})
    running = [job for job in jobs if end_of(job) is None]
    _note_ends(plan, before, jobs)
    _forget_old(plan, spec, jobs)
    if not meta.is_deleting(cronjob) and not spec.get("suspend"):
        _schedule(plan, cronjob, running, schedule, now)
    gone = {meta.uid(job) for job in plan.delete}
    active = [_reference(job) for job in running if meta.uid(job) not in gone]
    if active:
        plan.status["active"] = active
    return plan


def _reference(job: Object) -> Object:
    found = {"apiVersion": "batch/v1", "kind": "Job", "namespace": meta.namespace(job), "name": meta.name(job)}
    return {**found, "uid": meta.uid(job), "resourceVersion": job["metadata"]["resourceVersion"]}


def _note_ends(plan: Plan, before: Object, jobs: list[Object]) -> None:
    was_active = {reference["uid"] for reference in before.get("active") or ()}
    for job in jobs:
        end = end_of(job)
        if end is None:
            continue
        if meta.uid(job) in was_active:
            message = f"Saw completed job: {meta.name(job)}, condition: {end['type']}"
            plan.events.append(("Normal", "SawCompletedJob", message))
        finished = (job.get("status") or {}).get("completionTime")
        if end["type"] == "Complete" and finished and finished > plan.status.get("lastSuccessfulTime", ""):
            plan.status["lastSuccessfulTime"] = finished


def _forget_old(plan: Plan, spec: Object, jobs: list[Object]) -> None:
    for type_, limit_field, default in (
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ):
        limit = spec.get(limit_field)
        limit = default if limit is None else limit
        ended = [job for job in jobs if (end := end_of(job)) and end["type"] == type_]
        ended.sort(key=lambda job: ((job.get("status") or {}).get("startTime") or "", meta.name(job)))
        plan.delete += ended[: max(0, len(ended) - limit)]


def _schedule(plan: Plan, cronjob: Object, running: list[Object], schedule: Schedule, now: float) -> None:
    spec, before = cronjob["spec"], cronjob.get("status") or {}
    upcoming = schedule.next_after(now)
    # A little late rather than a little early: then the time has certainly come.
    plan.wait = upcoming - now + 0.1 if upcoming is not None else None
    last = before.get("lastScheduleTime") or cronjob["metadata"]["creationTimestamp"]
    earliest = meta.parse_time(last)
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        earliest = max(earliest, now - deadline)
    due = schedule.last_between(earliest, now)
    if due is None:
        return
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy == "Forbid" and running:
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        plan.events.append(("Normal", "JobAlreadyActive", message))
        return
    if policy == "Replace":
        plan.delete += running
    plan.create = make_job(cronjob, due)
    plan.status["lastScheduleTime"] = meta.format_time(due)


def make_job(cronjob: Object, due: float) -> Object:
    """Named by its time, so that it cannot be started twice."""
    template = cronjob["spec"]["jobTemplate"]
    source = template.get("metadata") or {}
    zone = zone_of(cronjob)
    stamp = datetime.fromtimestamp(due, zone).isoformat().replace("+00:00", "Z")
    metadata: Object = {
        "name": f"{meta.name(cronjob)}-{int(due) // 60}",
        "namespace": meta.namespace(cronjob),
        "labels": dict(source.get("labels") or {}),
        "annotations": {**(source.get("annotations") or {}), SCHEDULED: stamp},
        "ownerReferences": [meta.controller_reference(cronjob)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
