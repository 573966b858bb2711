"""A Deployment's status and its conditions, in upstream's words: ``kubectl rollout status`` and ``kubectl wait`` read them."""

from collections.abc import Sequence
from typing import Any

from apimachinery import meta
from controllers.deployment.strategy import counted, max_unavailable, replicas_of, total

Object = dict[str, Any]

_NO_DEADLINE = 2**31 - 1
PAUSED, RESUMED, TIMED_OUT = "DeploymentPaused", "DeploymentResumed", "ProgressDeadlineExceeded"
AVAILABLE, CREATED, FOUND = "NewReplicaSetAvailable", "NewReplicaSetCreated", "FoundNewReplicaSet"
CREATE_ERROR, UPDATED = "ReplicaSetCreateError", "ReplicaSetUpdated"


def has_deadline(deployment: Object) -> bool:
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    return deadline is not None and deadline != _NO_DEADLINE


def progressing(status: Object) -> Object | None:
    return meta.get_condition({"status": status}, "Progressing")


def condition(type_: str, state: str, reason: str, message: str, now: float) -> Object:
    stamp = meta.format_time(now)
    return {
        "type": type_,
        "status": state,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }


def put(status: Object, fresh: Object) -> None:
    """Replaces the condition, unless status and reason are what they were: then it says nothing new."""
    old = meta.get_condition({"status": status}, fresh["type"])
    if old is not None and old.get("status") == fresh["status"] and old.get("reason") == fresh["reason"]:
        return
    if old is not None and old.get("status") == fresh["status"]:
        fresh = {**fresh, "lastTransitionTime": old.get("lastTransitionTime")}
    drop(status, fresh["type"])
    status.setdefault("conditions", []).append(fresh)


def drop(status: Object, type_: str) -> None:
    left = [c for c in status.get("conditions") or () if c.get("type") != type_]
    if left:
        status["conditions"] = left
    else:
        status.pop("conditions", None)


def is_complete(deployment: Object, status: Object) -> bool:
    wanted = replicas_of(deployment)
    return (
        all((status.get(f) or 0) == wanted for f in ("updatedReplicas", "replicas", "availableReplicas"))
        and (status.get("observedGeneration") or 0) >= deployment["metadata"]["generation"]
    )


def _has_progressed(old: Object, new: Object) -> bool:
    def of(status: Object, field: str) -> int:
        return status.get(field) or 0

    def outdated(status: Object) -> int:
        return of(status, "replicas") - of(status, "updatedReplicas")

    return (
        of(new, "updatedReplicas") > of(old, "updatedReplicas")
        or outdated(new) < outdated(old)
        or of(new, "readyReplicas") > of(old, "readyReplicas")
        or of(new, "availableReplicas") > of(old, "availableReplicas")
    )


def _deadline(deployment: Object, current: Object) -> float:
    return meta.parse_time(current["lastUpdateTime"]) + deployment["spec"]["progressDeadlineSeconds"]


def _has_timed_out(deployment: Object, status: Object, now: float) -> bool:
    current = progressing(status)
    if current is None or current.get("reason") == AVAILABLE:
        return False
    return current.get("reason") == TIMED_OUT or _deadline(deployment, current) < now


def check_paused(deployment: Object, status: Object, now: float) -> None:
    """A paused Deployment makes no progress and is not late either; the condition says which of the two."""
    if not has_deadline(deployment):
        return
    current = progressing(status)
    reason = current.get("reason") if current else None
    paused = bool(deployment["spec"].get("paused"))
    if reason == TIMED_OUT:
        return
    if paused and reason != PAUSED:
        put(status, condition("Progressing", "Unknown", PAUSED, "Deployment is paused", now))
    elif not paused and reason == PAUSED:
        put(status, condition("Progressing", "Unknown", RESUMED, "Deployment is resumed", now))


def counts(deployment: Object, status: Object, new: Object | None, everyone: Sequence[Object], now: float) -> Object:
    """The numbers of the status and the Available condition; other conditions and the collision count are kept."""
    available = counted(everyone, "availableReplicas")
    numbers = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": counted(everyone, "replicas"),
        "updatedReplicas": counted([new], "replicas"),
        "readyReplicas": counted(everyone, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total(everyone) - available),
    }
    fresh: Object = {k: v for k, v in numbers.items() if v}
    if status.get("collisionCount") is not None:
        fresh["collisionCount"] = status["collisionCount"]
    fresh["conditions"] = list(status.get("conditions") or ())
    if available >= replicas_of(deployment) - max_unavailable(deployment):
        state, reason, message = "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
    else:
        state, reason = "False", "MinimumReplicasUnavailable"
        message = "Deployment does not have minimum availability."
    put(fresh, condition("Available", state, reason, message, now))
    return fresh


def judge_progress(deployment: Object, old: Object, fresh: Object, new: Object | None, now: float) -> None:
    """Sets Progressing in ``fresh``: complete, moving or too late. ``old`` is what the status was before these counts."""
    current = progressing(fresh)
    if not has_deadline(deployment):
        drop(fresh, "Progressing")
        return
    done_before = current is not None and current.get("reason") == AVAILABLE
    if done_before and (fresh.get("replicas") or 0) == (fresh.get("updatedReplicas") or 0):
        return
    who = f'ReplicaSet "{meta.name(new)}"' if new else f'Deployment "{meta.name(deployment)}"'
    if is_complete(deployment, fresh):
        message = f"{who} has successfully progressed."
        put(fresh, condition("Progressing", "True", AVAILABLE, message, now))
    elif _has_progressed(old, fresh):
        moving = condition("Progressing", "True", UPDATED, f"{who} is progressing.", now)
        if current is not None and current.get("status") == "True":
            moving["lastTransitionTime"] = current.get("lastTransitionTime")
        # Dropped first, so that the time of the last progress moves although nothing else does.
        drop(fresh, "Progressing")
        put(fresh, moving)
    elif _has_timed_out(deployment, fresh, now):
        put(fresh, condition("Progressing", "False", TIMED_OUT, f"{who} has timed out progressing.", now))


def copy_failure(fresh: Object, new: Object | None, everyone: Sequence[Object]) -> None:
    """ReplicaFailure as the new ReplicaSet (or else any other) reports it."""
    for rs in ([new] if new else []) + list(everyone):
        failure = meta.get_condition(rs, "ReplicaFailure")
        if failure is not None:
            time = failure.get("lastTransitionTime")
            put(fresh, {**failure, "lastUpdateTime": time})
            return
    drop(fresh, "ReplicaFailure")


def recheck_after(deployment: Object, status: Object, now: float) -> float | None:
    """In how many seconds the deadline will have passed, while there is one to miss."""
    current = progressing(status)
    if not has_deadline(deployment) or current is None:
        return None
    if is_complete(deployment, status) or current.get("reason") in (TIMED_OUT, AVAILABLE):
        return None
    return max(_deadline(deployment, current) - now, 0.0) + 1.0
