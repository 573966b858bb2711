"""The terms of pod affinity and anti-affinity, ready to be matched against pods."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from apimachinery.selectors import Selector, from_label_selector

if TYPE_CHECKING:
    from scheduler.pod import PodInfo

Object = dict[str, Any]
NamespaceLabels = Mapping[str, Mapping[str, str]]


class PodAffinityTerm:
    """ "Near (or far from) pods that match, where near means the same value of the node label ``topology_key``"."""

    __slots__ = ("namespace_selector", "namespaces", "selector", "topology_key")

    def __init__(self, owner_namespace: str, term: Object) -> None:
        self.topology_key: str = term["topologyKey"]
        # No selector at all matches nothing, an empty one everything.
        self.selector: Selector | None = (
            from_label_selector(term["labelSelector"]) if term.get("labelSelector") is not None else None
        )
        namespaces, selector = term.get("namespaces") or (), term.get("namespaceSelector")
        if not namespaces and selector is None:
            namespaces = (owner_namespace,)
        self.namespaces = frozenset(namespaces)
        self.namespace_selector: Selector | None = from_label_selector(selector) if selector is not None else None

    def matches(self, pod: "PodInfo", namespace_labels: NamespaceLabels) -> bool:
        if self.selector is None:
            return False
        if pod.namespace not in self.namespaces and (
            self.namespace_selector is None
            or not self.namespace_selector.matches(namespace_labels.get(pod.namespace, {}))
        ):
            return False
        return self.selector.matches(pod.labels)


class WeightedTerm(NamedTuple):
    weight: int
    term: PodAffinityTerm


@lru_cache(maxsize=1024)
def _shared(owner_namespace: str, term: bytes) -> PodAffinityTerm:
    return PodAffinityTerm(owner_namespace, orjson.loads(term))


def _term(owner: "PodInfo", term: Object) -> PodAffinityTerm:
    """One object for equal terms: replicas of a workload share theirs, which then need be matched only once."""
    return _shared(owner.namespace, orjson.dumps(term, option=orjson.OPT_SORT_KEYS))


def affinity_terms(owner: "PodInfo", affinity: Object | None) -> list[PodAffinityTerm]:
    terms = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return [_term(owner, term) for term in terms]


def weighted_terms(owner: "PodInfo", affinity: Object | None) -> list[WeightedTerm]:
    terms = (affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [WeightedTerm(term["weight"], _term(owner, term["podAffinityTerm"])) for term in terms]
