"""Pods: the strategy, and what a row of ``kubectl get pods`` says."""

from collections.abc import Callable, Sequence
from typing import Any

from apimachinery import duration, errors, meta
from apimachinery.errors import FieldError
from apimachinery.table import Column
from apiserver.registry import objectmeta
from apiserver.registry.pod_defaults import default_pod
from apiserver.registry.pod_rules import validate_new_pod, validate_pod
from apiserver.registry.pod_status import validate_pod_status
from apiserver.registry.pod_subresources import (
    bind,
    keep_all_but_ephemeral_containers,
    keep_all_but_resources,
    validate_binding,
    validate_ephemeral_containers_update,
    validate_resize,
)
from apiserver.registry.pod_update import validate_pod_update
from apiserver.registry.qos import qos_class
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

__all__ = ["PodStrategy", "bind", "pod_warnings", "validate_binding"]

_COLUMNS = (
    NAME,
    Column("Ready", description="The aggregate readiness state of this pod for accepting traffic."),
    Column("Status", description="The aggregate status of the containers in this pod."),
    Column(
        "Restarts",
        description="The number of times the containers in this pod have been restarted and when the last container "
        "in this pod has restarted.",
    ),
    AGE,
    Column(
        "IP",
        description="podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
        priority=1,
    ),
    Column(
        "Node",
        description="NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for "
        "scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node "
        "becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the "
        "pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
        priority=1,
    ),
    Column(
        "Nominated Node",
        description="nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be "
        "scheduled right away as preemption victims receive their graceful termination periods. This field does not "
        "guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if "
        "other nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher "
        "priority pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName "
        "when the pod is scheduled.",
        priority=1,
    ),
    Column(
        "Readiness Gates",
        description="If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its "
        "containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" "
        "More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
        priority=1,
    ),
)  # fmt: skip


class PodStrategy(Strategy):
    columns = _COLUMNS
    has_status = True
    has_generation = True
    selectable = (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    )

    def default(self, obj: Object) -> None:
        default_pod(obj)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            obj["status"]["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": None,
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        # Deletion timestamps and owners are not the kubelet's to change.
        for field in ("deletionTimestamp", "ownerReferences"):
            if field in old["metadata"]:
                new["metadata"][field] = old["metadata"][field]
            else:
                new["metadata"].pop(field, None)
        status = new.setdefault("status", {})
        status.setdefault("qosClass", (old.get("status") or {}).get("qosClass") or qos_class(new["spec"]))
        addresses = status.get("podIPs") or []
        if status.get("podIP") and not addresses:
            status["podIPs"] = [{"ip": status["podIP"]}]
        elif addresses and not status.get("podIP"):
            status["podIP"] = addresses[0].get("ip", "")

    def before_ephemeral_containers_update(self, new: Object, old: Object) -> None:
        """``/ephemeralcontainers``: ``kubectl debug``."""
        self._before_subresource(new, old, keep_all_but_ephemeral_containers, validate_ephemeral_containers_update)

    def before_resize(self, new: Object, old: Object) -> None:
        """``/resize``: other resources for running containers."""
        self._before_subresource(new, old, keep_all_but_resources, validate_resize)

    def _before_subresource(
        self,
        new: Object,
        old: Object,
        keep: Callable[[Object, Object], None],
        validate: Callable[[Object, Object], list[FieldError]],
    ) -> None:
        self._carry_over(new, old)
        keep(new, old)
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        self._refuse(new, objectmeta.validate_update(new["metadata"], old["metadata"]) + validate(new, old))

    def validate(self, obj: Object) -> list[FieldError]:
        return super().validate(obj) + validate_new_pod(obj)

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_pod(obj)

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_pod_update(new, old)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_pod_status(new, old)

    def warnings(self, obj: Object, old: Object | None = None) -> list[str]:
        return pod_warnings(obj.get("spec") or {}, "spec")

    def grace_period(self, obj: Object, requested: int | None) -> int | None:
        """What ends a pod: the request's period, else its own; at once when it runs nowhere or is over."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        period = requested if requested is not None else spec.get("terminationGracePeriodSeconds", 30)
        if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
            return 0
        return 1 if period < 0 else period

    def check_field_label(self, label: str) -> str:
        if label == "spec.host":
            return "spec.nodeName"
        return super().check_field_label(label)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        addresses = status.get("podIPs") or []
        return {
            "metadata.name": metadata.get("name", ""),
            "metadata.namespace": metadata.get("namespace", ""),
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.restartPolicy": spec.get("restartPolicy", ""),
            "spec.schedulerName": spec.get("schedulerName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase", ""),
            "status.podIP": addresses[0].get("ip", "") if addresses else status.get("podIP", ""),
            "status.podIPs": addresses[0].get("ip", "") if addresses else status.get("podIP", ""),
            "status.nominatedNodeName": status.get("nominatedNodeName", ""),
        }

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        ready, total, reason, restarts = _summary(obj, now)
        addresses = status.get("podIPs") or []
        return [
            obj["metadata"].get("name", ""),
            f"{ready}/{total}",
            reason,
            restarts,
            self.age(obj, now),
            (addresses[0].get("ip") if addresses else status.get("podIP")) or "<none>",
            spec.get("nodeName") or "<none>",
            status.get("nominatedNodeName") or "<none>",
            _readiness_gates(obj),
        ]

    def row_conditions(self, obj: Object) -> Sequence[Object]:
        return _OVER.get((obj.get("status") or {}).get("phase", ""), ())


_OVER = {
    phase: ({"type": "Completed", "status": "True", "reason": phase, "message": message},)
    for phase, message in (("Succeeded", "The pod has completed successfully."), ("Failed", "The pod failed."))
}


# --- printing ---------------------------------------------------------------------------------------------------


def _summary(pod: Object, now: float) -> tuple[int, int, str, str]:
    """Ready containers, all containers, STATUS and RESTARTS, as upstream's printPod finds them."""
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    phase = status.get("phase", "")
    reason = status.get("reason") or phase
    if any(
        c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in status.get("conditions") or ()
    ):
        reason = "SchedulingGated"
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready, initializing = 0, False
    restarts, last = 0, ""
    sidecar_restarts, sidecar_last = 0, ""
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        restarts += container.get("restartCount", 0)
        last = max(last, _last_finish(container))
        sidecar = container.get("name") in sidecars
        if sidecar:
            sidecar_restarts += container.get("restartCount", 0)
            sidecar_last = max(sidecar_last, _last_finish(container))
        state = container.get("state") or {}
        terminated = state.get("terminated")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        reason, initializing = _init_reason(state, i, len(spec.get("initContainers") or ())), True
        break
    if not initializing or meta.condition_is_true(pod, "Initialized"):
        running = False
        restarts, last = sidecar_restarts, sidecar_last
        for container in reversed(status.get("containerStatuses") or ()):
            restarts += container.get("restartCount", 0)
            last = max(last, _last_finish(container))
            state = container.get("state") or {}
            found = _reason(state)
            if found:
                reason = found
            elif container.get("ready") and "running" in state:
                running = True
                ready += 1
        if reason == "Completed" and running:
            reason = "Running" if meta.condition_is_true(pod, "Ready") else "NotReady"
    if metadata.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Failed", "Succeeded"):
            reason = "Terminating"
    shown = f"{restarts} ({duration.age(last, now)} ago)" if restarts and last else str(restarts)
    return ready, total, reason, shown


def _last_finish(container: Object) -> str:
    """When the container's previous run ended; times in one form compare as text."""
    return ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""


def _reason(state: Object) -> str:
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if waiting is not None and waiting.get("reason"):
        return waiting["reason"]
    if terminated is None:
        return ""
    if terminated.get("reason"):
        return terminated["reason"]
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_reason(state: Object, index: int, count: int) -> str:
    if state.get("terminated") is not None:
        return "Init:" + _reason({"terminated": state["terminated"]})
    waiting = (state.get("waiting") or {}).get("reason")
    if waiting and waiting != "PodInitializing":
        return "Init:" + waiting
    return f"Init:{index}/{count}"


def _readiness_gates(pod: Object) -> str:
    gates = (pod.get("spec") or {}).get("readinessGates") or []
    if not gates:
        return "<none>"
    true = sum(meta.condition_is_true(pod, g.get("conditionType", "")) for g in gates)
    return f"{true}/{len(gates)}"


# --- warnings ---------------------------------------------------------------------------------------------------


def pod_warnings(spec: Object, path: str) -> list[str]:
    """What upstream warns of in a pod spec that it accepts."""
    found: list[str] = []
    for i, container in enumerate(spec.get("containers") or ()):
        seen: set[str] = set()
        for j, variable in enumerate(container.get("env") or ()):
            name = variable.get("name", "")
            if name in seen:
                where = f"{path}.containers[{i}].env[{j}]"
                found.append(
                    f"{where}: hides previous definition of {errors.quote(name)}, which may be dropped when using apply"
                )
            seen.add(name)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        found.append(
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    return found
