"""Requests and limits, as the kernel is told of them: shares, quota, bytes, oom_score_adj."""

from collections.abc import Iterable
from typing import Any

from apimachinery import quantity
from kubelet.cri.api import LinuxResources
from kubelet.pods import spec

Object = dict[str, Any]

PERIOD = 100_000  # microseconds: CFS' and upstream's default
_MIN_SHARES, _MAX_SHARES, _MIN_QUOTA = 2, 262144, 1000
GUARANTEED_OOM, BEST_EFFORT_OOM = -997, 1000
_CRITICAL_PRIORITY = 2_000_000_000


def requests(container: Object) -> dict[str, str]:
    """What is reserved for it: what is not asked for but limited is asked for up to the limit."""
    resources = container.get("resources") or {}
    return {**(resources.get("limits") or {}), **(resources.get("requests") or {})}


def limits(container: Object) -> dict[str, str]:
    return (container.get("resources") or {}).get("limits") or {}


def shares(milli_cpu: int) -> int:
    return min(max(milli_cpu * 1024 // 1000, _MIN_SHARES), _MAX_SHARES)


def quota(milli_cpu: int) -> int:
    return max(milli_cpu * PERIOD // 1000, _MIN_QUOTA) if milli_cpu else 0


def qos_class(pod: Object) -> str:
    """The pod's quality of service; the API server's word when it has been said."""
    said = (pod.get("status") or {}).get("qosClass")
    if said:
        return said
    any_set, guaranteed = False, True
    for container in (*spec.init_containers(pod), *spec.containers(pod)):
        asked, limited = requests(container), limits(container)
        for name in ("cpu", "memory"):
            a, b = quantity.milli(asked.get(name, "0")), quantity.milli(limited.get(name, "0"))
            any_set = any_set or bool(a or b)
            guaranteed = guaranteed and a == b != 0
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def oom_score_adj(pod: Object, container: Object, memory_capacity: int) -> int:
    """Who dies first when memory ends: who asked for least of what it uses."""
    if (pod["spec"].get("priority") or 0) >= _CRITICAL_PRIORITY:
        return GUARANTEED_OOM
    qos = qos_class(pod)
    if qos == "Guaranteed":
        return GUARANTEED_OOM
    if qos == "BestEffort":
        return BEST_EFFORT_OOM
    asked = quantity.value(requests(container).get("memory", "0"))
    score = 1000 - 1000 * asked // memory_capacity
    return min(max(score, 1000 + GUARANTEED_OOM), BEST_EFFORT_OOM - 1)


def linux_resources(pod: Object, container: Object, memory_capacity: int) -> LinuxResources:
    limited = limits(container)
    cpu_limit = quantity.milli(limited.get("cpu", "0"))
    cpu_request = quantity.milli(requests(container).get("cpu", "0"))
    return LinuxResources(
        cpu_period=PERIOD,
        cpu_quota=quota(cpu_limit),
        cpu_shares=shares(cpu_request),
        memory_limit_in_bytes=quantity.value(limited.get("memory", "0")),
        oom_score_adj=oom_score_adj(pod, container, memory_capacity),
    )


def pod_requests(pod: Object) -> dict[str, int]:
    """What the whole pod reserves, cpu in thousandths, the rest in units: what runs together, or the greediest init step."""

    def amounts(containers: Iterable[Object]) -> dict[str, int]:
        total: dict[str, int] = {}
        for container in containers:
            for name, text in requests(container).items():
                total[name] = total.get(name, 0) + _amount(name, text)
        return total

    init = spec.init_containers(pod)
    sidecars = [c for c in init if spec.is_sidecar(c)]
    total = amounts([*spec.containers(pod), *sidecars])
    beside: list[Object] = []
    for container in init:
        if spec.is_sidecar(container):
            beside.append(container)
            continue
        for name, amount in amounts([container, *beside]).items():
            total[name] = max(total.get(name, 0), amount)
    for name, text in (pod["spec"].get("overhead") or {}).items():
        total[name] = total.get(name, 0) + _amount(name, text)
    return total


def _amount(name: str, text: str) -> int:
    return quantity.milli(text) if name == "cpu" else quantity.value(text)
