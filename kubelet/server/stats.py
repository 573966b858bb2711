"""Numbers: ``/metrics``, ``/metrics/resource`` (what metrics-server reads) and ``/stats/summary``."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from apimachinery.meta import format_time
from kubelet.cri.api import ContainerState, ContainerStats
from kubelet.node import machine
from kubelet.pods.labels import POD_NAME, POD_NAMESPACE, container_name, pod_uid

if TYPE_CHECKING:
    from kubelet.agent import Kubelet

Handler = Callable[[Request], Awaitable[Response]]
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def _labels(**values: str) -> str:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for k, v in values.items()}
    return "{" + ",".join(f'{k}="{v}"' for k, v in escaped.items()) + "}"


def _node_cpu_seconds() -> float:
    """Of the machine, without idle time: one node is one machine, or shares it."""
    import os

    with open("/proc/stat", "rb") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _node_memory() -> int:
    memory = machine.meminfo()
    return memory["MemTotal"] - memory["MemAvailable"]


def resource_metrics(kubelet: "Kubelet") -> Handler:
    async def handler(request: Request) -> Response:
        cpu, memory, start = [], [], []
        by_pod: dict[tuple[str, str], list[float]] = {}
        for stats in await kubelet.runtime.list_container_stats():
            status = kubelet.cache.container(stats.id)
            if status is None:
                continue
            namespace, pod = status.labels.get(POD_NAMESPACE, ""), status.labels.get(POD_NAME, "")
            names = _labels(container=container_name(status), namespace=namespace, pod=pod)
            millis = stats.timestamp // 1_000_000
            seconds = stats.cpu_usage_nano_seconds / 1e9
            cpu.append(f"container_cpu_usage_seconds_total{names} {seconds:.9f} {millis}")
            memory.append(f"container_memory_working_set_bytes{names} {stats.memory_working_set_bytes} {millis}")
            start.append(f"container_start_time_seconds{names} {status.started_at / 1e9:.9f}")
            total = by_pod.setdefault((namespace, pod), [0.0, 0.0, millis])
            total[0], total[1] = total[0] + seconds, total[1] + stats.memory_working_set_bytes
        lines = ["# TYPE container_cpu_usage_seconds_total counter", *cpu]
        lines += ["# TYPE container_memory_working_set_bytes gauge", *memory]
        lines += ["# TYPE container_start_time_seconds gauge", *start]
        lines += ["# TYPE node_cpu_usage_seconds_total counter", f"node_cpu_usage_seconds_total {_node_cpu_seconds()}"]
        lines += ["# TYPE node_memory_working_set_bytes gauge", f"node_memory_working_set_bytes {_node_memory()}"]
        lines.append("# TYPE pod_cpu_usage_seconds_total counter")
        for (namespace, pod), (seconds, _, at) in by_pod.items():
            lines.append(f"pod_cpu_usage_seconds_total{_labels(namespace=namespace, pod=pod)} {seconds:.9f} {at:.0f}")
        lines.append("# TYPE pod_memory_working_set_bytes gauge")
        for (namespace, pod), (_, used, at) in by_pod.items():
            lines.append(f"pod_memory_working_set_bytes{_labels(namespace=namespace, pod=pod)} {used:.0f} {at:.0f}")
        lines += ["# TYPE resource_scrape_error gauge", "resource_scrape_error 0", ""]
        return Response("\n".join(lines), media_type=_TEXT)

    return handler


def metrics(kubelet: "Kubelet") -> Handler:
    async def handler(request: Request) -> Response:
        # Imported on the first scrape: most nodes of a short-lived cluster are never scraped.
        from prometheus_client import generate_latest

        running = kubelet.cache.running()
        pods = len({pod_uid(c) for c in running})
        own = [
            "# TYPE kubelet_running_pods gauge",
            f"kubelet_running_pods {pods}",
            "# TYPE kubelet_running_containers gauge",
            f'kubelet_running_containers{{container_state="running"}} {len(running)}',
            "# TYPE kubelet_node_name gauge",
            f"kubelet_node_name{_labels(node=kubelet.options.node_name)} 1",
            "",
        ]
        return Response(generate_latest() + "\n".join(own).encode(), media_type=_TEXT)

    return handler


def summary(kubelet: "Kubelet") -> Handler:
    async def handler(request: Request) -> Response:
        stats = {s.id: s for s in await kubelet.runtime.list_container_stats()}
        room = machine.room(kubelet.layout.root)
        disk = {
            "availableBytes": room.available["nodefs.available"],
            "capacityBytes": room.capacity["nodefs.available"],
            "usedBytes": room.capacity["nodefs.available"] - room.available["nodefs.available"],
        }
        node: dict[str, Any] = {
            "nodeName": kubelet.options.node_name,
            "cpu": {"usageCoreNanoSeconds": int(_node_cpu_seconds() * 1e9)},
            "memory": {"availableBytes": room.available["memory.available"], "workingSetBytes": _node_memory()},
            "fs": disk,
        }
        pods = kubelet.workers.pods() if kubelet.workers is not None else []
        found = [_pod_summary(kubelet, pod, stats) for pod in pods]
        return Response(orjson.dumps({"node": node, "pods": found}), media_type="application/json")

    return handler


def _pod_summary(kubelet: "Kubelet", pod: dict[str, Any], stats: dict[str, ContainerStats]) -> dict[str, Any]:
    meta = pod["metadata"]
    containers, cpu, memory = [], 0, 0
    for container in kubelet.cache.pod(meta["uid"]).containers:
        seen = stats.get(container.id)
        if container.state is not ContainerState.RUNNING or seen is None:
            continue
        cpu, memory = cpu + seen.cpu_usage_nano_seconds, memory + seen.memory_working_set_bytes
        at = format_time(seen.timestamp / 1e9)
        containers.append(
            {
                "name": container_name(container),
                "startTime": format_time(container.started_at / 1e9),
                "cpu": {"time": at, "usageCoreNanoSeconds": seen.cpu_usage_nano_seconds},
                "memory": {"time": at, "workingSetBytes": seen.memory_working_set_bytes},
            }
        )
    return {
        "podRef": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
        "startTime": (pod.get("status") or {}).get("startTime"),
        "containers": containers,
        "cpu": {"usageCoreNanoSeconds": cpu},
        "memory": {"workingSetBytes": memory},
    }
