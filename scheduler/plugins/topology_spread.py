"""Spreads a workload's pods evenly over zones, hosts or whatever a node label names.

Constraints come from the pod; a pod without any is spread (softly) over hosts and zones with the other pods of its
workload, which is found through Services and the owner's selector.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from apimachinery.selectors import Requirement, Selector, from_label_selector
from scheduler.event import Event
from scheduler.framework import MAX_SCORE, ClusterView, NodeFilter, NodeScore, Plugin, Rejection
from scheduler.node import ZONE_LABEL, NodeInfo
from scheduler.plugins.node_affinity import Matcher, required_matcher
from scheduler.plugins.taints import untolerated
from scheduler.pod import PodInfo
from scheduler.tally import Tallies, Tally

Object = dict[str, Any]

_NAME = "PodTopologySpread"
_HOSTNAME = "kubernetes.io/hostname"
_SKEWED = Rejection(_NAME, "node(s) didn't match pod topology spread constraints", resolvable=True)
_NO_LABEL = Rejection(
    _NAME, "node(s) didn't match pod topology spread constraints (missing required label)", resolvable=False
)


class DefaultSelectors(Protocol):
    def selector(self, pod: PodInfo) -> Selector | None:
        """What selects the other pods of the pod's workload; None when it belongs to none."""


class Constraint:
    """One topologySpreadConstraint with what it needs to count nodes and pods."""

    __slots__ = (
        "honor_affinity",
        "honor_taints",
        "max_skew",
        "min_domains",
        "selector",
        "topology_key",
    )

    def __init__(self, selector: Selector, topology_key: str, max_skew: int) -> None:
        self.selector, self.topology_key, self.max_skew = selector, topology_key, max_skew
        self.min_domains, self.honor_affinity, self.honor_taints = 1, True, False

    @classmethod
    def of_pod(cls, pod: PodInfo, spec: Object) -> "Constraint":
        selector = from_label_selector(spec.get("labelSelector"))
        same = [key for key in spec.get("matchLabelKeys") or () if key in pod.labels]
        if same and spec.get("labelSelector") is not None:
            added = tuple(Requirement(key, "in", (pod.labels[key],)) for key in same)
            selector = Selector((*selector.requirements, *added))
        constraint = cls(selector, spec["topologyKey"], spec["maxSkew"])
        constraint.min_domains = spec.get("minDomains") or 1
        constraint.honor_affinity = (spec.get("nodeAffinityPolicy") or "Honor") == "Honor"
        constraint.honor_taints = (spec.get("nodeTaintsPolicy") or "Ignore") == "Honor"
        return constraint


class _Inclusion:
    """Which nodes a constraint counts at all, as its node affinity and taint policies say."""

    def __init__(self, pod: PodInfo) -> None:
        self._affinity: Matcher | None = required_matcher(pod.spec)
        self._tolerations = pod.spec.get("tolerations") or ()

    def counts_all(self, constraint: Constraint) -> bool:
        return not constraint.honor_taints and (self._affinity is None or not constraint.honor_affinity)

    def counts(self, constraint: Constraint, node: NodeInfo) -> bool:
        if constraint.honor_affinity and self._affinity is not None and not self._affinity(node):
            return False
        return not (constraint.honor_taints and node.taints and untolerated(node.taints, self._tolerations))


class PodTopologySpread(Plugin):
    name = _NAME
    local = False
    weight = 2
    events = (
        Event.POD_ADD
        | Event.POD_DELETE
        | Event.POD_LABELS
        | Event.NODE_ADD
        | Event.NODE_LABELS
        | Event.NODE_TAINTS
        | Event.OWN_CHANGE
    )

    def __init__(self, selectors: DefaultSelectors | None = None) -> None:
        self._selectors = selectors
        self._tallies = Tallies()

    def _constraints(self, pod: PodInfo, action: str) -> list[Constraint]:
        return [
            Constraint.of_pod(pod, spec)
            for spec in pod.spec.get("topologySpreadConstraints") or ()
            if spec["whenUnsatisfiable"] == action
        ]

    def _default_constraints(self, pod: PodInfo) -> list[Constraint]:
        selector = self._selectors.selector(pod) if self._selectors is not None else None
        if selector is None or selector.empty:
            return []
        return [Constraint(selector, _HOSTNAME, 3), Constraint(selector, ZONE_LABEL, 5)]

    # --- filter: hard constraints -------------------------------------------------------------------------------

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        constraints = self._constraints(pod, "DoNotSchedule")
        if not constraints:
            return None
        matching = self._matching_pods(pod, constraints, cluster)
        limits = []
        for constraint, by_value in zip(constraints, matching, strict=True):
            least = min(by_value.values(), default=0) if len(by_value) >= constraint.min_domains else 0
            itself = 1 if constraint.selector.matches(pod.labels) else 0
            limits.append((constraint.topology_key, by_value, constraint.max_skew + least - itself))

        def check(node: NodeInfo) -> Rejection | None:
            labels = node.labels
            for key, by_value, most in limits:
                value = labels.get(key)
                if value is None:
                    return _NO_LABEL
                if by_value.get(value, 0) > most:
                    return _SKEWED
            return None

        return check

    def _matching_pods(
        self, pod: PodInfo, constraints: Sequence[Constraint], cluster: ClusterView
    ) -> list[dict[str, int]]:
        """For each constraint: matching pods by topology value, over the nodes that count."""
        inclusion, keys = _Inclusion(pod), {c.topology_key for c in constraints}
        return [self._by_value(pod, constraint, keys, inclusion, cluster) for constraint in constraints]

    def _tally(self, pod: PodInfo, constraint: Constraint, cluster: ClusterView) -> Tally:
        tally = self._tallies.of(frozenset((pod.namespace,)), constraint.selector, terminating=False)
        if cluster.tallied is not None:
            tally.catch_up(cluster.tallied)
        return tally

    def _by_value(
        self, pod: PodInfo, constraint: Constraint, keys: set[str], inclusion: _Inclusion, cluster: ClusterView
    ) -> dict[str, int]:
        """Matching pods by the constraint's topology value, over nodes that have all the ``keys`` and count."""
        key, tally = constraint.topology_key, self._tally(pod, constraint, cluster)
        tallied = cluster.tallied
        if tallied is not None and keys <= {key} and inclusion.counts_all(constraint):
            return tally.by_value(tallied, key)
        count = tally.count if tallied is None else lambda node: tally.counts[node.name]
        by_value: dict[str, int] = {}
        for node in cluster.nodes:
            value = node.labels.get(key)
            if value is None or not keys <= node.labels.keys() or not inclusion.counts(constraint, node):
                continue
            by_value[value] = by_value.get(value, 0) + count(node)
        return by_value

    # --- score: soft constraints --------------------------------------------------------------------------------

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        own = bool(pod.spec.get("topologySpreadConstraints"))
        constraints = self._constraints(pod, "ScheduleAnyway") if own else self._default_constraints(pod)
        if not constraints:
            return None
        # With the pod's own constraints a node without the labels is out of the picture; the defaults
        # must also do for clusters whose nodes are in no zone.
        keys = {c.topology_key for c in constraints} if own else set()
        ignored = {node.name for node in feasible if not keys <= node.labels.keys()} if own else set()
        inclusion = _Inclusion(pod)
        parts = [self._part(pod, c, keys, inclusion, cluster, feasible, ignored) for c in constraints]

        def score(node: NodeInfo) -> float:
            name = node.name
            if name in ignored:
                return -1
            total, labels = 0.0, node.labels
            for key, counts, by_value, weight, offset in parts:
                value = labels.get(key)
                if value is not None:
                    total += (counts[name] if by_value is None else by_value.get(value, 0)) * weight + offset
            return math.floor(total + 0.5)

        return score

    def _part(
        self,
        pod: PodInfo,
        constraint: Constraint,
        keys: set[str],
        inclusion: _Inclusion,
        cluster: ClusterView,
        feasible: Sequence[NodeInfo],
        ignored: set[str],
    ) -> tuple[str, dict[str, int], dict[str, int] | None, float, int]:
        """(label, pods by node, pods by the label's value or None to go by node, weight, offset)."""
        key, offset = constraint.topology_key, constraint.max_skew - 1
        if key == _HOSTNAME:
            counts = self._tally(pod, constraint, cluster).counts
            return key, counts, None, math.log(len(feasible) - len(ignored) + 2), offset
        values = {node.labels.get(key, "") for node in feasible if node.name not in ignored}
        by_value = self._by_value(pod, constraint, keys, inclusion, cluster) if values != {""} else {}
        # The fewer values there are, the less one more pod says about balance.
        return key, {}, by_value, math.log(len(values) + 2), offset

    @staticmethod
    def normalize(scores: Sequence[float]) -> list[int]:
        """Fewest pods get most; -1 marks the ignored nodes, which get nothing."""
        counted = [score for score in scores if score >= 0]
        most, least = max(counted, default=0), min(counted, default=0)
        if most == 0:
            return [MAX_SCORE if score >= 0 else 0 for score in scores]
        return [int(MAX_SCORE * (most + least - score) // most) if score >= 0 else 0 for score in scores]

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if event & (Event.POD_ADD | Event.POD_DELETE | Event.POD_LABELS):
            changed = [p for p in (old, new) if p is not None]
            if all(p.namespace != pod.namespace for p in changed):
                return False
            constraints = self._constraints(pod, "DoNotSchedule")
            return any(c.selector.matches(p.labels) for c in constraints for p in changed)
        return True
