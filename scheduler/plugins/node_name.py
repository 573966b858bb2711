"""A pod that names its node goes there or nowhere."""

from typing import Any

from scheduler.event import Event
from scheduler.framework import ClusterView, NodeFilter, Plugin, Rejection
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo

_WRONG = Rejection("NodeName", "node(s) didn't match the requested node name", resolvable=False)


class NodeName(Plugin):
    name = "NodeName"
    events = Event.NODE_ADD

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        wanted = pod.node_name
        return (lambda node: None if node.name == wanted else _WRONG) if wanted else None

    def hint(self, event: Event, pod: PodInfo, old: Any, new: NodeInfo) -> bool:
        return new.name == pod.node_name
