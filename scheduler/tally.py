"""How many pods a selector matches, on each node and for each value of a node label, kept up to date cheaply.

Spreading and anti-affinity ask this for every pod of a workload, and between two questions only a few nodes change: a
tally counts those again and leaves the others.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from apimachinery.selectors import Selector
from scheduler.node import NodeInfo

_MAX_TALLIES = 64


class ChangingCluster(Protocol):
    """What a tally needs of the node table."""

    @property
    def nodes(self) -> Sequence[NodeInfo]: ...

    @property
    def epoch(self) -> int:
        """Changes when ``changed_since`` cannot tell everything any more."""

    @property
    def generation(self) -> int: ...

    def changed_since(self, generation: int) -> list[NodeInfo]:
        """Nodes of a later generation; those that are gone come without their Node."""


class _Totals:
    """Pods by the value of one label; ``nodes`` counts the nodes that have it."""

    __slots__ = ("by_value", "nodes", "places")

    def __init__(self) -> None:
        self.by_value: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        self.places: dict[str, tuple[str, int]] = {}  # node name -> (value, pods)

    def set(self, name: str, value: str | None, count: int) -> None:
        before = self.places.pop(name, None)
        if before is not None:
            self._add(before[0], -before[1], -1)
        if value is not None:
            self.places[name] = (value, count)
            self._add(value, count, 1)

    def _add(self, value: str, pods: int, nodes: int) -> None:
        self.by_value[value] = self.by_value.get(value, 0) + pods
        self.nodes[value] = self.nodes.get(value, 0) + nodes
        if not self.nodes[value]:
            del self.nodes[value], self.by_value[value]


class Tally:
    """``counts`` by node name. Only valid right after ``catch_up``."""

    __slots__ = ("_epoch", "_generation", "_namespaces", "_selector", "_terminating", "_totals", "counts")

    def __init__(self, namespaces: frozenset[str], selector: Selector, *, terminating: bool) -> None:
        self._namespaces, self._selector, self._terminating = namespaces, selector, terminating
        self._epoch = self._generation = -1
        self.counts: dict[str, int] = {}
        self._totals: dict[str, _Totals] = {}

    def catch_up(self, cluster: ChangingCluster) -> None:
        if self._epoch != cluster.epoch:
            self._epoch, self._generation = cluster.epoch, -1
            self.counts.clear()
            self._totals.clear()
        for node in cluster.changed_since(self._generation):
            self.counts[node.name] = count = self.count(node)
            for key, totals in self._totals.items():
                totals.set(node.name, node.labels.get(key), count)
        self._generation = cluster.generation

    def by_value(self, cluster: ChangingCluster, topology_key: str) -> dict[str, int]:
        """Matching pods by value of the label; every value that some node has is there. Not to be changed."""
        totals = self._totals.get(topology_key)
        if totals is None:
            totals = self._totals[topology_key] = _Totals()
            for node in cluster.nodes:
                totals.set(node.name, node.labels.get(topology_key), self.counts[node.name])
        return totals.by_value

    def count(self, node: NodeInfo) -> int:
        """On this node, counted now."""
        namespaces, matches, found = self._namespaces, self._selector.matches, 0
        for pod in node.pods.values():
            if pod.namespace in namespaces and (self._terminating or not pod.deleting) and matches(pod.labels):
                found += 1
        return found


class Tallies:
    """The tallies that were asked for last."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[frozenset[str], bool, str, bool], Tally] = OrderedDict()

    def of(self, namespaces: frozenset[str], selector: Selector, *, terminating: bool) -> Tally:
        """``terminating``: do pods count that are on their way out?"""
        # The text alone does not tell the selector of everything from that of nothing.
        key = (namespaces, selector.empty, str(selector), terminating)
        tally = self._known.get(key)
        if tally is None:
            tally = self._known[key] = Tally(namespaces, selector, terminating=terminating)
            if len(self._known) > _MAX_TALLIES:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return tally
