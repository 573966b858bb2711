"""``kubectl.kubernetes.io/last-applied-configuration``: the bridge between client-side and server-side apply.

Only the manager "kubectl" crosses it. Its first server-side apply may take what its last client-side apply had set, so
that no conflict with itself stands in the way; afterwards the annotation is kept up to date for clients that read it.
"""

from typing import Any

import orjson

from apimachinery.apply import fieldset, validate
from apimachinery.apply.compare import compare
from apimachinery.apply.element import ElementError, json_text
from apimachinery.apply.fieldset import FieldSet
from apimachinery.apply.merge import fields_of
from apimachinery.apply.shape import Shape

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
_ANNOTATIONS_LIMIT = 256 * 1024

Object = dict[str, Any]


def _annotations(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def owned_by_client(live: Object, api_version: str, shape: Shape) -> FieldSet | None:
    """What the last client-side apply set and the live object still says; None without a usable annotation."""
    text = _annotations(live).get(ANNOTATION)
    if not text:
        return None
    try:
        applied = orjson.loads(text)
        if not isinstance(applied, dict) or applied.get("apiVersion") != api_version:
            return None
        validate.check(live, shape.schema)
        validate.check(applied, shape.schema)
        changed, removed = compare(applied, live, shape)
        owned = fields_of(applied, shape)
    except (orjson.JSONDecodeError, validate.TypedError, ElementError):
        return None  # upstream then reports the conflicts as they are
    return fieldset.difference(fieldset.difference(owned, changed), removed)


def refreshed(obj: Object, config: Object) -> Object:
    """The object with its annotation set to the applied configuration, where it has one."""
    annotations = _annotations(obj)
    if not annotations.get(ANNOTATION):
        return obj
    annotations = {**annotations, ANNOTATION: _encoded(config)}
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > _ANNOTATIONS_LIMIT:
        del annotations[ANNOTATION]
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _encoded(config: Object) -> str:
    metadata = dict(config.get("metadata") or {})
    if isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != ANNOTATION}
    return json_text({**config, "metadata": metadata}) + "\n"
