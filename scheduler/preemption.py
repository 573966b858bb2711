"""Makes room for a pod by choosing less important pods to evict from one node.

Pure: it says which node and which victims; evicting is somebody else's work. A pod only ever evicts pods of lower
priority, spares those that PodDisruptionBudgets protect where it can, and evicts as few as possible.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apimachinery.selectors import from_label_selector
from scheduler.algorithm import Algorithm
from scheduler.diagnosis import Unschedulable, availability
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo

Object = dict[str, Any]

_NO_VICTIMS = "No preemption victims found for incoming pod"
_NOT_HELPFUL = "Preemption is not helpful for scheduling"
# Dry runs are costly: this share of the nodes that could help is tried, but not fewer than so many.
_CANDIDATE_PERCENT, _MIN_CANDIDATES = 10, 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """Evicting ``victims`` (most important first) makes room on ``node_name``."""

    node_name: str
    victims: list[PodInfo]
    violations: int


class NotPreempting(Exception):
    """No room can be made. ``clear``: a nomination from an earlier attempt is void too."""

    def __init__(self, message: str, *, clear: bool) -> None:
        super().__init__(message)
        self.clear = clear


def preempt(
    pod: PodInfo, failure: Unschedulable, algorithm: Algorithm, budgets: Sequence[Object], rng: random.Random
) -> Candidate:
    """The best node to make room on; raises :class:`NotPreempting`."""
    _check_eligible(pod, failure, algorithm)
    hopeful = [
        node
        for name, rejection in failure.rejections.items()
        if rejection.resolvable and (node := algorithm.cluster.get(name)) is not None
    ]
    counts: Counter[str] = Counter()
    candidates = _dry_run(pod, hopeful, algorithm, budgets, counts, rng)
    if not candidates:
        counts[_NOT_HELPFUL] = failure.total - sum(counts.values())
        raise NotPreempting(availability(failure.total, counts), clear=True)
    return min(candidates, key=_cost)


def _check_eligible(pod: PodInfo, failure: Unschedulable, algorithm: Algorithm) -> None:
    if pod.spec.get("preemptionPolicy") == "Never":
        raise NotPreempting("not eligible due to preemptionPolicy=Never.", clear=False)
    name = algorithm.nominator.node_of(pod.uid) or pod.nominated_node
    node = algorithm.cluster.get(name) if name else None
    if node is None:
        return
    rejection = failure.rejections.get(name)
    if rejection is not None and not rejection.resolvable:
        return  # the promised node has become impossible: another may be preempted
    if any(p.deleting and p.priority < pod.priority and _evicted_by_preemption(p) for p in node.pods.values()):
        raise NotPreempting("not eligible due to a terminating pod on the nominated node.", clear=False)


def _evicted_by_preemption(pod: PodInfo) -> bool:
    conditions = (pod.pod.get("status") or {}).get("conditions") or ()
    return any(
        c["type"] == "DisruptionTarget" and c["status"] == "True" and c.get("reason") == "PreemptionByScheduler"
        for c in conditions
    )


def _dry_run(
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    algorithm: Algorithm,
    budgets: Sequence[Object],
    counts: Counter[str],
    rng: random.Random,
) -> list[Candidate]:
    """Candidates, from a random node on, until enough are found of which some violate no budget."""
    enough = max(len(nodes) * _CANDIDATE_PERCENT // 100, _MIN_CANDIDATES)
    start = rng.randrange(len(nodes)) if nodes else 0
    found: list[Candidate] = []
    harmless = 0
    for node in [*nodes[start:], *nodes[:start]]:
        candidate = select_victims(pod, node, algorithm, budgets, counts)
        if candidate is None:
            continue
        found.append(candidate)
        harmless += not candidate.violations
        if harmless and len(found) >= enough:
            break
    return found


def _importance(pod: PodInfo) -> tuple[int, float]:
    """Sorts the most important first: the higher priority, then the longer running."""
    return -pod.priority, pod.start_time


def select_victims(
    pod: PodInfo, node: NodeInfo, algorithm: Algorithm, budgets: Sequence[Object], counts: Counter[str]
) -> Candidate | None:
    """The fewest victims on this node; counts the reason when there is no solution."""
    changed = node.copy()
    lower = sorted((p for p in node.pods.values() if p.priority < pod.priority), key=_importance)
    if not lower:
        counts[_NO_VICTIMS] += 1
        return None
    for victim in lower:
        changed.remove(victim.uid)
    rejection = algorithm.reject_changed(pod, changed)
    if rejection is not None:
        counts.update(rejection.reasons)
        return None
    # Everybody is out and it fits: let back in whoever may stay, the protected first.
    protected = protected_by_budgets(lower, budgets)
    victims: list[PodInfo] = []
    violations = 0
    for victim in sorted(lower, key=lambda p: p.uid not in protected):
        changed.add(victim)
        if algorithm.reject_changed(pod, changed) is not None:
            changed.remove(victim.uid)
            victims.append(victim)
            violations += victim.uid in protected
    return Candidate(node.name, sorted(victims, key=_importance), violations)


def protected_by_budgets(pods: Iterable[PodInfo], budgets: Sequence[Object]) -> set[str]:
    """Uids of those whose eviction would take a budget below what it allows, taken in this order."""
    open_budgets: list[tuple[Object, Any, list[int]]] = [
        (
            budget,
            from_label_selector((budget.get("spec") or {}).get("selector")),
            [(budget.get("status") or {}).get("disruptionsAllowed") or 0],
        )
        for budget in budgets
    ]
    protected: set[str] = set()
    for pod in pods:
        for budget, selector, left in open_budgets:
            if budget["metadata"]["namespace"] != pod.namespace or selector.empty or not selector.matches(pod.labels):
                continue
            already: Mapping[str, Any] = (budget.get("status") or {}).get("disruptedPods") or {}
            if pod.name in already:
                continue
            left[0] -= 1
            if left[0] < 0:
                protected.add(pod.uid)
    return protected


def _cost(candidate: Candidate) -> tuple[float, ...]:
    """Least is best: budgets violated, the highest priority lost, priorities lost in sum, victims; then whoever's
    most important victims started latest."""
    victims = candidate.victims
    if not victims:
        return (candidate.violations, float("-inf"), 0, 0, 0)
    highest = victims[0].priority
    earliest = min(v.start_time for v in victims if v.priority == highest)
    # Shifted, so that many victims of negative priority do not look better than few.
    total = sum(v.priority + 2**31 for v in victims)
    return (candidate.violations, highest, total, len(victims), -earliest)
