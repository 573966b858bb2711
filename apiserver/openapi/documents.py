"""The documents: paths from the resource table, components from the definitions they refer to."""

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from apimachinery.resources import RESOURCES
from apiserver.openapi.operations import META, load_descriptions
from apiserver.openapi.paths import Definitions, Paths
from apiserver.routes.version import GIT_VERSION

Object = dict[str, Any]
_INFO = {"title": "Kubernetes", "version": GIT_VERSION}
_SECURITY = {
    "BearerToken": {
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey",
    }
}


def load_definitions() -> dict[str, Object]:
    """All published schemas by name; references are bare names. Decoded anew each time: they are large and rarely wanted."""
    packed = Path(__file__).with_name("definitions.json.gz").read_bytes()
    definitions: dict[str, Object] = orjson.loads(gzip.decompress(packed))
    return definitions


def document_names() -> list[str]:
    """``api/v1``, ``apis/apps/v1``, ``version`` and so on: the keys of the v3 index."""
    return sorted({r.api_root.strip("/") for r in RESOURCES} | set(_roots()))


def refer(node: Any, prefix: str) -> Any:
    """A schema with its references below ``prefix``. In v3 a reference with siblings has to be wrapped."""
    if isinstance(node, list):
        return [refer(item, prefix) for item in node]
    if not isinstance(node, dict):
        return node
    out = {k: refer(v, prefix) for k, v in node.items()}
    if isinstance(out.get("$ref"), str):
        target = prefix + out.pop("$ref")
        if not out:
            return {"$ref": target}
        return {"allOf": [{"$ref": target}], **out} if "components" in prefix else {"$ref": target, **out}
    return out


def reached(names: Iterable[str], definitions: dict[str, Object]) -> dict[str, Object]:
    kept: dict[str, Object] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in kept and name in definitions:
            kept[name] = definitions[name]
            todo += _references(definitions[name])
    return dict(sorted(kept.items()))


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _references(item)]
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in _references(value)]
    return []


def _roots() -> dict[str, list[tuple[str, str, str, str, str]]]:
    """Documents about no resource: key of the v3 index -> path, operation, description, tag, definition."""
    found = {
        "api": [("/api/", "getCoreAPIVersions", "get available API versions", "core", META + "APIVersions")],
        "apis": [("/apis/", "getAPIVersions", "get available API versions", "apis", META + "APIGroupList")],
        "version": [
            (
                "/version/", "getCodeVersion", "get the version information for this server", "version",
                "io.k8s.apimachinery.pkg.version.Info",
            )
        ],
    }  # fmt: skip
    for group in sorted({r.group for r in RESOURCES if r.group}):
        words = group.removesuffix(".k8s.io").split(".")
        tag = words[0] + "".join(w.title() for w in words[1:])
        operation = "get" + tag[:1].upper() + tag[1:] + "APIGroup"
        found[f"apis/{group}"] = [(f"/apis/{group}/", operation, "get information of a group", tag, META + "APIGroup")]
    return found


def v3_document(name: str) -> bytes | None:
    """The document of ``apis/apps/v1``, ``apis/apps`` or ``version``, or None when nobody serves that."""
    resources = [r for r in RESOURCES if r.api_root.strip("/") == name]
    plain = _roots().get(name, [])
    if not resources and not plain:
        return None
    definitions = Definitions(load_definitions())
    paths = Paths(definitions, load_descriptions(), v3=True)
    for root in plain:
        paths.add_plain(*root)
    if resources:
        paths.add_resource_list(resources[0].api_root)
    for resource in resources:
        paths.add(resource)
    schemas = reached(paths.used, definitions.all)
    document = {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": dict(sorted(paths.paths.items())),
        "components": {"schemas": refer(schemas, "#/components/schemas/"), "securitySchemes": _SECURITY},
        "security": [{"BearerToken": []}],
    }
    return orjson.dumps(document)


def v3_index() -> Object:
    """Where the documents are. The hash in an address changes with the content, so that clients may keep what they have."""
    return {
        "paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={_hash(name)}"} for name in document_names()}
    }


def _hash(name: str) -> str:
    """Of all that a document is made from; making every document only for its hash would cost a second."""
    here = Path(__file__)
    sources = [here.with_name(n).read_bytes() for n in ("definitions.json.gz", "parameters.json.gz")]
    rows = repr([(r.plural, r.verbs, r.subresources) for r in RESOURCES if r.api_root.strip("/") == name])
    digest = hashlib.sha256(b"".join(sources) + rows.encode() + name.encode() + GIT_VERSION.encode())
    return digest.hexdigest().upper()


def v2_document() -> Object:
    """The one document of ``/openapi/v2``."""
    definitions = Definitions(load_definitions())
    paths = Paths(definitions, load_descriptions(), v3=False)
    for roots in _roots().values():
        for root in roots:
            paths.add_plain(*root)
    for api_root in {r.api_root: None for r in RESOURCES}:
        paths.add_resource_list(api_root)
    for resource in RESOURCES:
        paths.add(resource)
    schemas = {name: _without_unions(schema) for name, schema in reached(paths.used, definitions.all).items()}
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": dict(sorted(paths.paths.items())),
        "definitions": refer(schemas, "#/definitions/"),
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


def _without_unions(schema: Object) -> Object:
    """v2 knows no ``oneOf``: a quantity is a string there, an int-or-string a string with a format of its own."""
    if "oneOf" not in schema:
        return schema
    kinds = {s.get("type") for s in schema["oneOf"]}
    rest = {k: v for k, v in schema.items() if k != "oneOf"}
    return {**rest, "type": "string", **({"format": "int-or-string"} if "integer" in kinds else {})}
