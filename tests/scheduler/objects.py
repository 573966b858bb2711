"""Pods, nodes and a small cluster to ask the scheduler about."""

import random
from typing import Any

from scheduler.algorithm import Algorithm
from scheduler.cache import Cache
from scheduler.diagnosis import Unschedulable
from scheduler.framework import Plugin
from scheduler.nominator import Nominator
from scheduler.plugins import default_plugins
from scheduler.pod import PodInfo

Object = dict[str, Any]


def node(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    taints: list[Object] | None = None,
    images: Any = None,
    **more: Any,
) -> Object:
    """``more``: allocatable resources by name (``cpu="4"``) and ``unschedulable=True``."""
    spec: Object = {}
    if more.pop("unschedulable", False):
        spec["unschedulable"] = True
    if taints:
        spec["taints"] = taints
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "50Gi", **more}
    status: Object = {"allocatable": allocatable}
    if images:
        status["images"] = images
    labels = {"kubernetes.io/hostname": name, **(labels or {})}
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": status,
    }


def pod(
    name: str,
    *,
    namespace: str = "default",
    labels: dict[str, str] | None = None,
    requests: dict[str, str] | None = None,
    node_name: str = "",
    image: str = "web:1",
    status: Object | None = None,
    **spec: Any,
) -> Object:
    container: Object = {"name": "c", "image": image}
    if requests:
        container["resources"] = {"requests": requests}
    if "ports" in spec:
        container["ports"] = spec.pop("ports")
    spec.setdefault("containers", [container])
    if node_name:
        spec["nodeName"] = node_name
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "labels": labels or {},
        "resourceVersion": "1",
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status or {}}


def info(name: str, **kwargs: Any) -> PodInfo:
    return PodInfo(pod(name, **kwargs))


class Cluster:
    """Nodes, pods on them, and the default profile to decide with."""

    def __init__(
        self, *nodes: Object, seed: int = 1, plugins: list[Plugin] | None = None, selectors: Any = None
    ) -> None:
        self.cache, self.nominator = Cache(), Nominator()
        self.plugins = plugins if plugins is not None else default_plugins(selectors)
        self.algorithm = Algorithm(self.cache, self.plugins, self.nominator, rng=random.Random(seed))
        for obj in nodes:
            self.cache.set_node(obj)

    def run(self, name: str, on: str, **kwargs: Any) -> PodInfo:
        """Puts a running pod on a node."""
        placed = info(name, node_name=on, **kwargs)
        self.cache.set_pod(placed)
        return placed

    def place(self, name: str, **kwargs: Any) -> str:
        """Decides for a pod and assumes it there; returns the node's name."""
        wanted = info(name, **kwargs)
        chosen = self.algorithm.decide(wanted).node.name
        self.cache.assume(wanted, chosen)
        return chosen

    def feasible(self, **kwargs: Any) -> set[str]:
        """Every node that would take the pod."""
        found = set()
        wanted = info("asking", **kwargs)
        for candidate in self.cache.nodes:
            if self.algorithm.reject_changed(wanted, candidate.copy()) is None:
                found.add(candidate.name)
        return found

    def refusal(self, name: str = "asking", **kwargs: Any) -> Unschedulable:
        try:
            chosen = self.algorithm.decide(info(name, **kwargs))
        except Unschedulable as failure:
            return failure
        raise AssertionError(f"the pod fits on {chosen.node.name}")
