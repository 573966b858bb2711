"""A pod's status, computed from its spec, its last status, what the runtime shows and what the probes found.

Pure, and upstream's rules: ``getPhase``, ``convertToAPIContainerStatuses``, ``Generate*Condition``. Nothing is reported
that was not observed, and a terminal phase stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from kubelet.cri.api import ContainerState
from kubelet.cri.api import ContainerStatus as RuntimeContainer
from kubelet.pods import spec
from kubelet.pods.actions import should_restart
from kubelet.pods.failures import Failure
from kubelet.pods.labels import restart_count
from kubelet.pods.observed import ObservedPod
from kubelet.probes.results import Kind, Results

Object = dict[str, Any]

_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
_GONE = "The container could not be located when the pod was {}.  The container used to be Running"


@dataclass(slots=True)
class Inputs:
    """All that a status depends on besides the pod and the runtime.

    ``failures``: container name -> its last failed start. ``rejected``: (reason, message) when the
    pod was refused or ran out of time. ``runtime`` is the scheme of container IDs. ``terminating``: its containers are
    being stopped for good.
    """

    now: str
    host_ips: list[str]
    runtime: str
    probes: Results
    failures: Mapping[str, Failure] = field(default_factory=dict)
    rejected: tuple[str, str] | None = None
    terminating: bool = False


def generate(pod: Object, observed: ObservedPod, inputs: Inputs) -> Object:
    """The whole ``status``; what others own in it (qosClass, foreign conditions, nominatedNodeName) is kept."""
    old = pod.get("status") or {}
    status: Object = {k: v for k, v in old.items() if k not in ("reason", "message")}
    if old.get("phase") in ("Succeeded", "Failed"):
        status.update({k: old[k] for k in ("reason", "message") if k in old})
    status["conditions"] = [dict(c) for c in old.get("conditions") or []]
    status.setdefault("startTime", inputs.now)
    status["hostIP"] = inputs.host_ips[0]
    status["hostIPs"] = [{"ip": ip} for ip in inputs.host_ips]
    _set_pod_ips(pod, observed, inputs, status)
    for field_, containers in (
        ("initContainerStatuses", spec.init_containers(pod)),
        ("containerStatuses", spec.containers(pod)),
        ("ephemeralContainerStatuses", spec.ephemeral_containers(pod)),
    ):
        if containers:
            status[field_] = _container_statuses(pod, containers, observed, inputs, old.get(field_) or [])
    _set_ready(pod, status, observed, inputs)
    if inputs.rejected:
        status["phase"], (status["reason"], status["message"]) = "Failed", inputs.rejected
        if not observed.containers and not old.get("containerStatuses"):
            for field_ in ("initContainerStatuses", "containerStatuses"):
                status.pop(field_, None)
    elif old.get("phase") in ("Succeeded", "Failed"):
        status["phase"] = old["phase"]
    else:
        status["phase"] = phase(pod, status, terminal=inputs.terminating)
    _set_conditions(pod, status, observed, inputs)
    return status


def _set_pod_ips(pod: Object, observed: ObservedPod, inputs: Inputs, status: Object) -> None:
    ready = observed.ready_sandboxes
    if not ready:
        return  # a pod that ended keeps the address that it had
    ips = observed.ips
    if not ips:
        # On the host's network: the node's address, which is known once the sandbox stands.
        ips = inputs.host_ips
    status["podIP"] = ips[0]
    status["podIPs"] = [{"ip": ip} for ip in ips]


# --- containers -------------------------------------------------------------------------------------------------


def _container_statuses(
    pod: Object, containers: list[Object], observed: ObservedPod, inputs: Inputs, old: list[Object]
) -> list[Object]:
    earlier = {s["name"]: s for s in old}
    return [_container_status(pod, c, observed, inputs, earlier.get(c["name"])) for c in containers]


def _container_status(
    pod: Object, container: Object, observed: ObservedPod, inputs: Inputs, old: Object | None
) -> Object:
    name = container["name"]
    seen = observed.containers_named(name)
    if not seen:
        status = _unseen(pod, container, inputs, old)
    else:
        status = _converted(container, seen[0], inputs)
        if len(seen) > 1 and seen[1].state is ContainerState.EXITED:
            status["lastState"] = {"terminated": _terminated(seen[1], inputs.runtime)}
        elif old and restart_count(seen[0]) and old.get("restartCount") == status["restartCount"]:
            status["lastState"] = old.get("lastState") or {}
    failure = inputs.failures.get(name)
    if failure and not inputs.terminating and should_restart(container, pod, observed):
        if "terminated" in status["state"]:
            status["lastState"] = {"terminated": status["state"]["terminated"]}
        waiting = {"reason": failure.reason, "message": failure.message}
        status["state"] = {"waiting": {k: v for k, v in waiting.items() if v}}
    return status


def _converted(container: Object, seen: RuntimeContainer, inputs: Inputs) -> Object:
    status: Object = {
        "name": container["name"],
        "state": {},
        "lastState": {},
        "ready": False,
        "restartCount": restart_count(seen),
        "image": seen.image or container.get("image", ""),
        "imageID": seen.image_ref,
        "containerID": f"{inputs.runtime}://{seen.id}",
        "started": False,
    }
    if seen.state is ContainerState.RUNNING:
        status["state"] = {"running": {"startedAt": meta.format_time(seen.started_at / 1e9)}}
    elif seen.state is ContainerState.EXITED:
        status["state"] = {"terminated": _terminated(seen, inputs.runtime)}
    else:
        status["state"] = {"waiting": {"reason": "ContainerCreating"}}
    return status


def _terminated(seen: RuntimeContainer, runtime: str) -> Object:
    reason = seen.reason or ("Completed" if seen.exit_code == 0 else "Error")
    found: Object = {
        "exitCode": seen.exit_code,
        "reason": reason,
        "startedAt": meta.format_time(seen.started_at / 1e9) if seen.started_at else None,
        "finishedAt": meta.format_time(seen.finished_at / 1e9) if seen.finished_at else None,
        "containerID": f"{runtime}://{seen.id}",
    }
    if seen.message:
        found["message"] = seen.message
    return found


def _unseen(pod: Object, container: Object, inputs: Inputs, old: Object | None) -> Object:
    """The runtime has no such container: not yet, or no more."""
    waiting = "PodInitializing" if spec.init_containers(pod) else "ContainerCreating"
    status: Object = {
        "name": container["name"],
        "state": {"waiting": {"reason": waiting}},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": container.get("image", ""),
        "imageID": "",
        "started": False,
    }
    if old is None:
        return status
    status["restartCount"], status["lastState"] = old.get("restartCount", 0), old.get("lastState") or {}
    state = old.get("state") or {}
    if "terminated" in state:
        # Removed after it ended: what was reported of it stays true.
        return {**status, **{k: old[k] for k in ("state", "imageID", "containerID", "image") if k in old}}
    if "running" in state:
        deleted = spec.is_deleting(pod) or inputs.terminating
        gone = {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": _GONE.format("deleted" if deleted else "terminated"),
            "startedAt": None,
            "finishedAt": None,
        }
        if deleted or spec.restart_policy(pod) == "Never":
            status["state"] = {"terminated": gone}
        else:
            status["lastState"], status["restartCount"] = {"terminated": gone}, status["restartCount"] + 1
    return status


def _set_ready(pod: Object, status: Object, observed: ObservedPod, inputs: Inputs) -> None:
    """``started`` and ``ready`` of each container, by its probes."""
    for field_ in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(field_) or []:
            container = spec.container_named(pod, entry["name"])
            seen = observed.container(entry["name"])
            if container is None:
                continue
            running = "running" in entry["state"] and seen is not None
            started = ready = False
            if running and seen is not None:
                started = not container.get("startupProbe") or bool(inputs.probes.get(Kind.STARTUP, seen.id))
                ready = started and (
                    not container.get("readinessProbe") or bool(inputs.probes.get(Kind.READINESS, seen.id))
                )
            if field_ == "initContainerStatuses" and not spec.is_sidecar(container):
                ready = entry["state"].get("terminated", {}).get("exitCode") == 0
            entry["started"], entry["ready"] = started, ready


# --- phase ------------------------------------------------------------------------------------------------------


def phase(pod: Object, status: Object, *, terminal: bool = False) -> str:
    """``terminal``: nothing of the pod will run again, whatever its restart policy says."""
    by_name = {s["name"]: s for s in status.get("initContainerStatuses") or []}
    pending, failed = 0, 0
    for container in spec.init_containers(pod):
        waits, broke = _init_step(container, by_name.get(container["name"]))
        pending, failed = pending + waits, failed + broke
    if failed and spec.restart_policy(pod) == "Never":
        return "Failed"
    counts = _count(pod, status)
    started = counts["running"] + counts["stopped"]
    if terminal and not counts["running"] and not started and pending:
        return "Failed"
    if pending and not started:
        return "Pending"
    if counts["waiting"] and not terminal:
        return "Pending"
    if counts["running"]:
        return "Running"
    if counts["stopped"]:
        if terminal or spec.restart_policy(pod) == "Never":
            return "Succeeded" if counts["stopped"] == counts["succeeded"] and not counts["waiting"] else "Failed"
        if spec.restart_policy(pod) == "Always":
            return "Running"
        return "Succeeded" if counts["stopped"] == counts["succeeded"] else "Running"
    return "Failed" if terminal and counts["waiting"] else "Pending"


def _init_step(container: Object, status: Object | None) -> tuple[int, int]:
    """(waits, failed) for one init container, each 0 or 1."""
    if status is None:
        return 1, 0
    state = status.get("state") or {}
    if spec.is_sidecar(container):
        return (0, 0) if status.get("started") or "terminated" in state else (1, 0)
    if "terminated" in state:
        return 0, int(state["terminated"]["exitCode"] != 0)
    last = (status.get("lastState") or {}).get("terminated")
    if "waiting" in state and last and last["exitCode"] != 0:
        return 1, 1
    return 1, 0


def _count(pod: Object, status: Object) -> dict[str, int]:
    by_name = {s["name"]: s for s in status.get("containerStatuses") or []}
    counts = {"running": 0, "waiting": 0, "stopped": 0, "succeeded": 0}
    for container in spec.containers(pod):
        state = (by_name.get(container["name"]) or {}).get("state") or {}
        last = ((by_name.get(container["name"]) or {}).get("lastState") or {}).get("terminated")
        if "running" in state:
            counts["running"] += 1
        elif "terminated" in state:
            counts["stopped"] += 1
            counts["succeeded"] += state["terminated"]["exitCode"] == 0
        elif last:
            counts["stopped"] += 1  # between two runs
        else:
            counts["waiting"] += 1
    return counts


# --- conditions -------------------------------------------------------------------------------------------------


def _set_conditions(pod: Object, status: Object, observed: ObservedPod, inputs: Inputs) -> None:
    has_sandbox = bool(observed.ready_sandboxes)
    conditions = [
        {"type": "PodReadyToStartContainers", "status": "True" if has_sandbox else "False"},
        _initialized(pod, status),
        *_ready(pod, status),
    ]
    generation = pod["metadata"].get("generation")
    for condition in conditions:
        if generation and "observedGeneration" in (pod.get("status") or {}):
            condition["observedGeneration"] = generation
        condition.setdefault("lastProbeTime", None)
        meta.set_condition(status, condition, inputs.now)
    if not any(c["type"] == "PodScheduled" for c in status["conditions"]):
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        meta.set_condition(status, scheduled, inputs.now)
    order = {name: i for i, name in enumerate(_CONDITIONS)}
    status["conditions"].sort(key=lambda c: order.get(c["type"], len(order)))


def _initialized(pod: Object, status: Object) -> Object:
    if status["phase"] == "Succeeded":
        return {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
    by_name = {s["name"]: s for s in status.get("initContainerStatuses") or []}
    started = any(
        "running" in (s.get("state") or {}) or "terminated" in (s.get("state") or {})
        for s in status.get("containerStatuses") or []
    )
    incomplete = []
    for container in spec.init_containers(pod):
        entry = by_name.get(container["name"])
        done = entry is not None and (entry["started"] if spec.is_sidecar(container) else entry["ready"])
        if not done and not (started and not spec.is_sidecar(container)):
            incomplete.append(container["name"])
    if incomplete and not started:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        return {"type": "Initialized", "status": "False", "reason": "ContainersNotInitialized", "message": message}
    return {"type": "Initialized", "status": "True"}


def _ready(pod: Object, status: Object) -> list[Object]:
    containers_ready = _containers_ready(pod, status)
    if containers_ready["status"] != "True":
        return [{**containers_ready, "type": "Ready"}, containers_ready]
    missing = []
    found = {c["type"]: c["status"] for c in status["conditions"]}
    for gate in pod["spec"].get("readinessGates") or []:
        name = gate["conditionType"]
        if name not in found:
            missing.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif found[name] != "True":
            missing.append(f'the status of pod readiness gate "{name}" is not "True", but {found[name]}')
    if missing:
        message = ", ".join(missing)
        ready = {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": message}
        return [ready, containers_ready]
    return [{"type": "Ready", "status": "True"}, containers_ready]


def _containers_ready(pod: Object, status: Object) -> Object:
    condition = {"type": "ContainersReady", "status": "False"}
    if status["phase"] == "Succeeded":
        return {**condition, "reason": "PodCompleted"}
    if status["phase"] == "Failed":
        return {**condition, "reason": "PodFailed"}
    by_name = {s["name"]: s for s in (status.get("initContainerStatuses") or [])}
    by_name.update({s["name"]: s for s in (status.get("containerStatuses") or [])})
    unready, unknown = [], []
    for container in (*(c for c in spec.init_containers(pod) if spec.is_sidecar(c)), *spec.containers(pod)):
        entry = by_name.get(container["name"])
        if entry is None:
            unknown.append(container["name"])
        elif not entry["ready"]:
            unready.append(container["name"])
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: [{' '.join(unknown)}]")
    if unready:
        messages.append(f"containers with unready status: [{' '.join(unready)}]")
    if messages:
        return {**condition, "reason": "ContainersNotReady", "message": ", ".join(messages)}
    return {**condition, "status": "True"}
