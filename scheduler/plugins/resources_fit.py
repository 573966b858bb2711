"""A node must have room for what the pod requests; among those that do, the emptiest is best (LeastAllocated)."""

from collections.abc import Sequence
from typing import Any

from scheduler.event import Event
from scheduler.framework import MAX_SCORE, ClusterView, NodeFilter, NodeScore, Plugin, Rejection
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo
from scheduler.resources import Requests

_NAME = "NodeResourcesFit"
# The common refusals, made once: a full cluster refuses a pod on every node.
_COMMON: dict[tuple[tuple[str, ...], bool], Rejection] = {
    (reasons, resolvable): Rejection(_NAME, *reasons, resolvable=resolvable)
    for reasons in (("Too many pods",), ("Insufficient cpu",), ("Insufficient memory",))
    for resolvable in (True, False)
}


def lacking(requests: Requests, node: NodeInfo) -> list[tuple[str, bool]]:
    """What the node has too little of, as (reason, would an empty node do)."""
    can, found = node.allocatable, []
    if len(node.pods) + 1 > can.pods:
        found.append(("Too many pods", True))
    if requests.cpu and requests.cpu > can.cpu - node.cpu:
        found.append(("Insufficient cpu", requests.cpu <= can.cpu))
    if requests.memory and requests.memory > can.memory - node.memory:
        found.append(("Insufficient memory", requests.memory <= can.memory))
    if requests.ephemeral and requests.ephemeral > can.ephemeral - node.ephemeral:
        found.append(("Insufficient ephemeral-storage", requests.ephemeral <= can.ephemeral))
    for name, wanted in requests.extended.items():
        given = can.extended.get(name, 0)
        if wanted > given - node.extended.get(name, 0):
            found.append((f"Insufficient {name}", wanted <= given))
    return found


class NodeResourcesFit(Plugin):
    name = _NAME
    events = Event.NODE_ADD | Event.NODE_ALLOCATABLE | Event.FREED | Event.OWN_CHANGE

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        requests = pod.requests

        def check(node: NodeInfo) -> Rejection | None:
            found = lacking(requests, node)
            if not found:
                return None
            reasons = tuple(reason for reason, _ in found)
            resolvable = all(possible for _, possible in found)
            return _COMMON.get((reasons, resolvable)) or Rejection(_NAME, *reasons, resolvable=resolvable)

        return check

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        cpu, memory = pod.requests.nonzero_cpu, pod.requests.nonzero_memory

        def least_allocated(node: NodeInfo) -> float:
            can, total, count = node.allocatable, 0, 0
            if can.cpu:
                count += 1
                total += max(can.cpu - node.nonzero_cpu - cpu, 0) * MAX_SCORE // can.cpu
            if can.memory:
                count += 1
                total += max(can.memory - node.nonzero_memory - memory, 0) * MAX_SCORE // can.memory
            return total // count if count else 0

        return least_allocated

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if event & Event.OWN_CHANGE:
            return True
        requests = pod.requests
        if event & Event.FREED:
            # Room was made, if it was of a kind that the pod wants (a place among the node's pods is always one).
            if event & Event.POD_DELETE:
                return True
            was, now = old.requests, new.requests
            return (
                (requests.cpu > 0 and now.cpu < was.cpu)
                or (requests.memory > 0 and now.memory < was.memory)
                or (requests.ephemeral > 0 and now.ephemeral < was.ephemeral)
                or any(now.extended.get(name, 0) < was.extended.get(name, 0) for name in requests.extended)
            )
        return not lacking(requests, new)
