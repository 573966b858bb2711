"""Node selectors and node affinity: which nodes a pod must and would rather run on."""

from collections.abc import Callable, Sequence
from typing import Any

from scheduler.event import Event
from scheduler.framework import ClusterView, NodeFilter, NodeScore, Plugin, Rejection, proportional
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo

Object = dict[str, Any]
Matcher = Callable[[NodeInfo], bool]

_NAME = "NodeAffinity"
_MISMATCH = Rejection(_NAME, "node(s) didn't match Pod's node affinity/selector", resolvable=False)
_ENFORCED = Rejection(_NAME, "node(s) didn't match scheduler-enforced node affinity", resolvable=False)
_CONFLICT = Rejection(_NAME, "pod affinity terms conflict", resolvable=False)


def _integer(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _value_test(operator: str, values: Sequence[str]) -> Callable[[str | None], bool]:
    """What a label's value (None: no such label) must satisfy."""
    if operator == "In":
        return lambda value: value in values
    if operator == "NotIn":
        return lambda value: value not in values
    if operator == "Exists":
        return lambda value: value is not None
    if operator == "DoesNotExist":
        return lambda value: value is None
    bound = _integer(values[0]) if len(values) == 1 else None
    if operator == "Gt":
        return lambda value: (number := _integer(value)) is not None and bound is not None and number > bound
    if operator == "Lt":
        return lambda value: (number := _integer(value)) is not None and bound is not None and number < bound
    return lambda value: False


def _term_matcher(term: Object) -> Matcher:
    """All expressions and all fields must hold; a term that says nothing matches nothing."""
    expressions = [
        (e["key"], _value_test(e["operator"], tuple(e.get("values") or ()))) for e in term.get("matchExpressions") or ()
    ]
    fields = [
        _value_test(f["operator"], tuple(f.get("values") or ()))
        for f in term.get("matchFields") or ()
        if f["key"] == "metadata.name"
    ]
    if not expressions and not fields:
        return lambda node: False

    def matches(node: NodeInfo) -> bool:
        labels = node.labels
        return all(test(labels.get(key)) for key, test in expressions) and all(test(node.name) for test in fields)

    return matches


def node_selector_matcher(selector: Object) -> Matcher:
    """Of a NodeSelector: one of its terms must match."""
    terms = [_term_matcher(term) for term in selector.get("nodeSelectorTerms") or ()]
    return lambda node: any(term(node) for term in terms)


def _required(affinity: Object | None) -> Object | None:
    return (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution")


def required_matcher(spec: Object) -> Matcher | None:
    """Both ``nodeSelector`` and the required node affinity of a pod; None when it has neither."""
    selector = spec.get("nodeSelector")
    required = _required((spec.get("affinity") or {}).get("nodeAffinity"))
    affinity = node_selector_matcher(required) if required is not None else None
    if not selector:
        return affinity
    items = list(selector.items())

    def matches(node: NodeInfo) -> bool:
        labels = node.labels
        return all(labels.get(key) == value for key, value in items) and (affinity is None or affinity(node))

    return matches


def named_nodes(affinity: Object | None) -> set[str] | None:
    """The only nodes that a required affinity admits by name (as daemon pods have it); None when it names none."""
    required = _required(affinity)
    if required is None or not required.get("nodeSelectorTerms"):
        return None
    names: set[str] = set()
    for term in required["nodeSelectorTerms"]:
        of_term: set[str] | None = None
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field["operator"] == "In":
                values = set(field.get("values") or ())
                of_term = values if of_term is None else of_term & values
        if of_term is None:
            return None
        names |= of_term
    return names


class NodeAffinity(Plugin):
    name = _NAME
    weight = 2
    events = Event.NODE_ADD | Event.NODE_LABELS | Event.OWN_CHANGE
    normalize = staticmethod(proportional)

    def __init__(self, added: Object | None = None) -> None:
        """``added``: a node affinity of the profile, on top of every pod's own."""
        required = _required(added)
        self._added = node_selector_matcher(required) if required is not None else None
        self._added_preferred = _preferred(added)

    def narrow(self, pod: PodInfo) -> set[str] | Rejection | None:
        names = named_nodes((pod.spec.get("affinity") or {}).get("nodeAffinity"))
        return names if names is None or names else _CONFLICT

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        added, own = self._added, required_matcher(pod.spec)
        if added is None and own is None:
            return None

        def check(node: NodeInfo) -> Rejection | None:
            if added is not None and not added(node):
                return _ENFORCED
            return None if own is None or own(node) else _MISMATCH

        return check

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        terms = [*self._added_preferred, *_preferred((pod.spec.get("affinity") or {}).get("nodeAffinity"))]
        if not terms:
            return None
        return lambda node: sum(weight for weight, matches in terms if matches(node))

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if event & Event.OWN_CHANGE:
            return True
        own = required_matcher(pod.spec)
        return (self._added is None or self._added(new)) and (own is None or own(new))


def _preferred(affinity: Object | None) -> list[tuple[int, Matcher]]:
    terms = (affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [(term["weight"], _term_matcher(term.get("preference") or {})) for term in terms if term.get("weight")]
