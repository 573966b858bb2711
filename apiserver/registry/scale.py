"""The ``/scale`` subresource: the same ``autoscaling/v1 Scale`` for whatever has replicas."""

from typing import Any

from apimachinery.errors import FieldError, invalid_value
from apimachinery.selectors import from_label_selector, from_set
from apiserver.registry.objectmeta import NON_NEGATIVE

Object = dict[str, Any]
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object) -> Object:
    """The Scale that describes a workload."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    selector = spec.get("selector")
    # ReplicationControllers still have the old form of selectors, a plain map.
    plain = selector is not None and not {"matchLabels", "matchExpressions"} & selector.keys() and bool(selector)
    text = "" if selector is None else str(from_set(selector) if plain else from_label_selector(selector))
    replicas = spec.get("replicas", 0)
    scale_status: Object = {"replicas": status.get("replicas", 0)}
    if text:
        scale_status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {f: obj["metadata"][f] for f in _METADATA if f in obj["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": scale_status,
    }


def apply_scale(obj: Object, scale: Object) -> None:
    """Sets the workload's replicas to the Scale's; the caller has checked the Scale and its resourceVersion."""
    obj.setdefault("spec", {})["replicas"] = (scale.get("spec") or {}).get("replicas", 0)


def validate_scale(scale: Object) -> list[FieldError]:
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    return [] if replicas >= 0 else [invalid_value("spec.replicas", replicas, NON_NEGATIVE)]
