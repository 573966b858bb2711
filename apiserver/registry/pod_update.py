"""What may change on a pod that exists (upstream's ``ValidatePodUpdate``): images, a shorter deadline, more tolerations, and
while it is gated, where it may go."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, forbidden_field, invalid_value, required
from apiserver.registry.containers import image_is_trimmed
from apiserver.registry.pod_annotations import validate_annotations_update

Object = dict[str, Any]

_MAX_INT32 = 0x7FFFFFFF
_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_ADD_REMOVE = "pod updates may not add or remove containers"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def validate_pod_update(new: Object, old: Object) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    annotations = [(pod["metadata"].get("annotations") or {}) for pod in (new, old)]
    found = validate_annotations_update(annotations[0], annotations[1], "metadata.annotations")
    for field in ("containers", "initContainers"):
        wanted, had = spec.get(field) or [], before.get(field) or []
        if len(wanted) != len(had):
            return [*found, forbidden_field(f"spec.{field}", _ADD_REMOVE)]
        for i, container in enumerate(wanted):
            if not container.get("image"):
                found.append(required(f"spec.{field}[{i}].image"))
            found += image_is_trimmed(container, f"spec.{field}[{i}]")
    deadline = _deadline(spec, before)
    found += deadline
    if deadline and spec.get("activeDeadlineSeconds") is not None:
        return found
    if spec.get("tolerations") != before.get("tolerations"):
        found += _tolerations(spec.get("tolerations") or [], before.get("tolerations") or [])
    found += _gates(spec, before)
    if before.get("schedulingGates"):
        found += _node_selector(spec.get("nodeSelector") or {}, before.get("nodeSelector") or {})
        found += _node_affinity(_affinity(spec), _affinity(before))
    pinned = _pinned(spec, before)
    if pinned != before:
        detail = f"{_IMMUTABLE}\n{_difference(pinned, before)}"
        found.append(forbidden_field("spec", detail))
    return found


def _pinned(spec: Object, before: Object) -> Object:
    """The new spec with everything that may change set back: what is left must be equal."""
    pinned = {**spec}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            pinned[field] = [{**c, "image": b.get("image")} for c, b in zip(spec[field], before[field], strict=True)]
    fields = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if before.get("schedulingGates"):
        fields.append("nodeSelector")
        _pin(pinned, before, "affinity", _with_node_affinity(spec.get("affinity"), _affinity(before)))
    if before.get("terminationGracePeriodSeconds", 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        fields.append("terminationGracePeriodSeconds")
    for field in fields:
        _pin(pinned, before, field, before.get(field))
    return pinned


def _pin(pinned: Object, before: Object, field: str, value: Any) -> None:
    if field in before or value is not None:
        pinned[field] = value
    else:
        pinned.pop(field, None)


def _affinity(spec: Object) -> Object | None:
    found: Object | None = (spec.get("affinity") or {}).get("nodeAffinity")
    return found


def _with_node_affinity(affinity: Object | None, node: Object | None) -> Object | None:
    others = {k: v for k, v in (affinity or {}).items() if k != "nodeAffinity"}
    if node is not None:
        return {**others, "nodeAffinity": node}
    return others or None


def _deadline(spec: Object, before: Object) -> list[FieldError]:
    new, old = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if new is not None:
        if not 0 <= new <= _MAX_INT32:
            return [invalid_value(path, new, names.between(0, _MAX_INT32))]
        if old is not None and old < new:
            return [invalid_value(path, new, "must be less than or equal to previous value")]
    elif old is not None:
        return [invalid_value(path, None, "must not update from a positive integer to nil value")]
    return []


def _gates(spec: Object, before: Object) -> list[FieldError]:
    had = {g.get("name") for g in before.get("schedulingGates") or ()}
    return [
        forbidden_field(
            f"spec.schedulingGates[{i}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for i, gate in enumerate(spec.get("schedulingGates") or ())
        if gate.get("name") not in had
    ]


def _tolerations(new: list[Object], old: list[Object]) -> list[FieldError]:
    def bare(toleration: Object) -> Object:
        """A toleration's seconds may change; who tolerates what may not."""
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}

    kept = [bare(toleration) for toleration in new]
    if all(bare(toleration) in kept for toleration in old):
        return []
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [forbidden_field("spec.tolerations", detail)]


# --- gated pods -------------------------------------------------------------------------------------------------


def _node_selector(new: Object, old: Object) -> list[FieldError]:
    if all(new.get(key) == value for key, value in old.items()):
        return []
    detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    return [invalid_value("spec.nodeSelector", new, detail)]


def _node_affinity(new: Object | None, old: Object | None) -> list[FieldError]:
    """Where a gated pod may go can be narrowed, never widened."""
    had = ((old or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    wanted = ((new or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if not had:
        return []
    if len(had) != len(wanted):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid_value(path, wanted, detail)]
    detail = "only additions are allowed (no mutations or deletions)"
    pairs = enumerate(zip(wanted, had, strict=True))
    return [invalid_value(f"{path}[{i}]", term, detail) for i, (term, before) in pairs if not _narrows(term, before)]


def _narrows(new: Object, old: Object) -> bool:
    parts = [(new.get(f) or [], old.get(f) or []) for f in ("matchExpressions", "matchFields")]
    if not any(had for _, had in parts):
        return not any(wanted for wanted, _ in parts)  # an empty term selects nothing: with a requirement it would more
    return all(wanted[: len(had)] == had for wanted, had in parts)


def _difference(new: Object, old: Object) -> Literal:
    """Which fields differ, in the place of upstream's Go diff."""
    changed = sorted(k for k in new.keys() | old.keys() if new.get(k) != old.get(k))
    return Literal("".join(f"  spec.{k} differs\n" for k in changed))
