"""The table of nodes and the pods on them, kept current by informers and one step ahead of them by assumptions.

A pod that has just been given a node is *assumed* to be there: the next decision must count it before the API server has
confirmed the binding. The informer's news confirms it; a failed binding forgets it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scheduler.event import Event
from scheduler.framework import ClusterView
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo

Object = dict[str, Any]


class Cache:
    """Changed only between decisions (one event loop), so a decision reads it as its snapshot."""

    def __init__(self) -> None:
        self._infos: dict[str, NodeInfo] = {}
        self._assumed: set[str] = set()
        self._places: dict[str, str] = {}  # pod uid -> node name
        self._image_nodes: dict[str, int] = {}
        self._order: list[NodeInfo] | None = []
        self._changes: OrderedDict[str, NodeInfo] = OrderedDict()
        self.epoch = 0
        self.affinity_nodes = self.anti_affinity_nodes = 0
        self.namespace_labels: dict[str, dict[str, str]] = {}
        #: Changes when the set of nodes or of images does.
        self.image_epoch = 0

    # --- what decisions read ------------------------------------------------------------------------------------

    @property
    def nodes(self) -> Sequence[NodeInfo]:
        """Every node, the zones taking turns, so that a search cut short has seen all of them."""
        if self._order is None:
            self._order = _zones_in_turn(info for info in self._infos.values() if info.node is not None)
        return self._order

    def get(self, name: str) -> NodeInfo | None:
        info = self._infos.get(name)
        return info if info is not None and info.node is not None else None

    @property
    def tallied(self) -> "Cache":
        return self

    def image_nodes(self, image: str) -> int:
        return self._image_nodes.get(image, 0)

    @property
    def generation(self) -> int:
        """Of the node that changed last."""
        return next(reversed(self._changes.values())).generation if self._changes else 0

    def changed_since(self, generation: int) -> list[NodeInfo]:
        """Nodes that have changed after the given generation; a node that is gone has no ``node`` any more."""
        changed = []
        for info in reversed(self._changes.values()):
            if info.generation <= generation:
                break
            changed.append(info)
        return changed

    def _changed(self, info: NodeInfo) -> None:
        self._changes[info.name] = info
        self._changes.move_to_end(info.name)
        if len(self._changes) > 2 * len(self._infos) + 64:
            # Mostly nodes that are gone: forget them, and let everybody who counts start anew.
            self._changes = OrderedDict(sorted(self._infos.items(), key=lambda item: item[1].generation))
            self.epoch += 1

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def sizes(self) -> dict[str, int]:
        return {"nodes": len(self.nodes), "pods": len(self._places), "assumed_pods": len(self._assumed)}

    # --- nodes --------------------------------------------------------------------------------------------------

    def set_node(self, node: Object) -> tuple[NodeInfo, Event]:
        """Returns what about the node has changed; nothing for a mere sign of life."""
        name = node["metadata"]["name"]
        info = self._infos.get(name)
        if info is None:
            info = self._infos[name] = NodeInfo(name)
        fresh = NodeInfo(name)
        fresh.set_node(node)
        change = info.changes(fresh)
        if not change and info.images == fresh.images:
            info.node = node
            return info, change
        if info.images != fresh.images or change & Event.NODE_ADD:
            self._count_images(info.images, -1)
            self._count_images(fresh.images, 1)
            self.image_epoch += 1
        if change & Event.NODE_ADD or info.zone != fresh.zone:
            self._order = None
        info.set_node(node)
        self._changed(info)
        return info, change

    def remove_node(self, name: str) -> None:
        info = self._infos.get(name)
        if info is None:
            return
        self._count_images(info.images, -1)
        info.set_node(None)
        self._changed(info)
        self.image_epoch += 1
        self._order = None
        if not info.pods:
            del self._infos[name]

    def _count_images(self, images: Mapping[str, int], sign: int) -> None:
        for image in images:
            count = self._image_nodes.get(image, 0) + sign
            if count:
                self._image_nodes[image] = count
            else:
                self._image_nodes.pop(image, None)

    # --- pods ---------------------------------------------------------------------------------------------------

    def assume(self, pod: PodInfo, node_name: str) -> None:
        assert pod.uid not in self._places, f"{pod.key} is assumed twice"
        self._place(pod.on(node_name))
        self._assumed.add(pod.uid)

    def forget(self, uid: str) -> None:
        """The binding of an assumed pod failed. One that was confirmed meanwhile stays: it really is there."""
        if uid in self._assumed:
            self._assumed.discard(uid)
            self._displace(uid)

    def set_pod(self, pod: PodInfo) -> None:
        """What the API server says of a pod with a node; confirms an assumption, or corrects it."""
        self._assumed.discard(pod.uid)
        known = self.pod(pod.uid)
        if known is not None:
            if known.same_to_others(pod):
                known.pod, known.spec = pod.pod, pod.spec
                return
            self._displace(pod.uid)
        self._place(pod)

    def remove_pod(self, uid: str) -> None:
        """The pod is gone (or has run to its end), assumed or not."""
        self._assumed.discard(uid)
        if uid in self._places:
            self._displace(uid)

    def pod(self, uid: str) -> PodInfo | None:
        name = self._places.get(uid)
        return self._infos[name].pods[uid] if name is not None else None

    def _place(self, pod: PodInfo) -> None:
        info = self._infos.get(pod.node_name)
        if info is None:
            info = self._infos[pod.node_name] = NodeInfo(pod.node_name)
        self._count_affinity(info, -1)
        info.add(pod)
        self._changed(info)
        self._count_affinity(info, 1)
        self._places[pod.uid] = pod.node_name

    def _displace(self, uid: str) -> None:
        info = self._infos[self._places.pop(uid)]
        self._count_affinity(info, -1)
        info.remove(uid)
        self._changed(info)
        self._count_affinity(info, 1)
        if info.node is None and not info.pods:
            del self._infos[info.name]

    def _count_affinity(self, info: NodeInfo, sign: int) -> None:
        self.affinity_nodes += sign if info.affinity_pods else 0
        self.anti_affinity_nodes += sign if info.anti_affinity_pods else 0


class WhatIf:
    """The cluster with one node replaced by a changed copy of it."""

    def __init__(self, cluster: ClusterView, changed: NodeInfo) -> None:
        self._cluster, self._changed = cluster, changed
        self.nodes: Sequence[NodeInfo] = [changed if node.name == changed.name else node for node in cluster.nodes]
        # Counts are only asked whether there is any: the copy may hold the only such pod, or the last one.
        self.affinity_nodes = cluster.affinity_nodes + 1
        self.anti_affinity_nodes = cluster.anti_affinity_nodes + 1
        self.namespace_labels: Mapping[str, Mapping[str, str]] = cluster.namespace_labels

    @property
    def tallied(self) -> None:
        """Nobody keeps count of what is not so."""
        return None

    def get(self, name: str) -> NodeInfo | None:
        return self._changed if name == self._changed.name else self._cluster.get(name)

    def image_nodes(self, image: str) -> int:
        return self._cluster.image_nodes(image)


def _zones_in_turn(nodes: Iterable[NodeInfo]) -> list[NodeInfo]:
    zones: dict[str, list[NodeInfo]] = {}
    for node in nodes:
        zones.setdefault(node.zone, []).append(node)
    if len(zones) <= 1:
        return next(iter(zones.values()), [])
    ordered: list[NodeInfo] = []
    for turn in range(max(map(len, zones.values()))):
        ordered.extend(zone[turn] for zone in zones.values() if turn < len(zone))
    return ordered
