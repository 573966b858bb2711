"""Counting ended pods exactly once, across crashes at any point.

First the uids go into the status (``uncountedTerminatedPods``), then the pods lose their finalizer, then the uids become part of the
numbers. A pod that has lost its finalizer and is not listed has been counted; one that is listed will be.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers.job import failure, indexes
from controllers.job.pod import FINALIZER, has_failed, has_succeeded, index_of, is_indexed

Object = dict[str, Any]

#: So many at once, so that a status stays small.
_BATCH = 500


@dataclass
class Count:
    """``succeeded`` and ``failed`` include what is being counted. ``listed`` are the pods to lose their finalizer."""

    succeeded: int
    failed: int
    completed: set[int] = field(default_factory=set)
    listed: list[Object] = field(default_factory=list)
    uncounted: dict[str, list[str]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    fatal: str = ""


def count(job: Object, own: Iterable[Object], *, ending: bool) -> Count:
    """``ending``: the Job has come to its end, so pods that still run are failures once they are deleted."""
    status = job.get("status") or {}
    before = status.get("uncountedTerminatedPods") or {}
    by_uid = {meta.uid(p): p for p in own}
    listed = {kind: list(before.get(kind) or ()) for kind in ("succeeded", "failed")}
    counted = {"succeeded": status.get("succeeded") or 0, "failed": status.get("failed") or 0}
    for kind in listed:
        # Those without finalizer (or gone) are done with: they become part of the number.
        left = [u for u in listed[kind] if u in by_uid and meta.has_finalizer(by_uid[u], FINALIZER)]
        counted[kind] += len(listed[kind]) - len(left)
        listed[kind] = left
    completed = indexes.parse(status.get("completedIndexes") or "")
    found = Count(0, 0, completed)
    ignored: list[Object] = []
    for uid, pod in by_uid.items():
        action, why = failure.judge(job, pod)
        if action == failure.FAIL_JOB and not found.fatal:
            found.fatal = why
        if not meta.has_finalizer(pod, FINALIZER):
            continue
        if uid in listed["succeeded"] or uid in listed["failed"]:
            found.listed.append(pod)
        elif has_succeeded(pod):
            if _is_news(job, pod, completed):
                listed["succeeded"].append(uid)
                found.listed.append(pod)
            else:
                ignored.append(pod)
        elif has_failed(job, pod) or (ending and meta.is_deleting(pod)):
            if action == failure.IGNORE:
                ignored.append(pod)
            else:
                listed["failed"].append(uid)
                found.listed.append(pod)
        if len(found.listed) >= _BATCH:
            break
    found.listed += ignored
    found.uncounted, found.counted = listed, counted
    found.succeeded = len(completed) if is_indexed(job) else counted["succeeded"] + len(listed["succeeded"])
    found.failed = counted["failed"] + len(listed["failed"])
    return found


def _is_news(job: Object, pod: Object, completed: set[int]) -> bool:
    """For an indexed Job a second success of one index counts for nothing."""
    if not is_indexed(job):
        return True
    index = index_of(pod)
    if index is None or index in completed or index >= (job["spec"].get("completions") or 0):
        return False
    completed.add(index)
    return True
