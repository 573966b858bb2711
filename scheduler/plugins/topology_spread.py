"""Spreads a workload's pods evenly over zones, hosts or whatever a node label names.

Constraints come from the pod; a pod without any is spread (softly) over hosts and zones with the other pods of its
workload, which is found through Services and the owner's selector.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from apimachinery.selectors import Requirement, Selector, from_label_selector
from scheduler.event import Event
from scheduler.framework import MAX_SCORE, ClusterView, NodeFilter, NodeScore, Plugin, Rejection
from scheduler.node import ZONE_LABEL, NodeInfo
from scheduler.plugins.node_affinity import Matcher, required_matcher
from scheduler.plugins.taints import untolerated
from scheduler.pod import PodInfo

Object = dict[str, Any]

_NAME = "PodTopologySpread"
_HOSTNAME = "kubernetes.io/hostname"
_SKEWED = Rejection(_NAME, "node(s) didn't match pod topology spread constraints", resolvable=True)
_NO_LABEL = Rejection(
    _NAME, "node(s) didn't match pod topology spread constraints (missing required label)", resolvable=False
)
_COUNTED_SELECTORS = 64


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

    def counts(self, constraint: Constraint, node: NodeInfo) -> bool:
        if constraint.honor_affinity and self._affinity is not None and not self._affinity(node):
            return False
        return not (constraint.honor_taints and node.taints and untolerated(node.taints, self._tolerations))


class MatchCounts:
    """How many pods of a namespace a selector matches on each node, counted again only where something changed."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bool, str], dict[str, tuple[int, int]]] = OrderedDict()

    def of(self, namespace: str, selector: Selector) -> "_Counter":
        key = (namespace, selector.empty, str(selector))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = {}
            if len(self._known) > _COUNTED_SELECTORS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return _Counter(namespace, selector, known)


class _Counter:
    __slots__ = ("_known", "_namespace", "_selector")

    def __init__(self, namespace: str, selector: Selector, known: dict[str, tuple[int, int]]) -> None:
        self._namespace, self._selector, self._known = namespace, selector, known

    def __call__(self, node: NodeInfo) -> int:
        entry = self._known.get(node.name)
        if entry is not None and entry[0] == node.generation:
            return entry[1]
        namespace, matches, count = self._namespace, self._selector.matches, 0
        for pod in node.pods.values():
            if pod.namespace == namespace and not pod.deleting and matches(pod.labels):
                count += 1
        self._known[node.name] = (node.generation, count)
        return count


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
        self._counts = MatchCounts()

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
        inclusion, keys = _Inclusion(pod), [c.topology_key for c in constraints]
        work = [(c, self._counts.of(pod.namespace, c.selector), dict[str, int]()) for c in constraints]
        for node in cluster.nodes:
            labels = node.labels
            if any(key not in labels for key in keys):
                continue
            for constraint, count, by_value in work:
                if inclusion.counts(constraint, node):
                    value = labels[constraint.topology_key]
                    by_value[value] = by_value.get(value, 0) + count(node)
        return [by_value for _, _, by_value in work]

    # --- score: soft constraints --------------------------------------------------------------------------------

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        own = bool(pod.spec.get("topologySpreadConstraints"))
        constraints = self._constraints(pod, "ScheduleAnyway") if own else self._default_constraints(pod)
        if not constraints:
            return None
        # With the pod's own constraints a node without the labels is out of the picture; the defaults
        # must also do for clusters whose nodes are in no zone.
        keys = [c.topology_key for c in constraints] if own else []
        ignored = {node.name for node in feasible if any(key not in node.labels for key in keys)} if own else set()
        inclusion = _Inclusion(pod)
        parts = []
        for constraint in constraints:
            count = self._counts.of(pod.namespace, constraint.selector)
            parts.append(self._part(constraint, count, cluster, feasible, ignored, keys, inclusion))

        def score(node: NodeInfo) -> float:
            if node.name in ignored:
                return -1
            total, labels = 0.0, node.labels
            for key, count, by_value, weight, offset in parts:
                value = labels.get(key)
                if value is not None:
                    total += (count(node) if by_value is None else by_value[value]) * weight + offset
            return math.floor(total + 0.5)

        return score

    def _part(
        self,
        constraint: Constraint,
        count: _Counter,
        cluster: ClusterView,
        feasible: Sequence[NodeInfo],
        ignored: set[str],
        keys: Sequence[str],
        inclusion: _Inclusion,
    ) -> tuple[str, _Counter, dict[str, int] | None, float, int]:
        """(label, counter of one node, pods by the label's value or None to ask the counter, weight, offset)."""
        key, offset = constraint.topology_key, constraint.max_skew - 1
        if key == _HOSTNAME:
            return key, count, None, math.log(len(feasible) - len(ignored) + 2), offset
        by_value: dict[str, int] = {}
        for node in feasible:
            if node.name not in ignored:
                by_value[node.labels.get(key, "")] = 0
        if by_value.keys() - {""}:
            for node in cluster.nodes:
                labels = node.labels
                value = labels.get(key)
                if value not in by_value or any(other not in labels for other in keys):
                    continue
                if inclusion.counts(constraint, node):
                    by_value[value] += count(node)
        # The fewer values there are, the less one more pod says about balance.
        return key, count, by_value, math.log(len(by_value) + 2), offset

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
