"""A node as the scheduler sees it: what it can give, what is taken, and the pods that take it."""

import itertools
from typing import Any

from scheduler.event import Event
from scheduler.pod import HostPort, PodInfo
from scheduler.resources import Allocatable

Object = dict[str, Any]
Taint = tuple[str, str, str]  # (key, value, effect)

ZONE_LABEL, REGION_LABEL = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"

_next_generation = itertools.count(1).__next__


class NodeInfo:
    """``generation`` changes with every change, so that whatever was worked out for it can be kept until then.

    It exists without ``node`` while only pods on it are known (their events came first, or the node is gone and its
    pods are not yet).
    """

    __slots__ = (
        "affinity_pods",
        "allocatable",
        "anti_affinity_pods",
        "cpu",
        "ephemeral",
        "extended",
        "generation",
        "images",
        "labels",
        "memory",
        "name",
        "node",
        "nonzero_cpu",
        "nonzero_memory",
        "pods",
        "ports",
        "taints",
        "unschedulable",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.pods: dict[str, PodInfo] = {}
        self.affinity_pods: dict[str, PodInfo] = {}
        self.anti_affinity_pods: dict[str, PodInfo] = {}
        self.ports: dict[HostPort, int] = {}
        self.cpu = self.memory = self.ephemeral = self.nonzero_cpu = self.nonzero_memory = 0
        self.extended: dict[str, int] = {}
        self.set_node(None)

    def set_node(self, node: Object | None) -> None:
        self.node = node
        self.allocatable = Allocatable(node)
        metadata, spec = (node["metadata"], node.get("spec") or {}) if node else ({}, {})
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.unschedulable: bool = bool(spec.get("unschedulable"))
        self.taints: tuple[Taint, ...] = tuple(
            (taint["key"], taint.get("value") or "", taint["effect"]) for taint in spec.get("taints") or ()
        )
        self.images = node_images(node)
        self.generation = _next_generation()

    def changes(self, newer: "NodeInfo") -> Event:
        """What about the node (its pods aside) is different in its newer state."""
        if self.node is None:
            return Event.NODE_ADD
        change = Event(0)
        if self.allocatable != newer.allocatable:
            change |= Event.NODE_ALLOCATABLE
        if self.labels != newer.labels:
            change |= Event.NODE_LABELS
        if self.taints != newer.taints or self.unschedulable != newer.unschedulable:
            change |= Event.NODE_TAINTS
        return change

    @property
    def zone(self) -> str:
        return f"{self.labels.get(REGION_LABEL, '')}:{self.labels.get(ZONE_LABEL, '')}"

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.uid] = pod
        if pod.has_affinity:
            if pod.attracts:
                self.affinity_pods[pod.uid] = pod
            if pod.required_anti_affinity:
                self.anti_affinity_pods[pod.uid] = pod
        for port in pod.ports:
            self.ports[port] = self.ports.get(port, 0) + 1
        self._account(pod, 1)

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        self.affinity_pods.pop(uid, None)
        self.anti_affinity_pods.pop(uid, None)
        for port in pod.ports:
            self.ports[port] -= 1
            if not self.ports[port]:
                del self.ports[port]
        self._account(pod, -1)

    def _account(self, pod: PodInfo, sign: int) -> None:
        requests = pod.requests
        self.cpu += sign * requests.cpu
        self.memory += sign * requests.memory
        self.ephemeral += sign * requests.ephemeral
        self.nonzero_cpu += sign * requests.nonzero_cpu
        self.nonzero_memory += sign * requests.nonzero_memory
        for name, value in requests.extended.items():
            self.extended[name] = self.extended.get(name, 0) + sign * value
        self.generation = _next_generation()

    def copy(self) -> "NodeInfo":
        """For asking "what if": pods may be added to and removed from the copy."""
        twin = NodeInfo.__new__(NodeInfo)
        for field in NodeInfo.__slots__:
            value = getattr(self, field)
            setattr(twin, field, dict(value) if isinstance(value, dict) and field != "node" else value)
        twin.generation = _next_generation()
        return twin


def node_images(node: Object | None) -> dict[str, int]:
    """Bytes of every image on the node, by each of its names."""
    images = ((node or {}).get("status") or {}).get("images") or ()
    return {name: image.get("sizeBytes") or 0 for image in images for name in image.get("names") or ()}
