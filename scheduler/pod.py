"""What the scheduler needs to know of a pod, worked out once when the pod arrives."""

from typing import Any

import orjson

from apimachinery import meta
from scheduler.affinity import PodAffinityTerm, WeightedTerm, affinity_terms, weighted_terms
from scheduler.resources import Requests, container_statuses

Object = dict[str, Any]
HostPort = tuple[str, str, int]  # (address, protocol, port)

#: What decides how well a pod fits a node by itself, other pods' places aside: pods that agree on it are alike.
_SHAPE_FIELDS = ("nodeName", "nodeSelector", "tolerations", "overhead")
_CONTAINER_FIELDS = ("resources", "ports", "image", "restartPolicy")


class PodInfo:
    """One pod. What decisions depend on never changes: a change that matters makes a new one."""

    __slots__ = (
        "_shape",
        "_terms",
        "deleting",
        "key",
        "labels",
        "name",
        "namespace",
        "node_name",
        "pod",
        "ports",
        "priority",
        "requests",
        "spec",
        "uid",
    )

    def __init__(self, pod: Object) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        self.pod, self.spec = pod, spec
        self.name: str = metadata["name"]
        self.namespace: str = metadata.get("namespace", "")
        self.key = f"{self.namespace}/{self.name}"
        self.uid: str = metadata["uid"]
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.deleting = "deletionTimestamp" in metadata
        self.priority: int = spec.get("priority") or 0
        self.node_name: str = spec.get("nodeName") or ""
        self.requests = Requests(spec, container_statuses(pod) if self.node_name else None)
        self.ports: tuple[HostPort, ...] = host_ports(spec)
        self._shape: bytes | None = None
        self._terms: tuple[list[Any], ...] | None = None

    def __repr__(self) -> str:
        return f"PodInfo({self.key})"

    @property
    def nominated_node(self) -> str:
        return (self.pod.get("status") or {}).get("nominatedNodeName") or ""

    @property
    def gates(self) -> list[str]:
        return [gate["name"] for gate in self.spec.get("schedulingGates") or ()]

    @property
    def shape(self) -> bytes:
        """Equal for pods that every node suits equally well; replicas of one workload share it."""
        if self._shape is None:
            spec = self.spec
            seen: list[Any] = [spec.get(field) for field in _SHAPE_FIELDS]
            seen.append((spec.get("affinity") or {}).get("nodeAffinity"))
            for kind in ("containers", "initContainers"):
                seen.append([[c.get(field) for field in _CONTAINER_FIELDS] for c in spec.get(kind) or ()])
            self._shape = orjson.dumps(seen, option=orjson.OPT_SORT_KEYS)
        return self._shape

    @property
    def has_affinity(self) -> bool:
        """Says something about other pods, required or preferred."""
        affinity = self.spec.get("affinity")
        return bool(affinity) and bool(affinity.get("podAffinity") or affinity.get("podAntiAffinity"))

    def _parse_terms(self) -> tuple[list[Any], ...]:
        if self._terms is None:
            affinity = self.spec.get("affinity") or {}
            self._terms = (
                affinity_terms(self, affinity.get("podAffinity")),
                affinity_terms(self, affinity.get("podAntiAffinity")),
                weighted_terms(self, affinity.get("podAffinity")),
                weighted_terms(self, affinity.get("podAntiAffinity")),
            )
        return self._terms

    @property
    def required_affinity(self) -> list[PodAffinityTerm]:
        return self._parse_terms()[0]

    @property
    def required_anti_affinity(self) -> list[PodAffinityTerm]:
        return self._parse_terms()[1]

    @property
    def preferred_affinity(self) -> list[WeightedTerm]:
        return self._parse_terms()[2]

    @property
    def preferred_anti_affinity(self) -> list[WeightedTerm]:
        return self._parse_terms()[3]

    @property
    def attracts(self) -> bool:
        """Its terms count when nodes are compared for another pod (those that only forbid do not)."""
        return bool(self.required_affinity or self.preferred_affinity or self.preferred_anti_affinity)

    @property
    def start_time(self) -> float:
        """When the kubelet started it; a pod that has not started yet counts as starting last."""
        started = (self.pod.get("status") or {}).get("startTime")
        return meta.parse_time(started) if started else float("inf")

    def same_to_others(self, other: "PodInfo") -> bool:
        """Does the other (a later state of the pod) leave its node and all other pods where they were?"""
        return (
            self.node_name == other.node_name
            and self.deleting == other.deleting
            and self.priority == other.priority
            and self.labels == other.labels
            and self.ports == other.ports
            and self.requests == other.requests
            and self.spec.get("affinity") == other.spec.get("affinity")
        )

    def on(self, node_name: str) -> "PodInfo":
        """This pod as it will be once it is bound to ``node_name``."""
        twin = PodInfo.__new__(PodInfo)
        for field in PodInfo.__slots__:
            setattr(twin, field, getattr(self, field))
        twin.node_name = node_name
        return twin


def host_ports(spec: Object) -> tuple[HostPort, ...]:
    """The ports of the node that the pod's long-running containers take."""
    found = []
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            if number := port.get("hostPort"):
                found.append((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", number))
    return tuple(found)
