"""What ``pods/NAME/binding``, ``/ephemeralcontainers`` and ``/resize`` may change, which an update of the pod may not."""

from typing import Any

from apimachinery import errors, meta
from apimachinery.errors import FieldError, forbidden_field, invalid_value
from apiserver.registry.containers import validate_ephemeral_containers, validate_resources
from apiserver.registry.qos import qos_class
from apiserver.registry.volumes import validate_volumes

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
    volumes, _ = validate_volumes(new["spec"].get("volumes") or [], "spec.volumes")
    found = validate_ephemeral_containers(new["spec"], volumes, "spec")
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
    found: list[FieldError] = []
    for field in ("containers", "initContainers"):
        pairs = zip(new["spec"].get(field) or (), old["spec"].get(field) or (), strict=True)
        for i, (container, before) in enumerate(pairs):
            path = f"spec.{field}[{i}].resources"
            wanted, had = container.get("resources") or {}, before.get("resources") or {}
            found += validate_resources(wanted, path)
            found += _only_resizable(wanted, had, path)
    if qos_class(new["spec"]) != qos_class(old["spec"]):
        detail = "Pod QOS Class may not change as a result of resizing"
        found.append(invalid_value("spec", qos_class(new["spec"]), detail))
    return found


def _only_resizable(wanted: Object, had: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("limits", "requests"):
        now, before = wanted.get(field) or {}, had.get(field) or {}
        if any(now.get(r) != before.get(r) for r in (now.keys() | before.keys()) - set(_RESIZABLE)):
            found.append(forbidden_field(f"{path}.{field}", "only cpu and memory resources are mutable"))
        if any(r in before and r not in now for r in _RESIZABLE):
            found.append(forbidden_field(f"{path}.{field}", f"resource {field} cannot be removed"))
    return found
