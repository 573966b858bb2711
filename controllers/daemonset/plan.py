"""What a DaemonSet needs next, as a function of the Nodes and its pods."""

from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.daemonset.placement import should_run, target_of
from controllers.intorstr import scaled
from controllers.revisions import POD_LABEL

Object = dict[str, Any]


@dataclass
class Plan:
    """``create`` are Node names. ``failed`` are pods among ``delete`` that ended though daemons should not."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)


@dataclass
class _Place:
    """One Node: what should be there, and what is."""

    node: Object
    start: bool
    stay: bool
    pods: list[Object] = field(default_factory=list)


def reconcile(owner: Object, nodes: list[Object], own: list[Object], current: str, now: float) -> Plan:
    """``current`` is the hash of the present template's revision."""
    plan = Plan()
    places = {meta.name(n): _Place(n, *should_run(owner, n)) for n in nodes}
    lost: list[Object] = []
    for pod in own:
        place = places.get(target_of(pod))
        (place.pods if place else lost).append(pod)
    plan.status = _status(owner, list(places.values()), current, now)
    if meta.is_deleting(owner):
        return plan
    # A pod that waits for a Node that does not exist will never run; one that ran there is the pod collector's.
    plan.delete += [p for p in lost if not p["spec"].get("nodeName") and not meta.is_deleting(p)]
    for name, place in places.items():
        _fill(plan, name, place, current if _surges(owner) else None)
    if not (plan.create or plan.delete):
        _roll(plan, owner, list(places.values()), current, now)
    return plan


def _surges(owner: Object) -> bool:
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return rolling.get("maxSurge") not in (None, 0, "0%")


def _fill(plan: Plan, name: str, place: _Place, surging: str | None) -> None:
    """One pod where one should be; none where none may stay; of several the oldest.

    With a surge a new pod (of the revision ``surging``) may run beside an old one until it has taken over.
    """
    living = [p for p in place.pods if not meta.is_deleting(p)]
    if not place.stay:
        plan.delete += living
        return
    ended = [p for p in living if pods.is_terminal(p)]
    plan.delete += ended
    plan.failed += [p for p in ended if p["status"]["phase"] == "Failed"]
    running = [p for p in living if not pods.is_terminal(p)]
    if place.start and not running and not place.pods:
        plan.create.append(name)
    running.sort(key=lambda p: (p["metadata"].get("creationTimestamp") or "", meta.name(p)))
    if surging is None:
        plan.delete += running[1:]
    else:
        plan.delete += [p for p in running if _is_current(p, surging)][1:]
        plan.delete += [p for p in running if not _is_current(p, surging)][1:]


def _is_current(pod: Object, current: str) -> bool:
    return meta.labels(pod).get(POD_LABEL) == current


def _roll(plan: Plan, owner: Object, places: list[_Place], current: str, now: float) -> None:
    """Deletes old pods, no more at a time than may be unavailable; those that are unavailable anyway go first."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    rolling = strategy.get("rollingUpdate") or {}
    wanted = [p for p in places if p.start]
    surge = scaled(rolling.get("maxSurge"), len(wanted), round_up=True)
    most = scaled(rolling.get("maxUnavailable"), len(wanted), round_up=True, default=1)
    min_ready = owner["spec"].get("minReadySeconds") or 0
    if surge > 0:
        _roll_with_surge(plan, wanted, current, surge, min_ready, now)
        return
    unavailable, old_available = 0, []
    for place in wanted:
        living = [p for p in place.pods if not meta.is_deleting(p)]
        if not living:
            unavailable += 1
        for pod in living:
            available = pods.is_available(pod, min_ready, now)
            unavailable += not available
            if not _is_current(pod, current):
                if available:
                    old_available.append(pod)
                else:
                    plan.delete.append(pod)
    plan.delete += old_available[: max(0, most - unavailable)]


def _roll_with_surge(plan: Plan, wanted: list[_Place], current: str, surge: int, min_ready: int, now: float) -> None:
    """New pods beside the old ones; an old one goes when the new one is available."""
    surging = 0
    waiting = []
    for place in wanted:
        living = [p for p in place.pods if not meta.is_deleting(p)]
        old = [p for p in living if not _is_current(p, current)]
        new = [p for p in living if _is_current(p, current)]
        if not old:
            continue
        if any(pods.is_available(p, min_ready, now) for p in new):
            plan.delete += old
        elif new:
            surging += 1
        else:
            waiting.append(meta.name(place.node))
    plan.create += waiting[: max(0, surge - surging)]


def _status(owner: Object, places: list[_Place], current: str, now: float) -> Object:
    min_ready = owner["spec"].get("minReadySeconds") or 0
    desired = scheduled = misscheduled = ready = available = updated = 0
    for place in places:
        if place.start:
            desired += 1
            if place.pods:
                scheduled += 1
                oldest = min(place.pods, key=lambda p: p["metadata"].get("creationTimestamp") or "")
                if pods.is_ready(oldest):
                    ready += 1
                    available += pods.is_available(oldest, min_ready, now)
                updated += _is_current(oldest, current)
        elif place.pods:
            misscheduled += 1
    found = {
        "currentNumberScheduled": scheduled,
        "numberMisscheduled": misscheduled,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "observedGeneration": owner["metadata"].get("generation", 0),
    }
    optional = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "collisionCount": (owner.get("status") or {}).get("collisionCount") or 0,
    }
    return {**found, **{k: v for k, v in optional.items() if v}}
