"""What controllers want to know about a pod: is it active, ready, available, and which one would be missed least."""

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from apimachinery import meta

Object = dict[str, Any]

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_COST = re.compile(r"-\d+|0|[1-9]\d*", re.ASCII)

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_terminal(pod: Object) -> bool:
    """It has run to its end and will not run again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """It counts as one of the wanted replicas: neither ended nor on its way out."""
    return not is_terminal(pod) and not meta.is_deleting(pod)


def is_ready(pod: Object) -> bool:
    return meta.condition_is_true(pod, "Ready")


def ready_since(pod: Object) -> float:
    """When the pod became ready, in seconds since the epoch; 0 while it is not."""
    condition = meta.get_condition(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return 0.0
    since = condition.get("lastTransitionTime")
    return meta.parse_time(since) if since else 0.0


def is_available(pod: Object, min_ready_seconds: int, now: float) -> bool:
    """Ready for at least ``min_ready_seconds``."""
    if not is_ready(pod):
        return False
    since = ready_since(pod)
    return min_ready_seconds == 0 or (since > 0 and since + min_ready_seconds <= now)


def node_name(pod: Object) -> str:
    return (pod.get("spec") or {}).get("nodeName") or ""


def max_restarts(pod: Object) -> int:
    status = pod.get("status") or {}
    return max((c.get("restartCount") or 0 for c in status.get("containerStatuses") or ()), default=0)


def deletion_cost(pod: Object) -> int:
    """Zero unless the annotation holds a plain 32-bit integer, as upstream reads it."""
    text = meta.annotations(pod).get(DELETION_COST, "")
    cost = int(text) if _COST.fullmatch(text) else 0
    return cost if -(2**31) <= cost < 2**31 else 0


def from_template(template: Object, owner: Object) -> Object:
    """A pod as the template of ``owner`` describes it, named by the API server and controlled by the owner."""
    source = template.get("metadata") or {}
    metadata: Object = {
        "generateName": f"{meta.name(owner)}-",
        "namespace": meta.namespace(owner),
        "ownerReferences": [meta.controller_reference(owner)],
    }
    for field in ("labels", "annotations"):
        if source.get(field):
            metadata[field] = dict(source[field])
    if source.get("finalizers"):
        metadata["finalizers"] = list(source["finalizers"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def deletion_order(candidates: Iterable[Object], related: Iterable[Object], now: float) -> list[Object]:
    """Candidates in the order in which they should go.

    Upstream's ranking: unscheduled first, then by phase, not ready, deletion cost, how many active ``related`` pods
    share the node, ready for the shortest time, most restarts, youngest. Times are compared by their order of magnitude, so that
    the choice among pods of about one age is spread by their uids.
    """
    crowd = Counter(node_name(pod) for pod in related if is_active(pod))

    def compare(a: Object, b: Object) -> int:
        for x, y in zip(_rank(a, crowd), _rank(b, crowd), strict=True):
            if x != y:
                return -1 if x < y else 1
        if is_ready(a) and is_ready(b):
            order = _younger_first(ready_since(a), ready_since(b), a, b, now)
            if order:
                return order
        if max_restarts(a) != max_restarts(b):
            return max_restarts(b) - max_restarts(a)
        return _younger_first(_created(a), _created(b), a, b, now)

    return sorted(candidates, key=functools.cmp_to_key(compare))


def _rank(pod: Object, crowd: Counter[str]) -> tuple[int, ...]:
    node = node_name(pod)
    phase = _PHASES.get((pod.get("status") or {}).get("phase") or "Pending", 0)
    return (1 if node else 0, phase, int(is_ready(pod)), deletion_cost(pod), -crowd[node])


def _created(pod: Object) -> float:
    created = pod["metadata"].get("creationTimestamp")
    return meta.parse_time(created) if created else 0.0


def _younger_first(a: float, b: float, first: Object, second: Object, now: float) -> int:
    if a == b:
        return 0
    if not a or not b:
        return -1 if not a else 1
    magnitude_a, magnitude_b = _magnitude(now - a), _magnitude(now - b)
    if magnitude_a == magnitude_b:
        return -1 if meta.uid(first) < meta.uid(second) else 1
    return -1 if magnitude_a < magnitude_b else 1


def _magnitude(age: float) -> int:
    return int(math.log2(age * 1e9)) if age > 0 else -1
