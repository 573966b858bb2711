"""Prefers nodes on which CPU and memory would be used evenly, so that neither runs out with the other idle."""

from collections.abc import Sequence

from scheduler.framework import MAX_SCORE, ClusterView, NodeScore, Plugin
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        requests = pod.requests
        if requests.best_effort:
            # It would draw all of them to whichever node is balanced by chance.
            return None
        cpu, memory = requests.cpu, requests.memory

        def evenness(node: NodeInfo) -> float:
            can = node.allocatable
            if not can.cpu or not can.memory:
                return MAX_SCORE
            difference = min((node.cpu + cpu) / can.cpu, 1) - min((node.memory + memory) / can.memory, 1)
            # The standard deviation of two numbers is half their distance.
            return int((1 - abs(difference / 2)) * MAX_SCORE)

        return evenness
