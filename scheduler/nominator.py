"""Pods that have preempted others and wait for the room: it is kept for them against pods of no higher priority."""

from scheduler.pod import PodInfo


class Nominator:
    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, PodInfo]] = {}
        self._places: dict[str, str] = {}

    def nominate(self, pod: PodInfo, node_name: str) -> None:
        self.withdraw(pod.uid)
        self._nodes.setdefault(node_name, {})[pod.uid] = pod
        self._places[pod.uid] = node_name

    def withdraw(self, uid: str) -> None:
        name = self._places.pop(uid, None)
        if name is not None:
            pods = self._nodes[name]
            del pods[uid]
            if not pods:
                del self._nodes[name]

    def node_of(self, uid: str) -> str:
        """Empty when the pod is not nominated."""
        return self._places.get(uid, "")

    def on(self, node_name: str) -> list[PodInfo]:
        return list(self._nodes.get(node_name, {}).values())

    @property
    def nodes(self) -> dict[str, dict[str, PodInfo]]:
        """Nodes with nominated pods; empty almost always, so that looking costs nothing."""
        return self._nodes
