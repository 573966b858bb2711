"""The Node object as this kubelet fills it: capacity, addresses, system information and conditions. Pure functions."""

from typing import Any

from apimachinery import quantity
from kubelet.node.machine import Machine, Room

Object = dict[str, Any]

VERSION = "v1.33.0+minik8s"
_RESERVED_MEMORY = 100 << 20  # upstream's hard eviction threshold is not for pods to use
_MAX_IMAGES = 50

# condition type -> (signals, reason when there is pressure, reason when there is none, message, message)
_PRESSURES = {
    "MemoryPressure": (
        ("memory.available",),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ),
    "DiskPressure": (
        ("nodefs.available", "nodefs.inodesFree", "imagefs.available"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ),
    "PIDPressure": (
        ("pid.available",),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ),
}


def labels(machine: Machine, name: str, own: dict[str, str]) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        **own,
    }


def capacity(machine: Machine, max_pods: int) -> dict[str, str]:
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.disk // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{machine.memory // 1024}Ki",
        "pods": str(max_pods),
    }


def allocatable(machine: Machine, max_pods: int) -> dict[str, str]:
    found = capacity(machine, max_pods)
    found["memory"] = f"{max(0, machine.memory - _RESERVED_MEMORY) // 1024}Ki"
    found["ephemeral-storage"] = str(machine.disk // 1024 * 1024 * 9 // 10)
    return found


def addresses(name: str, ips: list[str]) -> list[Object]:
    return [*({"type": "InternalIP", "address": ip} for ip in ips), {"type": "Hostname", "address": name}]


def node_info(machine: Machine, runtime: tuple[str, str]) -> Object:
    return {
        "machineID": machine.machine_id,
        "systemUUID": machine.system_uuid,
        "bootID": machine.boot_id,
        "kernelVersion": machine.kernel,
        "osImage": machine.os_image,
        "containerRuntimeVersion": f"{runtime[0]}://{runtime[1]}",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": machine.architecture,
    }


def images(found: list[Any]) -> list[Object]:
    """The largest first, as the scheduler's ImageLocality wants them."""
    largest = sorted(found, key=lambda image: image.size, reverse=True)[:_MAX_IMAGES]
    return [{"names": [*i.repo_digests, *i.repo_tags], "sizeBytes": i.size} for i in largest if i.repo_tags]


def pressures(room: Room, thresholds: dict[str, str]) -> list[Object]:
    """MemoryPressure, DiskPressure and PIDPressure by the thresholds of ``--eviction-hard``."""
    found = []
    for type_, (signals, bad, good) in _PRESSURES.items():
        pressed = any(_below(room, signal, thresholds[signal]) for signal in signals if signal in thresholds)
        reason, message = bad if pressed else good
        found.append({"type": type_, "status": "True" if pressed else "False", "reason": reason, "message": message})
    return found


def _below(room: Room, signal: str, threshold: str) -> bool:
    if signal not in room.available or not room.capacity[signal]:
        return False
    if threshold.endswith("%"):
        return room.available[signal] * 100 < float(threshold[:-1]) * room.capacity[signal]
    return room.available[signal] < quantity.value(threshold)


def ready(problems: list[str]) -> Object:
    if problems:
        message = f"[{', '.join(problems)}]" if len(problems) > 1 else problems[0]
        return {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message}
    return {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}


def with_conditions(old: list[Object], new: list[Object], now: str) -> list[Object]:
    """``new`` with heartbeats and transition times; what others wrote into ``old`` stays."""
    before = {c["type"]: c for c in old}
    types = {c["type"] for c in new}
    found = [c for c in old if c["type"] not in types]
    for condition in new:
        earlier = before.get(condition["type"])
        same = earlier is not None and earlier.get("status") == condition["status"]
        since = earlier.get("lastTransitionTime", now) if earlier is not None and same else now
        found.append({**condition, "lastHeartbeatTime": now, "lastTransitionTime": since})
    return found


def changed(old: Object, new: Object) -> bool:
    """Whether anything but a heartbeat differs."""

    def still(status: Object) -> Object:
        conditions = [{k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status.get("conditions") or []]
        return {**status, "conditions": conditions}

    return still(old) != still(new)
