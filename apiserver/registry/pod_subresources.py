"""What ``pods/NAME/binding``, ``/ephemeralcontainers`` and ``/resize`` may change, which an update of the pod may not."""

from typing import Any

from apimachinery import errors, meta, quantity
from apimachinery.errors import FieldError, forbidden_field, invalid_value
from apiserver.registry.pod_annotations import MIRROR, validate_annotations_update
from apiserver.registry.pod_rules import validate_pod
from apiserver.registry.qos import qos_class

Object = dict[str, Any]

_RESIZABLE = ("cpu", "memory")


# --- binding ----------------------------------------------------------------------------------------------------


def bind(pod: Object, node: str, annotations: dict[str, str] | None = None, now: str | None = None) -> None:
    """Assigns the pod, once. Raises ValueError with upstream's words when it cannot be."""
    spec = pod["spec"]
    if pod["metadata"].get("deletionTimestamp"):
        raise ValueError(f"pod {pod['metadata']['name']} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise ValueError(f"pod {pod['metadata']['name']} is already assigned to node {errors.quote(spec['nodeName'])}")
    if spec.get("schedulingGates"):
        raise ValueError(f"pod {pod['metadata']['name']} has non-empty .spec.schedulingGates")
    spec["nodeName"] = node
    if annotations:
        pod["metadata"].setdefault("annotations", {}).update(annotations)
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
    meta.set_condition(pod.setdefault("status", {}), condition, now)


def validate_binding(binding: Object) -> list[FieldError]:
    target = binding.get("target") or {}
    found: list[FieldError] = []
    if target.get("kind", "") not in ("", "Node"):
        found.append(errors.not_supported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        found.append(errors.required("target.name"))
    return found


# --- ephemeral containers ---------------------------------------------------------------------------------------


def keep_all_but_ephemeral_containers(new: Object, old: Object) -> None:
    """The stored pod with the ephemeral containers that were sent."""
    wanted = (new.get("spec") or {}).get("ephemeralContainers")
    spec = {k: v for k, v in old["spec"].items() if k != "ephemeralContainers"}
    new["spec"] = {**spec, "ephemeralContainers": wanted} if wanted else spec
    new["status"] = old.get("status") or {}


def validate_ephemeral_containers_update(new: Object, old: Object) -> list[FieldError]:
    """They are added, never changed or removed: what has run in a pod stays on record."""
    annotations = [(pod["metadata"].get("annotations") or {}) for pod in (new, old)]
    if MIRROR in annotations[1]:
        return [forbidden_field("", "static pods do not support ephemeral containers")]
    found = validate_pod(new)
    found += validate_annotations_update(annotations[0], annotations[1], "metadata.annotations")
    wanted = {c.get("name"): c for c in new["spec"].get("ephemeralContainers") or ()}
    path = "spec.ephemeralContainers"
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container.get("name", "")
        if name not in wanted:
            found.append(
                forbidden_field(path, f"existing ephemeral containers {errors.quote(name)} may not be removed\n")
            )
        elif wanted[name] != container:
            found.append(
                forbidden_field(path, f"existing ephemeral containers {errors.quote(name)} may not be changed\n")
            )
    return found


# --- resize -----------------------------------------------------------------------------------------------------


def keep_all_but_resources(new: Object, old: Object) -> None:
    """The stored pod with the resources and resize policies that were sent."""
    sent = new.get("spec") or {}
    spec = dict(old["spec"])
    for field in ("containers", "initContainers"):
        wanted = {c.get("name"): c for c in sent.get(field) or ()}
        if spec.get(field):
            spec[field] = [_resized(c, wanted.get(c.get("name"))) for c in spec[field]]
    new["spec"], new["status"] = spec, old.get("status") or {}


def _resized(container: Object, wanted: Object | None) -> Object:
    if wanted is None:
        return container
    kept = {k: v for k, v in container.items() if k not in ("resources", "resizePolicy")}
    return kept | {k: wanted[k] for k in ("resources", "resizePolicy") if k in wanted}


def validate_resize(new: Object, old: Object) -> list[FieldError]:
    """CPU and memory may change, within the pod's quality of service class."""
    found = validate_pod(new)
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden_field("", "static pods cannot be resized")]
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return [forbidden_field("", "windows pods cannot be resized")]
    if qos_class(new["spec"]) != qos_class(old["spec"]):
        detail = "Pod QOS Class may not change as a result of resizing"
        found.append(invalid_value("spec", (new.get("status") or {}).get("qosClass", ""), detail))
    if not _node_can_resize(old):
        found.append(forbidden_field("spec", "Pod running on node without support for resize"))
    for field in ("initContainers", "containers"):
        pairs = zip(new["spec"].get(field) or (), old["spec"].get(field) or (), strict=True)
        for i, (container, before) in enumerate(pairs):
            if field == "containers" or container.get("restartPolicy") == "Always":
                found += _resize(container, before, f"spec.{field}[{i}].resources")
    return found + _only_compute(new["spec"], old["spec"])


def _node_can_resize(pod: Object) -> bool:
    """Its kubelet says so by telling what running containers have."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    running = [s for s in statuses if (s.get("state") or {}).get("running") is not None]
    return not running or running[0].get("resources") is not None


def _resize(container: Object, before: Object, path: str) -> list[FieldError]:
    """What is asked for cannot be taken back; less memory takes a restart."""
    wanted, had = container.get("resources") or {}, before.get("resources") or {}
    found: list[FieldError] = []
    for field in ("requests", "limits"):
        if (had.get(field) or {}).keys() - (wanted.get(field) or {}).keys():
            found.append(forbidden_field(f"{path}.{field}", f"resource {field} cannot be removed"))
    policies = {p.get("resourceName"): p.get("restartPolicy") for p in container.get("resizePolicy") or ()}
    if policies.get("memory", "NotRequired") != "NotRequired":
        return found
    now, then = ((r.get("limits") or {}).get("memory") for r in (wanted, had))
    did = ""
    if now is not None and then is None:
        did = "added"
    elif now is not None and then is not None and quantity.compare(now, then) < 0:
        did = "decreased"
    if did:
        detail = f"memory limits cannot be {did} unless resizePolicy is RestartContainer"
        found.append(forbidden_field(f"{path}.limits[memory]", detail))
    return found


def _only_compute(new: Object, old: Object) -> list[FieldError]:
    """Containers differ in nothing but CPU and memory; init containers that end do not differ at all."""
    found: list[FieldError] = []
    for container, before in zip(new["containers"], old["containers"], strict=True):
        if _without_compute(container) != _without_compute(before):
            found.append(forbidden_field("spec", "only cpu and memory resources are mutable"))
    for container, before in zip(new.get("initContainers") or (), old.get("initContainers") or (), strict=True):
        if container.get("restartPolicy") == "Always":
            if _without_compute(container) != _without_compute(before):
                detail = "only cpu and memory resources for sidecar containers are mutable"
                found.append(forbidden_field("spec", detail))
        elif container != before:
            found.append(forbidden_field("spec", "resources for non-sidecar init containers are immutable"))
    return found


def _without_compute(container: Object) -> Object:
    resources = container.get("resources") or {}
    fields = ("limits", "requests")
    rest = {f: {k: v for k, v in (resources.get(f) or {}).items() if k not in _RESIZABLE} for f in fields}
    return {**container, "resources": rest}
