"""The decision: filter the nodes, score those that remain, take one of the best at random.

Pure: it reads the node table and changes nothing. Pods of one shape (replicas of a workload) get the same answers from
local plugins on a node until that node changes, so these verdicts are kept: deciding for the next replica asks
again only about the nodes on which something happened.
"""

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.cache import Cache, WhatIf
from scheduler.diagnosis import Unschedulable
from scheduler.framework import ClusterView, NodeFilter, NodeScore, Plugin, Rejection, first_rejection
from scheduler.node import NodeInfo
from scheduler.nominator import Nominator
from scheduler.pod import PodInfo

#: Searches stop early only in clusters larger than this, and never with fewer feasible nodes than this.
_MIN_FEASIBLE = 100
#: Verdicts kept in all, over all shapes: some hundred bytes each.
_KEPT_VERDICTS = 200_000
_MAX_SHAPES = 128

#: (generation of the node, why not, sum of plain scores, raw scores to be normalized)
Verdict = tuple[int, Rejection | None, float, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Decision:
    node: NodeInfo
    evaluated: int
    feasible: int


class _Shape:
    """The local plugins' questions for all pods of one shape, and the answers so far."""

    __slots__ = ("_filters", "_plain", "_raw", "image_epoch", "normalizing", "verdicts")

    def __init__(self, pod: PodInfo, plugins: Sequence[Plugin], cluster: Cache) -> None:
        self.image_epoch = cluster.image_epoch
        self.verdicts: dict[str, Verdict] = {}
        self.normalizing: list[Plugin] = []
        self._filters: list[NodeFilter] = []
        self._plain: list[tuple[int, NodeScore]] = []
        self._raw: list[NodeScore] = []
        for plugin in plugins:
            if (node_filter := plugin.filter(pod, cluster)) is not None:
                self._filters.append(node_filter)
            if (score := plugin.score(pod, cluster, ())) is not None:
                if plugin.normalize is None:
                    self._plain.append((plugin.weight, score))
                else:
                    self.normalizing.append(plugin)
                    self._raw.append(score)

    def judge(self, node: NodeInfo) -> Verdict:
        rejection = self.reject(node)
        if rejection is not None:
            return node.generation, rejection, 0, ()
        plain = 0.0
        for weight, score in self._plain:
            plain += weight * score(node)
        return node.generation, None, plain, tuple([score(node) for score in self._raw])

    def reject(self, node: NodeInfo) -> Rejection | None:
        return first_rejection(self._filters, node)


def nodes_to_find(total: int, percentage: int = 0) -> int:
    """How many feasible nodes are enough: all of a small cluster, an ever smaller share of a larger one."""
    if total < _MIN_FEASIBLE:
        return total
    if not percentage:
        percentage = max(50 - total // 125, 5)
    return max(total * percentage // 100, _MIN_FEASIBLE)


class Algorithm:
    """``percentage`` of nodes to score, 0 for upstream's adaptive share."""

    def __init__(
        self,
        cluster: Cache,
        plugins: Sequence[Plugin],
        nominator: Nominator,
        *,
        rng: random.Random,
        percentage: int = 0,
    ) -> None:
        self.cluster, self.plugins, self.nominator = cluster, plugins, nominator
        self._local = [plugin for plugin in plugins if plugin.local]
        self._global = [plugin for plugin in plugins if not plugin.local]
        self._rng, self._percentage = rng, percentage
        self._shapes: OrderedDict[bytes, _Shape] = OrderedDict()
        self._start = 0

    def decide(self, pod: PodInfo) -> Decision:
        """Where the pod should go; raises :class:`Unschedulable`."""
        nodes = self.cluster.nodes
        if not nodes:
            raise Unschedulable(0, {})
        candidates, narrowed_by = self._narrow(pod, nodes)
        shape = self._shape(pod, keep=len(candidates) == len(nodes))
        filters = [f for plugin in self._global if (f := plugin.filter(pod, self.cluster)) is not None]

        nominated = self._on_nominated_node(pod, shape, filters)
        if nominated is not None:
            return Decision(nominated, 1, 1)
        feasible, rejections = self._search(pod, candidates, shape, filters, whole=len(candidates) == len(nodes))
        if not feasible:
            absent = f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(narrowed_by))}]"
            raise Unschedulable(
                len(nodes),
                rejections,
                left_out=(absent, len(nodes) - len(rejections)) if narrowed_by else ("", 0),
                narrowed_by=narrowed_by,
            )
        evaluated = len(feasible) + len(rejections)
        if len(feasible) == 1:
            return Decision(feasible[0], evaluated, 1)
        return Decision(self._best(pod, feasible, shape), evaluated, len(feasible))

    # --- filtering ----------------------------------------------------------------------------------------------

    def _narrow(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> tuple[Sequence[NodeInfo], frozenset[str]]:
        names: set[str] | None = None
        by: set[str] = set()
        for plugin in self.plugins:
            found = plugin.narrow(pod)
            if isinstance(found, Rejection):
                raise Unschedulable(len(nodes), {}, conflict=found)
            if found is not None:
                names = found if names is None else names & found
                by.add(plugin.name)
        if names is None:
            return nodes, frozenset()
        return [node for name in sorted(names) if (node := self.cluster.get(name)) is not None], frozenset(by)

    def _shape(self, pod: PodInfo, *, keep: bool) -> _Shape:
        key = pod.shape
        shape = self._shapes.get(key)
        if shape is not None and shape.image_epoch == self.cluster.image_epoch:
            self._shapes.move_to_end(key)
            return shape
        shape = _Shape(pod, self._local, self.cluster)
        if keep:
            self._shapes[key] = shape
            limit = min(_MAX_SHAPES, max(_KEPT_VERDICTS // len(self.cluster.nodes), 4))
            while len(self._shapes) > limit:
                self._shapes.popitem(last=False)
        return shape

    def _on_nominated_node(self, pod: PodInfo, shape: _Shape, filters: Sequence[NodeFilter]) -> NodeInfo | None:
        name = self.nominator.node_of(pod.uid)
        node = self.cluster.get(name) if name else None
        if node is None or self._reject(pod, node, shape, filters) is not None:
            return None
        return node

    def _search(
        self,
        pod: PodInfo,
        candidates: Sequence[NodeInfo],
        shape: _Shape,
        filters: Sequence[NodeFilter],
        *,
        whole: bool,
    ) -> tuple[list[NodeInfo], dict[str, Rejection]]:
        """Enough feasible nodes, from where the last search ended, and why the others are not."""
        total = len(candidates)
        wanted = nodes_to_find(total, self._percentage)
        start = self._start % total if whole and total else 0
        feasible: list[NodeInfo] = []
        rejections: dict[str, Rejection] = {}
        verdicts, judge, nominated = shape.verdicts, shape.judge, self.nominator.nodes
        for node in [*candidates[start:], *candidates[:start]]:
            name = node.name
            verdict = verdicts.get(name)
            if verdict is None or verdict[0] != node.generation:
                verdict = verdicts[name] = judge(node)
            rejection = verdict[1]
            if rejection is None and filters:
                rejection = first_rejection(filters, node)
            if rejection is None and nominated and name in nominated:
                rejection = self._reject_beside_nominated(pod, node)
            if rejection is not None:
                rejections[name] = rejection
                continue
            feasible.append(node)
            if len(feasible) >= wanted:
                break
        if whole and total:
            self._start = (start + len(feasible) + len(rejections)) % total
        return feasible, rejections

    def _reject(self, pod: PodInfo, node: NodeInfo, shape: _Shape, filters: Sequence[NodeFilter]) -> Rejection | None:
        return shape.reject(node) or first_rejection(filters, node) or self._reject_beside_nominated(pod, node)

    def _reject_beside_nominated(
        self, pod: PodInfo, node: NodeInfo, base: ClusterView | None = None
    ) -> Rejection | None:
        """Would it still fit if the pods that are promised this node came first?"""
        others = [p for p in self.nominator.on(node.name) if p.uid != pod.uid and p.priority >= pod.priority]
        if not others:
            return None
        crowded = node.copy()
        for other in others:
            if other.uid not in crowded.pods:
                crowded.add(other)
        return self._reject_in(pod, crowded, base or self.cluster)

    def _reject_in(self, pod: PodInfo, node: NodeInfo, base: ClusterView) -> Rejection | None:
        view = WhatIf(base, node)
        for plugin in self.plugins:
            node_filter = plugin.filter(pod, view)
            if node_filter is not None and (rejection := node_filter(node)) is not None:
                return rejection
        return None

    def reject_changed(self, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        """Why the pod would not fit on this changed copy of a node, nominated pods counted."""
        rejection = self._reject_in(pod, node, self.cluster)
        return rejection if rejection is not None else self._reject_beside_nominated(pod, node)

    # --- scoring ------------------------------------------------------------------------------------------------

    def _totals(self, pod: PodInfo, feasible: Sequence[NodeInfo], shape: _Shape) -> list[float]:
        known = shape.verdicts
        verdicts = [known.get(node.name) or shape.judge(node) for node in feasible]
        totals = [verdict[2] for verdict in verdicts]
        for index, plugin in enumerate(shape.normalizing):
            totals = _added(totals, plugin, [verdict[3][index] for verdict in verdicts])
        for plugin in self._global:
            score = plugin.score(pod, self.cluster, feasible)
            if score is not None:
                totals = _added(totals, plugin, list(map(score, feasible)))
        return totals

    def _best(self, pod: PodInfo, feasible: Sequence[NodeInfo], shape: _Shape) -> NodeInfo:
        totals = self._totals(pod, feasible, shape)
        best = max(totals)
        winners = [node for node, total in zip(feasible, totals, strict=True) if total == best]
        return winners[0] if len(winners) == 1 else self._rng.choice(winners)


def _added(totals: list[float], plugin: Plugin, raw: list[float]) -> list[float]:
    if raw.count(raw[0]) == len(raw) or plugin.normalize is None:
        return totals
    weight = plugin.weight
    return [total + weight * score for total, score in zip(totals, plugin.normalize(raw), strict=True)]
