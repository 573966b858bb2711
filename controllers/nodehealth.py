"""What is wrong with a Node, as pure functions: its condition after silence, and the taints that its state asks for."""

from typing import Any

from apimachinery import meta

Object = dict[str, Any]

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

#: Which condition in which state forbids new pods.
_NO_SCHEDULE = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_OURS = frozenset({*_NO_SCHEDULE.values(), UNSCHEDULABLE})
#: What a kubelet reports, and what is unknown when it does not.
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def ready_state(node: Object) -> str:
    """``True``, ``False`` or ``Unknown``; a Node that has never reported is not known to be ready."""
    condition = meta.get_condition(node, "Ready")
    return (condition or {}).get("status") or "Unknown"


def silenced(node: Object, now: str) -> list[Object] | None:
    """The conditions of a Node that has stopped reporting, or None when they say so already."""
    conditions = [dict(c) for c in (node.get("status") or {}).get("conditions") or ()]
    by_type = {c["type"]: c for c in conditions}
    changed = False
    for type_ in _REPORTED:
        condition = by_type.get(type_)
        if condition is None:
            created = node["metadata"].get("creationTimestamp")
            fresh = {"type": type_, "lastHeartbeatTime": created, "lastTransitionTime": now}
            conditions.append(fresh)
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        elif condition.get("status") == "Unknown":
            continue
        else:
            fresh = condition
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        fresh.update(status="Unknown", reason=reason, message=message, lastTransitionTime=now)
        changed = True
    return conditions if changed else None


def wanted_taints(node: Object, *, evict: bool, now: str) -> list[Object] | None:
    """All taints of the Node as they should be, or None when they are.

    NoSchedule follows the conditions at once. NoExecute, which drives pods away, follows ``Ready`` when ``evict`` allows.
    """
    current = (node.get("spec") or {}).get("taints") or []
    state = ready_state(node)
    keys = {
        _NO_SCHEDULE[(c["type"], c["status"])]
        for c in (node.get("status") or {}).get("conditions") or ()
        if (c["type"], c["status"]) in _NO_SCHEDULE
    }
    if meta.get_condition(node, "Ready") is None:
        keys.add(NOT_READY)
    if (node.get("spec") or {}).get("unschedulable"):
        keys.add(UNSCHEDULABLE)
    execute = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(state)
    if meta.get_condition(node, "Ready") is None:
        execute = None

    def stays(taint: Object) -> bool:
        if taint["effect"] == "NoSchedule":
            return taint["key"] not in _OURS or taint["key"] in keys
        if taint["effect"] == "NoExecute" and taint["key"] in (NOT_READY, UNREACHABLE):
            return taint["key"] == execute
        return True

    taints = [t for t in current if stays(t)]
    have = {(t["key"], t["effect"]) for t in taints}
    for key in sorted(keys):
        if (key, "NoSchedule") not in have:
            taints.append({"key": key, "effect": "NoSchedule", "timeAdded": now})
    if execute and evict and (execute, "NoExecute") not in have:
        taints.append({"key": execute, "effect": "NoExecute", "timeAdded": now})
    return taints if taints != current else None


def zone_of(node: Object) -> str:
    labels = meta.labels(node)
    region = labels.get("topology.kubernetes.io/region", "")
    return f"{region}/{labels.get('topology.kubernetes.io/zone', '')}"


def disruption(states: list[str], threshold: float) -> str:
    """Of one zone's Nodes: ``full`` when none is ready, ``partial`` when too many are not, else ``normal``."""
    bad = sum(state != "True" for state in states)
    if bad and bad == len(states):
        return "full"
    if bad > 2 and bad / len(states) >= threshold:
        return "partial"
    return "normal"


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def eviction_time(pod: Object, taints: list[Object], first_seen: float) -> float | None:
    """When the pod has to leave (seconds since the epoch), 0 for at once, None for never.

    ``taints`` are the Node's NoExecute taints; each must be tolerated, and the shortest toleration counts, from
    the time the taint was added (or, when that is not known, first seen).
    """
    if not taints:
        return None
    deadline: float | None = None
    for taint in taints:
        matching = [t for t in (pod["spec"].get("tolerations") or ()) if tolerates(t, taint)]
        if not matching:
            return 0.0
        seconds = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
        if seconds:
            since = meta.parse_time(taint["timeAdded"]) if taint.get("timeAdded") else first_seen
            leave = since + max(0, min(seconds))
            deadline = leave if deadline is None else min(deadline, leave)
    return deadline
