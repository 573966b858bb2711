"""What may be reported of a workload: no count is negative, none is more than what it is part of."""

from typing import Any

from apimachinery.errors import FieldError, invalid_value

Object = dict[str, Any]


def no_more_than_ready(status: Object, named: str) -> list[FieldError]:
    available = status.get("availableReplicas", 0)
    if available <= status.get("readyReplicas", 0):
        return []
    return [invalid_value("status.availableReplicas", available, f"cannot be greater than {named}")]


def collisions_only_grow(new: Object, old: Object) -> list[FieldError]:
    now, before = ((o.get("status") or {}).get("collisionCount") for o in (new, old))
    if before is None or (now is not None and now >= before):
        return []
    return [invalid_value("status.collisionCount", now or 0, "cannot be decremented")]


def no_more_than_replicas(status: Object, *fields: str) -> list[FieldError]:
    replicas = status.get("replicas", 0)
    return [
        invalid_value(f"status.{f}", status.get(f, 0), "cannot be greater than status.replicas")
        for f in fields
        if status.get(f, 0) > replicas
    ]
