"""A cordoned node takes no new pods, except those that tolerate just that."""

from typing import Any

from scheduler.event import Event
from scheduler.framework import ClusterView, NodeFilter, Plugin, Rejection
from scheduler.node import NodeInfo
from scheduler.plugins.taints import tolerated
from scheduler.pod import PodInfo

_TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")
_CORDONED = Rejection("NodeUnschedulable", "node(s) were unschedulable", resolvable=False)


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    events = Event.NODE_ADD | Event.NODE_TAINTS | Event.OWN_CHANGE

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        if tolerated(pod.spec.get("tolerations") or (), _TAINT):
            return None
        return lambda node: _CORDONED if node.unschedulable else None

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if event & Event.OWN_CHANGE:
            return tolerated(pod.spec.get("tolerations") or (), _TAINT)
        return isinstance(new, NodeInfo) and not new.unschedulable
