"""Taints keep pods away that do not tolerate them; PreferNoSchedule only makes a node less welcome."""

from collections.abc import Sequence
from typing import Any

from scheduler.event import Event
from scheduler.framework import ClusterView, NodeFilter, NodeScore, Plugin, Rejection, proportional_reversed
from scheduler.node import NodeInfo, Taint
from scheduler.pod import PodInfo

Object = dict[str, Any]

_NAME = "TaintToleration"
_HARD = ("NoSchedule", "NoExecute")


def tolerates(toleration: Object, taint: Taint) -> bool:
    key, value, effect = taint
    if toleration.get("effect") and toleration["effect"] != effect:
        return False
    if toleration.get("key") and toleration["key"] != key:
        return False
    operator = toleration.get("operator") or "Equal"
    return operator == "Exists" or (operator == "Equal" and (toleration.get("value") or "") == value)


def tolerated(tolerations: Sequence[Object], taint: Taint) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def untolerated(taints: Sequence[Taint], tolerations: Sequence[Object]) -> Taint | None:
    """The first taint that keeps a pod with these tolerations off the node."""
    for taint in taints:
        if taint[2] in _HARD and not tolerated(tolerations, taint):
            return taint
    return None


class TaintToleration(Plugin):
    name = _NAME
    weight = 3
    events = Event.NODE_ADD | Event.NODE_TAINTS | Event.OWN_CHANGE
    normalize = staticmethod(proportional_reversed)

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        tolerations = pod.spec.get("tolerations") or ()

        def check(node: NodeInfo) -> Rejection | None:
            taint = untolerated(node.taints, tolerations) if node.taints else None
            if taint is None:
                return None
            return Rejection(_NAME, f"node(s) had untolerated taint {{{taint[0]}: {taint[1]}}}", resolvable=False)

        return check

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        # Only tolerations that are for this effect (or any) count here.
        tolerations = [
            t for t in pod.spec.get("tolerations") or () if t.get("effect") in (None, "", "PreferNoSchedule")
        ]

        def intolerable(node: NodeInfo) -> float:
            if not node.taints:
                return 0
            return sum(
                1 for taint in node.taints if taint[2] == "PreferNoSchedule" and not tolerated(tolerations, taint)
            )

        return intolerable

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        if event & Event.OWN_CHANGE:
            return True
        return untolerated(new.taints, pod.spec.get("tolerations") or ()) is None
