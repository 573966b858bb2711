"""What a StatefulSet needs next, as a function of what is seen.

With the policy OrderedReady a plan holds at most one change and waits for each pod to be ready (and available) before the
next; Parallel changes everything at once, save for updates, which are always one after the other.
"""

from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.revisions import POD_LABEL
from controllers.statefulset.identity import ordinal_of, start_of

Object = dict[str, Any]


@dataclass
class Plan:
    """``create`` are ``(ordinal, revision name)``; ``delete`` are pods, of which ``condemned`` ones are scaled away."""

    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    condemned: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    recheck_after: float | None = None


def _is_burst(owner: Object) -> bool:
    return owner["spec"].get("podManagementPolicy") == "Parallel"


def _replicas(owner: Object) -> int:
    wanted = owner["spec"].get("replicas")
    return 1 if wanted is None else wanted


def _revision(pod: Object) -> str:
    return meta.labels(pod).get(POD_LABEL, "")


def _is_running_and_ready(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running" and pods.is_ready(pod)


def partition_of(owner: Object) -> int:
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return rolling.get("partition") or 0


def _is_rolling(owner: Object) -> bool:
    return (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"


def status(owner: Object, own: list[Object], current: str, update: str, now: float) -> Object:
    """``own`` are the set's pods; ``current`` and ``update`` name its revisions."""
    min_ready = owner["spec"].get("minReadySeconds") or 0
    living = [p for p in own if not meta.is_deleting(p)]
    counts = {
        "readyReplicas": sum(_is_running_and_ready(p) for p in own),
        "currentReplicas": sum(_revision(p) == current for p in living),
        "updatedReplicas": sum(_revision(p) == update for p in living),
    }
    available = sum(_is_running_and_ready(p) and pods.is_available(p, min_ready, now) for p in own)
    if _is_rolling(owner) and counts["updatedReplicas"] == len(own) == counts["readyReplicas"]:
        counts["currentReplicas"], current = counts["updatedReplicas"], update
    found: Object = {
        "observedGeneration": owner["metadata"].get("generation", 0),
        "replicas": len(own),
        **{k: v for k, v in counts.items() if v},
        "availableReplicas": available,
        "currentRevision": current,
        "updateRevision": update,
    }
    collisions = (owner.get("status") or {}).get("collisionCount")
    # The API shows a collision count of zero as well.
    found["collisionCount"] = collisions or 0
    return found


def reconcile(owner: Object, own: list[Object], current: str, update: str, now: float) -> Plan:
    plan = Plan(status=status(owner, own, current, update, now))
    if meta.is_deleting(owner):
        return plan
    _Step(owner, own, current, update, now, plan).take()
    return plan


class _Step:
    def __init__(self, owner: Object, own: list[Object], current: str, update: str, now: float, plan: Plan) -> None:
        self.owner, self.current, self.update, self.now, self.plan = owner, current, update, now, plan
        self.min_ready = owner["spec"].get("minReadySeconds") or 0
        self.monotonic = not _is_burst(owner)
        first = start_of(owner)
        self.ordinals = range(first, first + _replicas(owner))
        self.wanted: dict[int, Object] = {}
        condemned: dict[int, Object] = {}
        for pod in own:
            ordinal = ordinal_of(owner, pod)
            if ordinal is not None:
                (self.wanted if ordinal in self.ordinals else condemned)[ordinal] = pod
        self.condemned = [condemned[o] for o in sorted(condemned, reverse=True)]
        everyone = [self.wanted[o] for o in sorted(self.wanted)] + self.condemned[::-1]
        self.first_unhealthy = next((p for p in everyone if not self._healthy(p)), None)

    def _healthy(self, pod: Object) -> bool:
        return _is_running_and_ready(pod) and not meta.is_deleting(pod)

    def _available(self, pod: Object) -> bool:
        """Also notes when to look again, where only time is missing."""
        if not _is_running_and_ready(pod):
            return False
        wait = pods.ready_since(pod) + self.min_ready - self.now
        if self.min_ready == 0 or wait <= 0:
            return True
        after = self.plan.recheck_after
        self.plan.recheck_after = wait if after is None else min(after, wait)
        return False

    def take(self) -> None:
        if self._grow() or self._shrink():
            return
        if _is_rolling(self.owner):
            self._roll()

    def _grow(self) -> bool:
        """Whether this is where the step ends."""
        for ordinal in self.ordinals:
            pod = self.wanted.get(ordinal)
            if pod is None:
                self.plan.create.append((ordinal, self._revision_for(ordinal)))
                if self.monotonic:
                    return True
            elif pods.is_terminal(pod):
                # Its successor is created when the name is free.
                if not meta.is_deleting(pod):
                    self.plan.delete.append(pod)
                if self.monotonic:
                    return True
            elif self.monotonic and (meta.is_deleting(pod) or not self._available(pod)):
                return True
        return False

    def _revision_for(self, ordinal: int) -> str:
        """Below the partition pods keep the current version."""
        held = _is_rolling(self.owner) and ordinal < self.ordinals.start + partition_of(self.owner)
        return self.current if held else self.update

    def _shrink(self) -> bool:
        """From the highest ordinal; an unhealthy pod is no reason to wait for itself, only for the others."""
        for pod in self.condemned:
            if meta.is_deleting(pod):
                if self.monotonic:
                    return True
                continue
            if self.monotonic and pod is not self.first_unhealthy and not self._available(pod):
                return True
            self.plan.delete.append(pod)
            self.plan.condemned.append(pod)
            if self.monotonic:
                return True
        return False

    def _roll(self) -> None:
        """One pod at a time, from the highest ordinal down to the partition."""
        for ordinal in reversed(self.ordinals):
            if ordinal < self.ordinals.start + partition_of(self.owner):
                return
            pod = self.wanted.get(ordinal)
            if pod is None:
                return
            if _revision(pod) != self.update and not meta.is_deleting(pod):
                self.plan.delete.append(pod)
                return
            if meta.is_deleting(pod) or not self._available(pod):
                return
