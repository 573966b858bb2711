"""Makes ``definitions.json.gz`` from the OpenAPI definitions in the PyPI package ``kubernetes-validate``, and ``parameters.json.gz``,
the descriptions of query parameters, from the reference in the PyPI package ``kubernetes``.

Run ``python -m apiserver.openapi.generate`` after a change of the resource table. Unlike the schemas that decode requests, the
published ones carry descriptions (``kubectl explain`` shows them); what that package adds for validators is taken out.
"""

import gzip
import re
import sys
from pathlib import Path
from typing import Any

import orjson

from apimachinery.resources import RESOURCES
from apiserver.openapi.operations import PARAMETERS

HERE = Path(__file__).parent
VERSION = "v1.33.0-local"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_MORE = [
    _META + n
    for n in (
        "Status",
        "DeleteOptions",
        "Patch",
        "WatchEvent",
        "APIResourceList",
        "APIGroupList",
        "APIGroup",
        "APIVersions",
    )
]
_MORE += [
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.apimachinery.pkg.version.Info",
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


#: Methods of the official client whose documentation describes an action's parameters.
_DESCRIBED = {
    "list": "list_namespaced_pod",
    "post": "create_namespaced_pod",
    "put": "replace_namespaced_pod",
    "patch": "patch_namespaced_pod",
    "delete": "delete_namespaced_pod",
    "deletecollection": "delete_collection_namespaced_pod",
    "exec": "connect_get_namespaced_pod_exec",
    "attach": "connect_get_namespaced_pod_attach",
    "portforward": "connect_get_namespaced_pod_portforward",
    "proxy": "connect_get_namespaced_pod_proxy",
    "log": "read_namespaced_pod_log",
}


def describe_parameters() -> dict[str, dict[str, str]]:
    """action -> parameter -> description."""
    from kubernetes.client import CoreV1Api  # a development dependency: only this script needs it

    found: dict[str, dict[str, str]] = {}
    for action, method in _DESCRIBED.items():
        text = getattr(CoreV1Api, method).__doc__
        described = {_snake(name): text for name, text in re.findall(r":param (\w+): (.*)", text)}
        found[action] = {name: described[_snake(name)] for name in PARAMETERS[action] if _snake(name) in described}
        if action == "list":
            found["path"] = {name: described[name].removesuffix(" (required)") for name in ("namespace", "pretty")}
    return found


def _snake(name: str) -> str:
    """``fieldSelector``, ``_continue`` and ``insecureSkipTLSVerifyBackend`` without what tells words apart."""
    return name.replace("_", "").lower()


def _write(name: str, data: Any) -> None:
    with (HERE / name).open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(orjson.dumps(data))


def main() -> int:
    _write("definitions.json.gz", generate())
    _write("parameters.json.gz", describe_parameters())
    return 0


if __name__ == "__main__":
    sys.exit(main())
