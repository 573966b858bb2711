"""The structural schemas of the built-in kinds, as a graph of ``Schema`` nodes.

The nodes are made on first use from ``definitions.json.gz`` (see ``generate.py``). Everything that walks an object walks
them: decoding, strategic merge, apply, explain.
"""

import zlib
from functools import cache
from pathlib import Path
from typing import Any

from apimachinery.resources import Resource

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_DATA = Path(__file__).with_name("definitions.json.gz")


class Schema:
    """A type. ``kind`` is one of object, map, list, string, integer, number, boolean, quantity, time, microtime,
    intstr, bytes, any.

    ``go`` is the type's name in Go, which upstream's messages show. ``fields`` belongs to an object, ``element``
    to a list or map, ``list_type`` (atomic, set, map) and ``list_keys`` to a list; ``atomic`` marks an object or map that is
    owned and replaced as a whole.
    """

    __slots__ = ("always", "atomic", "bits", "element", "fields", "go", "kind", "list_keys", "list_type", "name")

    def __init__(self, kind: str, go: str = "") -> None:
        self.kind = kind
        self.go = go
        self.name = ""
        self.fields: dict[str, Field] = {}
        self.always: tuple[Field, ...] = ()
        self.element: Schema | None = None
        self.list_type = ""
        self.list_keys: tuple[str, ...] = ()
        self.atomic = False
        self.bits = 64

    def __repr__(self) -> str:
        return f"<Schema {self.name or self.go or self.kind}>"


class Field:
    """A property of an object.

    ``keep``: an empty value is written too (pointers in Go, and what has no ``omitempty``).
    ``merge_key`` and ``patch_strategies`` steer strategic merge patches.
    """

    __slots__ = ("enum", "exact", "keep", "merge_key", "name", "patch_strategies", "pointer", "required", "schema")

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.schema = schema
        self.pointer = False
        self.required = False
        self.keep = False
        self.merge_key = ""
        self.patch_strategies: tuple[str, ...] = ()
        self.enum: tuple[str, ...] = ()
        # A value of exactly this Python type needs no decoding; None where one has to look closer.
        self.exact: type | None = {"string": str, "boolean": bool}.get(schema.kind)

    def __repr__(self) -> str:
        return f"<Field {self.name}: {self.schema!r}>"


@cache
def _data() -> dict[str, Any]:
    import orjson

    return orjson.loads(zlib.decompress(_DATA.read_bytes(), wbits=zlib.MAX_WBITS | 16))


_nodes: dict[str, Schema] = {}


def definition(name: str) -> Schema:
    """The schema of an OpenAPI definition such as ``io.k8s.api.core.v1.Pod``."""
    node = _nodes.get(name)
    if node is None:
        package, short = name.rsplit(".", 2)[1:]
        # In the cache before its fields are made: types refer to themselves.
        node = _nodes[name] = Schema("object", f"{package}.{short}")
        node.name = name
        _fill(node, _data()["definitions"][name])
    return node


def _fill(node: Schema, data: dict[str, Any]) -> None:
    for name, spec in data["f"].items():
        field = Field(name, _node(spec))
        field.pointer = bool(spec.get("p"))
        field.required = bool(spec.get("q"))
        field.merge_key = spec.get("i", "")
        field.patch_strategies = tuple(spec["s"].split(",")) if "s" in spec else ()
        field.enum = tuple(spec.get("v", ()))
        value_struct = not field.pointer and field.schema.kind in ("object", "time", "microtime")
        field.keep = field.pointer or bool(spec.get("a")) or value_struct
        node.fields[name] = field
    node.atomic = data.get("m") == "atomic"
    node.always = tuple(
        f
        for f in node.fields.values()
        if not f.pointer and f.keep and f.schema.kind not in ("any", "quantity", "intstr")
    )
    if node.name == _OBJECT_META:
        # An empty list says something: the client resets the owners.
        node.fields["managedFields"].keep = True


def _node(spec: dict[str, Any]) -> Schema:
    kind = spec["t"]
    if kind == "ref":
        return definition(spec["r"])
    node = Schema(kind, spec.get("g", ""))
    node.bits = spec.get("b", 64)
    node.atomic = spec.get("m") == "atomic"
    if "e" in spec:
        node.element = _node(spec["e"])
    node.list_type = spec.get("l", "")
    node.list_keys = tuple(spec.get("k", ()))
    return node


def schema_of_kind(group: str, version: str, kind: str) -> Schema | None:
    name = _data()["kinds"].get(f"{group}/{version}/{kind}")
    return definition(name) if name else None


def schema_for(resource: Resource) -> Schema:
    """The schema of a resource's objects."""
    schema = schema_of_kind(resource.group, resource.version, resource.kind)
    assert schema is not None, f"definitions.json.gz has no {resource.kind}: run apimachinery.schema.generate"
    return schema
