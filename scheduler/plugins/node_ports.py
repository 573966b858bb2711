"""Two pods cannot listen on one port of one node."""

from typing import Any

from scheduler.event import Event
from scheduler.framework import ClusterView, NodeFilter, Plugin, Rejection
from scheduler.node import NodeInfo
from scheduler.pod import HostPort, PodInfo

_TAKEN = Rejection("NodePorts", "node(s) didn't have free ports for the requested pod ports", resolvable=True)
_ANY = "0.0.0.0"


def conflict(wanted: HostPort, taken: HostPort) -> bool:
    return wanted[1:] == taken[1:] and (wanted[0] == taken[0] or _ANY in (wanted[0], taken[0]))


class NodePorts(Plugin):
    name = "NodePorts"
    events = Event.NODE_ADD | Event.POD_DELETE

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        wanted = pod.ports
        if not wanted:
            return None

        def check(node: NodeInfo) -> Rejection | None:
            taken = node.ports
            if taken and any(conflict(want, have) for want in wanted for have in taken):
                return _TAKEN
            return None

        return check

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if event & Event.POD_DELETE:
            return any(conflict(want, have) for want in pod.ports for have in old.ports)
        return True
