"""Makes ``definitions.json.gz`` from the OpenAPI definitions in the PyPI package ``kubernetes-validate``.

Run ``python -m apiserver.openapi.generate`` after a change of the resource table. Unlike the schemas that decode requests, the
published ones carry descriptions (``kubectl explain`` shows them); what that package adds for validators is taken out.
"""

import gzip
import sys
from pathlib import Path
from typing import Any

import orjson

from apimachinery.resources import RESOURCES

HERE = Path(__file__).parent
VERSION = "v1.33.0-local"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_MORE = [
    _META + n for n in ("Status", "DeleteOptions", "Patch", "WatchEvent", "APIResourceList", "APIGroupList", "APIGroup")
]
_MORE += [
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
]


def _clean(node: Any) -> Any:
    """Without the nulls and enums that the package adds; references by name alone."""
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref":
            out[key] = value.rpartition("/")[2]
        elif key == "type" and isinstance(value, list):
            kinds = [k for k in value if k != "null"]
            out[key] = kinds[0] if len(kinds) == 1 else kinds
        elif key == "properties":
            out[key] = {name: _clean(schema) for name, schema in value.items()}
            for name in ("apiVersion", "kind"):
                out[key].get(name, {}).pop("enum", None)
        elif (
            (key == "oneOf" and all(isinstance(v, dict) and "type" in v for v in value))
            or key not in ("$schema", "additionalProperties")
            or value is not False
        ):
            out[key] = _clean(value)
    return out


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _references(item)]
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in _references(value)]
    return []


def generate() -> dict[str, Any]:
    """All definitions that the served kinds, their lists and the shared types reach."""
    import kubernetes_validate  # a development dependency: only this script needs it

    path = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / VERSION / "_definitions.json"
    source = {name: _clean(schema) for name, schema in orjson.loads(path.read_bytes())["$defs"].items()}
    by_kind: dict[tuple[str, str, str], str] = {}
    for name, schema in source.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            by_kind.setdefault((kind["group"], kind["version"], kind["kind"]), name)
    todo = list(_MORE)
    for resource in RESOURCES:
        for kind in (resource.kind, resource.list_kind):
            found = by_kind.get((resource.group, resource.version, kind))
            if found is not None:
                todo.append(found)
    kept: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name not in kept and name in source:
            kept[name] = source[name]
            todo += _references(source[name])
    return dict(sorted(kept.items()))


def main() -> int:
    data = orjson.dumps(generate())
    with (HERE / "definitions.json.gz").open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
