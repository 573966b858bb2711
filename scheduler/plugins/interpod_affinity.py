"""Pods that want to be near, or far from, other pods.

Required terms work both ways for anti-affinity: a pod is also kept away from the pods that do not want it near.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scheduler.affinity import PodAffinityTerm
from scheduler.event import Event
from scheduler.framework import MAX_SCORE, ClusterView, NodeFilter, NodeScore, Plugin, Rejection
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo
from scheduler.tally import Tallies

_NAME = "InterPodAffinity"
_AFFINITY = Rejection(_NAME, "node(s) didn't match pod affinity rules", resolvable=False)
_ANTI_AFFINITY = Rejection(_NAME, "node(s) didn't match pod anti-affinity rules", resolvable=True)
_EXISTING = Rejection(_NAME, "node(s) didn't satisfy existing pods anti-affinity rules", resolvable=True)
#: What a placed pod's *required* affinity for the incoming pod counts when nodes are compared.
_HARD_WEIGHT = 1

Pair = tuple[str, str]  # (topology key, value)


class InterPodAffinity(Plugin):
    name = _NAME
    local = False
    weight = 2
    events = (
        Event.POD_ADD
        | Event.POD_DELETE
        | Event.POD_LABELS
        | Event.NODE_ADD
        | Event.NODE_LABELS
        | Event.NAMESPACE_LABELS
        | Event.OWN_CHANGE
    )

    def __init__(self) -> None:
        self._tallies = Tallies()

    # --- filter -------------------------------------------------------------------------------------------------

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        affinity, anti = (pod.required_affinity, pod.required_anti_affinity) if pod.has_affinity else ([], [])
        unwelcome = _unwelcome_pairs(pod, cluster)
        if not affinity and not anti and not unwelcome:
            return None
        near, far = self._near(affinity, cluster), self._far(anti, cluster)
        # The first pod of a group that wants to be near its own kind must be let in somewhere.
        first_of_group = (
            bool(affinity) and not near and all(term.matches(pod, cluster.namespace_labels) for term in affinity)
        )

        def check(node: NodeInfo) -> Rejection | None:
            labels = node.labels
            for term in affinity:
                value = labels.get(term.topology_key)
                if value is None or ((term.topology_key, value) not in near and not first_of_group):
                    return _AFFINITY
            for term in anti:
                if (term.topology_key, labels.get(term.topology_key)) in far:
                    return _ANTI_AFFINITY
            if unwelcome and any((key, value) in unwelcome for key, value in labels.items()):
                return _EXISTING
            return None

        return check

    def _near(self, terms: Sequence[PodAffinityTerm], cluster: ClusterView) -> set[Pair]:
        """Where there are pods that match all of the terms at once."""
        if len(terms) == 1:
            return self._places(terms[0], cluster)
        found: set[Pair] = set()
        for node in cluster.nodes if terms else ():
            if any(all(t.matches(pod, cluster.namespace_labels) for t in terms) for pod in node.pods.values()):
                found.update(_pairs(terms, node.labels))
        return found

    def _far(self, terms: Sequence[PodAffinityTerm], cluster: ClusterView) -> set[Pair]:
        """Where there are pods that match any of the terms."""
        found: set[Pair] = set()
        return found.union(*(self._places(term, cluster) for term in terms))

    def _places(self, term: PodAffinityTerm, cluster: ClusterView) -> set[Pair]:
        key, tallied = term.topology_key, cluster.tallied
        if tallied is not None and term.selector is not None and term.namespace_selector is None:
            tally = self._tallies.of(term.namespaces, term.selector, terminating=True)
            tally.catch_up(tallied)
            return {(key, value) for value, count in tally.by_value(tallied, key).items() if count}
        return {
            (key, node.labels[key])
            for node in cluster.nodes
            if key in node.labels and any(term.matches(pod, cluster.namespace_labels) for pod in node.pods.values())
        }

    # --- score --------------------------------------------------------------------------------------------------

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        preferred = pod.has_affinity and (pod.preferred_affinity or pod.preferred_anti_affinity)
        if not preferred and not cluster.affinity_nodes:
            return None
        topology: dict[Pair, float] = {}
        namespaces = cluster.namespace_labels
        for node in cluster.nodes:
            others = node.pods if preferred else node.affinity_pods
            for other in others.values():
                for term, weight in _attractions(pod, other):
                    target = pod if weight[0] else other
                    if term.matches(target, namespaces):
                        value = node.labels.get(term.topology_key)
                        if value is not None:
                            pair = (term.topology_key, value)
                            topology[pair] = topology.get(pair, 0) + weight[1]
        if not topology:
            return None
        return lambda node: sum(topology.get(pair, 0) for pair in node.labels.items())

    @staticmethod
    def normalize(scores: Sequence[float]) -> list[int]:
        least, most = min(scores, default=0), max(scores, default=0)
        if most == least:
            return [0] * len(scores)
        return [int(MAX_SCORE * (score - least) / (most - least)) for score in scores]

    # --- events -------------------------------------------------------------------------------------------------

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if not event & (Event.POD_ADD | Event.POD_DELETE | Event.POD_LABELS):
            return True
        if not pod.has_affinity:
            # Rejected for another pod's anti-affinity: that pod has to change or go.
            return old is not None and bool(old.required_anti_affinity)
        # Namespace selectors are not looked up here: a needless retry costs less than a missed one.
        terms = [*pod.required_affinity, *pod.required_anti_affinity]
        return any(
            term.selector is not None and term.selector.matches(other.labels)
            for term in terms
            for other in (old, new)
            if other is not None
        ) or (old is not None and bool(old.required_anti_affinity))


def _unwelcome_pairs(pod: PodInfo, cluster: ClusterView) -> set[Pair]:
    """Where a pod already is that does not want this one near."""
    found: set[Pair] = set()
    if not cluster.anti_affinity_nodes:
        return found
    verdicts: dict[PodAffinityTerm, bool] = {}
    for node in cluster.nodes:
        for other in node.anti_affinity_pods.values():
            for term in other.required_anti_affinity:
                unwanted = verdicts.get(term)
                if unwanted is None:
                    unwanted = verdicts[term] = term.matches(pod, cluster.namespace_labels)
                if unwanted and (value := node.labels.get(term.topology_key)) is not None:
                    found.add((term.topology_key, value))
    return found


def _pairs(terms: Iterable[PodAffinityTerm], labels: dict[str, str]) -> Iterable[Pair]:
    return [(term.topology_key, labels[term.topology_key]) for term in terms if term.topology_key in labels]


def _attractions(pod: PodInfo, other: PodInfo) -> Iterable[tuple[PodAffinityTerm, tuple[bool, int]]]:
    """Terms that pull the two together (or apart), with (does the term look at ``pod``, weight)."""
    if pod.has_affinity:
        for weight, term in pod.preferred_affinity:
            yield term, (False, weight)
        for weight, term in pod.preferred_anti_affinity:
            yield term, (False, -weight)
    if other.has_affinity:
        for term in other.required_affinity:
            yield term, (True, _HARD_WEIGHT)
        for weight, term in other.preferred_affinity:
            yield term, (True, weight)
        for weight, term in other.preferred_anti_affinity:
            yield term, (True, -weight)
