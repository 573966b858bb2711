"""An object with every field of its kind set comes back as it was sent: no field is lost, none is added."""

import copy
from typing import Any

import orjson
import pytest

from apimachinery.resources import RESOURCES, Resource
from apimachinery.schema import Schema, decode_object, schema_for
from apiserver.registry import CONVERSIONS, STRATEGIES
from apiserver.storage import Codec

Object = dict[str, Any]
SERVED = [r for r in RESOURCES if r.stored]
VALUES: Object = {
    "string": "x",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "quantity": "1",
    "time": "2024-01-01T00:00:00Z",
    "microtime": "2024-01-01T00:00:00.000001Z",
    "intstr": 1,
    "bytes": "YWJj",
    "any": {"kind": "Any", "a": [1, "b", None, {"c": 1.5}]},
}
#: What a kind's defaults turn into something else, as upstream's do.
REPLACED = {
    "Secret": {".data.key", ".stringData"},
    "StatefulSet": {".spec.volumeClaimTemplates[0].apiVersion", ".spec.volumeClaimTemplates[0].kind"},
}

every_kind = pytest.mark.parametrize("resource", SERVED, ids=[f"{r.plural}.{r.group}/{r.version}" for r in SERVED])


def full(schema: Schema, inside: tuple[Schema, ...] = ()) -> Any:
    """Every field set, to something that is neither empty nor zero; a type inside itself once."""
    if schema.kind == "object":
        return {n: full(f.schema, (*inside, schema)) for n, f in schema.fields.items() if f.schema not in inside}
    if schema.element is None:
        return copy.deepcopy(VALUES[schema.kind])
    if schema.element in inside:
        return [{}] if schema.kind == "list" else {"key": {}}
    element = full(schema.element, inside)
    return [element] if schema.kind == "list" else {"key": element}


def sent(resource: Resource) -> Object:
    obj: Object = full(schema_for(resource)) | {"apiVersion": resource.api_version, "kind": resource.kind}
    if not resource.namespaced:
        del obj["metadata"]["namespace"]
    return obj


def count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(1 + count(v) for v in value.values())
    return sum(map(count, value)) if isinstance(value, list) else 0


def test_objects_are_really_full() -> None:
    pods = next(r for r in SERVED if r.plural == "pods")
    assert count(sent(pods)) > 1000


@every_kind
def test_what_is_decoded_is_what_was_sent(resource: Resource) -> None:
    decoded = decode_object(sent(resource), resource)
    assert decoded.strict == []
    assert decoded.obj == sent(resource)


@every_kind
def test_what_is_read_from_the_store_is_what_was_written(resource: Resource) -> None:
    codec, obj = Codec(resource), decode_object(sent(resource), resource).obj
    conversion = CONVERSIONS.get(resource)
    stored = copy.deepcopy(obj) if conversion is None else conversion.to_stored(copy.deepcopy(obj))
    found = codec.decode(codec.encode(stored), 7)
    if conversion is not None:
        found = conversion.to_served(found)
    obj["metadata"]["resourceVersion"] = "7"
    if resource.kind == "HorizontalPodAutoscaler":  # v1 tells in an annotation, too, what was measured
        found["metadata"]["annotations"].pop("autoscaling.alpha.kubernetes.io/current-metrics", None)
    assert found == obj
    body = codec.body(codec.encode(stored), 7)
    assert orjson.loads(codec.header + body)["metadata"]["resourceVersion"] == "7"


@every_kind
def test_defaults_leave_what_is_set_alone(resource: Resource) -> None:
    obj = decode_object(sent(resource), resource).obj
    STRATEGIES[resource].default(obj)
    assert set(_lost(sent(resource), obj, "")) == REPLACED.get(resource.kind, set())


def _lost(before: Any, after: Any, path: str) -> list[str]:
    """The paths of what is gone or different; what has been added is allowed."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [e for k, v in before.items() for e in _lost(v, after.get(k), f"{path}.{k}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [e for i, v in enumerate(before) for e in _lost(v, after[i], f"{path}[{i}]")]
    return [] if before == after else [path]
