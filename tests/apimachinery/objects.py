"""Random objects that fit a schema: what a client could send without being told of a wrong type.

From a seed and not from hypothesis' own choices: those prefer small objects so much that they rarely reach a container's
probe, and a rule that crashes there would stay unseen. A failing seed replays.
"""

from random import Random
from typing import Any

from apimachinery.schema import Schema
from apimachinery.schema.definitions import Field

_WORDS = (
    "", "a", "web", "Always", "None", "TCP", "10.0.0.1", "Bad_Name", "a.b/c", "In", "Exists", "80%", "x" * 70, "ü", "/etc", "..",
    "RollingUpdate", "OnDelete", "ClusterIP", "NodePort", "ExternalName", "LoadBalancer", "Local", "NoExecute", "metadata.name",
    "IPv4", "Localhost", "Role", "ServiceAccount", "User", "Resource", "Indexed", "@daily", "* * * * *", "Opaque", "1.2.3.0/24",
)  # fmt: skip
_KEYS = ("a", "b", "cpu", "memory", "x/y", "Bad Key", "storage", "app")
_QUANTITIES = ("0", "1", "500m", "1Gi", "-1", "1500m", "3u")


def _scalar(kind: str, random: Random) -> Any:
    if kind == "string":
        return random.choice(_WORDS)
    if kind == "integer":
        return random.choice((-1, 0, 1, 2, 80, 443, 70000, random.randrange(1 << 31)))
    if kind == "intstr":
        return random.choice((random.choice(_WORDS), random.randrange(-1, 70000)))
    if kind == "quantity":
        return random.choice(_QUANTITIES)
    if kind == "bytes":
        return random.choice(("", "YWJj", "e30="))
    if kind == "boolean":
        return random.random() < 0.5
    if kind == "number":
        return random.random()
    return {"time": "2024-01-01T00:00:00Z", "microtime": "2024-01-01T00:00:00.000000Z"}.get(kind, {"a": 1})


def _value(schema: Schema, random: Random, depth: int) -> Any:
    if schema.kind == "object":
        return random_object(schema, random, depth - 1)
    if schema.element is None:
        return _scalar(schema.kind, random)
    count = random.choice((0, 1, 1, 2)) if depth > 0 else 0
    if schema.kind == "map":
        return {random.choice(_KEYS): _value(schema.element, random, depth) for _ in range(count)}
    return [_value(schema.element, random, depth) for _ in range(count)]


def random_object(schema: Schema, random: Random, depth: int = 9) -> dict[str, Any]:
    """About six fields of an object, most of its required ones, and of those the same."""
    if depth <= 0:
        return {}
    share = min(1.0, 6 / max(len(schema.fields), 1))
    chosen = (f for f in schema.fields.values() if random.random() < (0.9 if _matters(f) else share))
    return {f.name: _value(f.schema, random, depth) for f in chosen}


def _matters(field: Field) -> bool:
    return field.required or field.name in ("spec", "status", "containers", "template", "ports")


def mergeable(schema: Schema, random: Random) -> dict[str, Any]:
    """Objects whose merged lists have every key once, as valid objects have: the ones that patches are about."""
    return _with_unique_keys(random_object(schema, random), schema)


def _with_unique_keys(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    return {name: _field(schema.fields[name], item) for name, item in value.items()}


def _field(field: Field, item: Any) -> Any:
    schema = field.schema
    if schema.kind == "object":
        return _with_unique_keys(item, schema)
    if schema.kind == "map" and schema.element is not None and schema.element.kind == "object":
        return {k: _with_unique_keys(v, schema.element) for k, v in item.items()}
    if schema.kind != "list" or schema.element is None:
        return item
    if schema.element.kind != "object":
        return list(dict.fromkeys(item)) if "merge" in field.patch_strategies else item
    elements = [_with_unique_keys(v, schema.element) for v in item]
    if "merge" not in field.patch_strategies or not field.merge_key:
        return elements
    by_key = {repr(e[field.merge_key]): e for e in elements if e.get(field.merge_key)}
    return list(by_key.values())
