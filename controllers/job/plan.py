"""What a Job needs next, as a function of its pods and the time."""

from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.job import indexes
from controllers.job.counting import Count, count
from controllers.job.pod import FINALIZER, finished_at, index_of, is_indexed, only_replaces_failed

Object = dict[str, Any]

_BACKOFF, _LONGEST_BACKOFF = 10.0, 600.0
_BURST = 500


@dataclass
class Plan:
    """``status`` first, then ``release`` (pods that lose their finalizer), ``delete``, ``drop`` (deleted too, but no failures:
    they lose their finalizer before) and ``create`` (indexes, None without). ``events`` are ``(type, reason, message)``."""

    status: Object = field(default_factory=dict)
    release: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    drop: list[Object] = field(default_factory=list)
    create: list[int | None] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    recheck_after: float | None = None


def end_of(job: Object) -> Object | None:
    """The condition that says that the Job is over."""
    for type_ in ("Complete", "Failed"):
        if meta.condition_is_true(job, type_):
            return meta.get_condition(job, type_)
    return None


def reconcile(job: Object, own: list[Object], now: float) -> Plan:
    if end_of(job) is not None or meta.is_deleting(job):
        # Whatever is left may go: nothing is counted any more.
        left = [p for p in own if meta.has_finalizer(p, FINALIZER)]
        return Plan(status=job.get("status") or {}, release=left)
    return _Step(job, own, now).take()


class _Step:
    def __init__(self, job: Object, own: list[Object], now: float) -> None:
        self.job, self.spec, self.now = job, job["spec"], now
        self.plan = Plan()
        self.own = own
        self.active = [p for p in own if pods.is_active(p)]
        self.terminating = [p for p in own if meta.is_deleting(p) and not pods.is_terminal(p)]
        self.before = job.get("status") or {}
        self.status: Object = {
            k: v for k, v in self.before.items() if k in ("startTime", "completionTime") and v is not None
        }
        self.status["conditions"] = [dict(c) for c in self.before.get("conditions") or ()]
        self.suspended = bool(self.spec.get("suspend"))

    def take(self) -> Plan:
        ending = self._target() is not None
        found = count(self.job, self.own, ending=ending)
        self.plan.release = found.listed
        if self.suspended:
            self.status.pop("startTime", None)
        elif "startTime" not in self.status:
            self.status["startTime"] = meta.format_time(self.now)
        target = self._target() or self._verdict(found)
        if target is not None:
            self._end(target, found)
        elif self.suspended:
            self._suspend()
        else:
            self._resume()
            self._manage(found)
        self._fill_status(found)
        return self.plan

    # --- is it over?

    def _target(self) -> Object | None:
        """A decision that has been made already; what is missing is the end of the last pods."""
        for type_ in ("FailureTarget", "SuccessCriteriaMet"):
            if meta.condition_is_true(self.job, type_):
                return meta.get_condition(self.job, type_)
        return None

    def _verdict(self, found: Count) -> Object | None:
        if found.fatal:
            return _condition("FailureTarget", "PodFailurePolicy", found.fatal)
        limit = self.spec.get("backoffLimit")
        limit = 6 if limit is None else limit
        if found.failed > limit or self._restarted_too_often(limit):
            return _condition("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if self._is_late():
            return _condition("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
        completions = self.spec.get("completions")
        reached = "Reached expected number of succeeded pods"
        if completions is None:
            # A work queue is empty when one pod has succeeded and the others have ended.
            if found.succeeded > 0 and not self.active and not self.terminating:
                return _condition("SuccessCriteriaMet", "CompletionsReached", reached)
        elif found.succeeded >= completions:
            return _condition("SuccessCriteriaMet", "CompletionsReached", reached)
        return None

    def _restarted_too_often(self, limit: int) -> bool:
        if self.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        restarts = 0
        for pod in self.active:
            status = pod.get("status") or {}
            if status.get("phase") in ("Running", "Pending"):
                both = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
                restarts += sum(c.get("restartCount") or 0 for c in both)
        return restarts > 0 if limit == 0 else restarts >= limit

    def _is_late(self) -> bool:
        deadline = self.spec.get("activeDeadlineSeconds")
        if deadline is None or self.suspended or "startTime" not in self.status:
            return False
        left = meta.parse_time(self.status["startTime"]) + deadline - self.now
        if left > 0:
            self._recheck(left)
        return left <= 0

    def _end(self, target: Object, found: Count) -> None:
        """Decided; said when no pod runs any more and all are counted."""
        stamp = meta.format_time(self.now)
        meta.set_condition(self.status, {"lastProbeTime": stamp, **target}, stamp)
        if target["type"] == "SuccessCriteriaMet":
            self.plan.drop = list(self.active)
        else:
            self.plan.delete = list(self.active)
        if self.active or self.terminating or any(found.uncounted.values()):
            return
        success = target["type"] == "SuccessCriteriaMet"
        final = {**target, "type": "Complete" if success else "Failed"}
        final.pop("lastTransitionTime", None)
        final["lastProbeTime"] = stamp
        meta.set_condition(self.status, final, stamp)
        if success:
            self.status["completionTime"] = stamp
            self.plan.events.append(("Normal", "Completed", "Job completed"))
        else:
            self.plan.events.append(("Warning", target["reason"], target["message"]))

    # --- suspension

    def _suspend(self) -> None:
        self.plan.drop = list(self.active)
        condition = _condition("Suspended", "JobSuspended", "Job suspended")
        if meta.set_condition(self.status, condition, meta.format_time(self.now)):
            self.plan.events.append(("Normal", "Suspended", "Job suspended"))

    def _resume(self) -> None:
        if meta.condition_is_true(self.job, "Suspended"):
            condition = {**_condition("Suspended", "JobResumed", "Job resumed"), "status": "False"}
            meta.set_condition(self.status, condition, meta.format_time(self.now))
            self.plan.events.append(("Normal", "Resumed", "Job resumed"))
            self.status["startTime"] = meta.format_time(self.now)

    # --- more or fewer pods

    def _manage(self, found: Count) -> None:
        parallelism = self.spec.get("parallelism")
        parallelism = 1 if parallelism is None else parallelism
        completions = self.spec.get("completions")
        if completions is None:
            wanted = len(self.active) if found.succeeded > 0 else parallelism
            wanted = min(wanted, parallelism)
        else:
            wanted = max(0, min(parallelism, completions - found.succeeded))
        if len(self.active) > wanted:
            ranked = pods.deletion_order(self.active, self.active, self.now)
            self.plan.drop = ranked[: len(self.active) - wanted]
            return
        occupied = len(self.active) + (len(self.terminating) if only_replaces_failed(self.job) else 0)
        missing = min(wanted - occupied, _BURST)
        if missing <= 0:
            return
        wait = self._backoff()
        if wait > 0:
            self._recheck(wait)
            return
        self.plan.create = self._free_indexes(found, missing) if is_indexed(self.job) else [None] * missing

    def _free_indexes(self, found: Count, most: int) -> list[int | None]:
        busy = {index_of(p) for p in self.active}
        if only_replaces_failed(self.job):
            busy |= {index_of(p) for p in self.terminating}
        free: list[int | None] = []
        for index in range(self.spec["completions"]):
            if len(free) == most:
                break
            if index not in busy and index not in found.completed:
                free.append(index)
        return free

    def _backoff(self) -> float:
        """How long to wait after failures in a row: 10 s, 20 s, 40 s... after the last of them."""
        succeeded = [finished_at(p) or 0.0 for p in self.own if (p.get("status") or {}).get("phase") == "Succeeded"]
        last_success = max(succeeded, default=0.0)
        failures = [finished_at(p) or self.now for p in self.own if (p.get("status") or {}).get("phase") == "Failed"]
        recent = [t for t in failures if t > last_success]
        if not recent:
            return 0.0
        delay = min(_BACKOFF * 2 ** min(len(recent) - 1, 10), _LONGEST_BACKOFF)
        return max(recent) + delay - self.now

    def _recheck(self, wait: float) -> None:
        after = self.plan.recheck_after
        self.plan.recheck_after = wait if after is None else min(after, wait)

    # --- the status

    def _fill_status(self, found: Count) -> None:
        status = self.status
        gone = {meta.uid(p) for p in (*self.plan.delete, *self.plan.drop)}
        staying = [p for p in self.active if meta.uid(p) not in gone]
        numbers = {
            "active": len(staying) + len(self.plan.create),
            "succeeded": len(found.completed) if is_indexed(self.job) else found.counted["succeeded"],
            "failed": found.counted["failed"],
        }
        status.update({k: v for k, v in numbers.items() if v})
        status["ready"] = sum(pods.is_ready(p) for p in staying)
        status["terminating"] = len(self.terminating) + len(self.plan.delete) + len(self.plan.drop)
        status["uncountedTerminatedPods"] = {k: v for k, v in found.uncounted.items() if v}
        if is_indexed(self.job) and found.completed:
            status["completedIndexes"] = indexes.render(found.completed)
        if not status["conditions"]:
            del status["conditions"]
        self.plan.status = status


def _condition(type_: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": "True", "reason": reason, "message": message}
