"""How fast the scheduler's pure core decides: no API server, no sockets.

    python benchmarks/scheduler.py [--nodes 100,1000] [--pods 1000]

Prints decisions a second of CPU and microseconds a decision, as the median of several runs, for replicas of one plain workload,
for pods that belong to a Service (default spreading), for pods that all differ, and for hard constraints.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apimachinery.selectors import Selector, from_set
from scheduler.algorithm import Algorithm
from scheduler.cache import Cache
from scheduler.nominator import Nominator
from scheduler.plugins import default_plugins
from scheduler.pod import PodInfo

Object = dict[str, Any]


def node(number: int) -> Object:
    labels = {"kubernetes.io/hostname": f"node-{number}", "topology.kubernetes.io/zone": f"zone-{number % 3}"}
    allocatable = {"cpu": "16", "memory": "64Gi", "pods": "250", "ephemeral-storage": "100Gi"}
    return {
        "metadata": {"name": f"node-{number}", "labels": labels},
        "spec": {},
        "status": {"allocatable": allocatable},
    }


def pod(number: int, **spec: Any) -> Object:
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    return {
        "metadata": {"name": f"pod-{number}", "namespace": "default", "uid": f"uid-{number}", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "web:1", "resources": resources}], **spec},
    }


class OneService:
    """Every pod belongs to the Service that selects app=web."""

    def selector(self, pod: PodInfo) -> Selector | None:
        return from_set({"app": "web"})


def differing(number: int) -> Object:
    return pod(number, tolerations=[{"key": f"k{number}", "operator": "Exists"}])


def spread(number: int) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    constraint = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    return pod(number, topologySpreadConstraints=[{**constraint, "labelSelector": selector}])


def repelling(number: int) -> Object:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "none"}}}
    return pod(number, affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})


WORKLOADS: dict[str, tuple[Callable[[int], Object], Any]] = {
    "replicas": (pod, None),
    "replicas of a Service": (pod, OneService()),
    "all different": (differing, None),
    "zone spread, hard": (spread, None),
    "anti-affinity": (repelling, None),
}


def run(nodes: int, pods: int, make: Callable[[int], Object], selectors: Any) -> float:
    """Seconds of CPU to place ``pods`` pods, parsing included."""
    cache = Cache()
    for number in range(nodes):
        cache.set_node(node(number))
    algorithm = Algorithm(cache, default_plugins(selectors), Nominator(), rng=random.Random(1))
    objects = [make(number) for number in range(pods)]
    start = time.process_time()
    for obj in objects:
        info = PodInfo(obj)
        cache.assume(info, algorithm.decide(info).node.name)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="100,1000")
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    for nodes in map(int, options.nodes.split(",")):
        for name, (make, selectors) in WORKLOADS.items():
            seconds = statistics.median(run(nodes, options.pods, make, selectors) for _ in range(options.runs))
            rate, each = options.pods / seconds, seconds / options.pods * 1e6
            print(f"{nodes:5d} nodes  {name:22s} {rate:8.0f} pods/s  {each:7.0f} us a pod")


if __name__ == "__main__":
    main()
