"""Makes ``definitions.json.gz`` from the OpenAPI definitions in the PyPI package ``kubernetes-validate``.

Run ``python -m apimachinery.schema.generate`` after a change of the resource table or of ``go_types.txt``. Only what
the served kinds reach is kept, without descriptions, so that the API server loads it in a few milliseconds. Go's types
are in error messages ("of type int32") and decide which empty values are written, and no schema tells them;
``go_types.txt`` does, where they are not what one would guess.
"""

import gzip
import sys
from pathlib import Path
from typing import Any

import orjson

from apimachinery.resources import RESOURCES

HERE = Path(__file__).parent
VERSION = "v1.33.0-local"

# Served or read beside the kinds of the resource table.
_MORE_KINDS = (
    ("", "v1", "Status"),
    ("", "v1", "DeleteOptions"),
    ("autoscaling", "v1", "Scale"),
    ("policy", "v1", "Eviction"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
)
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intstr",
    _META + "Time": "time",
    _META + "MicroTime": "microtime",
    _META + "FieldsV1": "any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
}


def _load() -> dict[str, Any]:
    import kubernetes_validate  # a development dependency: only this script needs it

    path = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / VERSION / "_definitions.json"
    return orjson.loads(path.read_bytes())["$defs"]


def _facts() -> dict[str, dict[str, tuple[str, str]]]:
    """definition -> field -> (mark, Go type)."""
    facts: dict[str, dict[str, tuple[str, str]]] = {}
    for line in (HERE / "go_types.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, cells = line.split(": ", 1)
        fields = facts[name] = {}
        for cell in cells.split():
            field, _, go = cell.partition("=")
            mark = field[-1] if field[-1] in "?!" else ""
            fields[field.rstrip("?!")] = (mark, go)
    return facts


def _json_type(schema: dict[str, Any]) -> str:
    found = schema.get("type", "any")
    return found if isinstance(found, str) else found[0]


def _ref(schema: dict[str, Any]) -> str | None:
    ref = schema.get("$ref")
    return ref.rpartition("/")[2] if ref else None


def _go_type(schema: dict[str, Any]) -> str:
    ref = _ref(schema)
    if ref:
        package, name = ref.rsplit(".", 2)[1:]
        return f"{package}.{name}"
    kind = _json_type(schema)
    if kind == "array":
        return "[]" + _go_type(schema["items"])
    if kind == "object" and "additionalProperties" in schema:
        return "map[string]" + _go_type(schema["additionalProperties"])
    if kind == "string":
        return "[]uint8" if schema.get("format") == "byte" else "string"
    return {"integer": schema.get("format", "int64"), "number": "float64", "boolean": "bool"}.get(kind, kind)


def _type(schema: dict[str, Any], go: str, todo: list[str]) -> dict[str, Any]:
    """The compact form: ``t`` type, ``g`` Go type, ``e`` element, ``r`` definition, ``l``/``k``/``m`` list and map type."""
    ref = _ref(schema)
    go = go.removeprefix("*")
    if ref:
        if ref in _SPECIAL:
            return {"t": _SPECIAL[ref]}
        todo.append(ref)
        return {"t": "ref", "r": ref, **({"m": "atomic"} if schema.get("x-kubernetes-map-type") == "atomic" else {})}
    kind = _json_type(schema)
    out: dict[str, Any] = {"g": go}
    if kind == "array":
        out |= {"t": "list", "e": _type(schema["items"], go.removeprefix("[]"), todo)}
        for short, long in (("l", "x-kubernetes-list-type"), ("k", "x-kubernetes-list-map-keys")):
            if schema.get(long):
                out[short] = schema[long]
    elif kind == "object" and "additionalProperties" in schema:
        element = go.partition("]")[2] if go.startswith("map[") else _go_type(schema["additionalProperties"])
        out |= {"t": "map", "e": _type(schema["additionalProperties"], element, todo)}
    elif kind == "string":
        out["t"] = "bytes" if schema.get("format") == "byte" else "string"
        if schema.get("format") == "date-time":
            out["t"] = "time"
    elif kind in ("integer", "number", "boolean"):
        out["t"] = kind
        if kind == "integer" and schema.get("format") == "int32":
            out["b"] = 32
    else:
        out["t"] = "any"
    if schema.get("x-kubernetes-map-type") == "atomic":
        out["m"] = "atomic"
    return out


def _definition(schema: dict[str, Any], facts: dict[str, tuple[str, str]], todo: list[str]) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    fields: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        mark, go = facts.get(name, ("", ""))
        guessed = _go_type(field)
        pointer = go.startswith("*") if go else ("$ref" in field and name not in required and name != "metadata")
        out = _type(field, go or guessed, todo)
        if pointer:
            out["p"] = 1
        if name in required:
            out["q"] = 1
        if (name in required) != bool(mark):
            out["a"] = 1  # written even when empty
        for short, long in (("s", "x-kubernetes-patch-strategy"), ("i", "x-kubernetes-patch-merge-key")):
            if field.get(long):
                out[short] = field[long]
        if field.get("enum") and name not in ("apiVersion", "kind"):
            out["v"] = field["enum"]
        fields[name] = out
    found: dict[str, Any] = {"f": fields}
    if schema.get("x-kubernetes-map-type") == "atomic":
        found["m"] = "atomic"
    return found


def generate() -> dict[str, Any]:
    """``kinds``: "group/version/Kind" -> definition; ``definitions``: name -> compact form."""
    source, facts = _load(), _facts()
    kinds = {
        f"{g['group']}/{g['version']}/{g['kind']}": name
        for name, schema in source.items()
        for g in schema.get("x-kubernetes-group-version-kind", ())
    }
    wanted = {(r.group, r.version, r.kind) for r in RESOURCES} | set(_MORE_KINDS)
    wanted |= {(r.group, r.version, r.list_kind) for r in RESOURCES}
    roots = {"/".join(w): kinds["/".join(w)] for w in sorted(wanted) if "/".join(w) in kinds}
    todo, definitions = list(roots.values()), {}
    while todo:
        name = todo.pop()
        if name not in definitions and name not in _SPECIAL:
            definitions[name] = _definition(source[name], facts.get(name, {}), todo)
    return {"kinds": roots, "definitions": dict(sorted(definitions.items()))}


def main() -> int:
    data = gzip.compress(orjson.dumps(generate()), compresslevel=9, mtime=0)
    (HERE / "definitions.json.gz").write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
