"""The documents: paths from the resource table, components from the definitions they refer to."""

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from apimachinery.resources import RESOURCES, Resource, subresource
from apiserver.routes.version import GIT_VERSION

Object = dict[str, Any]
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_STATUS, _DELETE_OPTIONS, _PATCH = _META + "Status", _META + "DeleteOptions", _META + "Patch"
_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_INFO = {"title": "Kubernetes", "version": GIT_VERSION}
_ACTIONS = {"create": "post", "update": "put", "patch": "patch", "delete": "delete", "get": "get"}


def load_definitions() -> dict[str, Object]:
    """All published schemas by name; references are bare names. Decoded anew each time: they are large and rarely wanted."""
    packed = Path(__file__).with_name("definitions.json.gz").read_bytes()
    definitions: dict[str, Object] = orjson.loads(gzip.decompress(packed))
    return definitions


def group_versions() -> list[str]:
    """``api/v1``, ``apis/apps/v1`` and so on: the keys of the v3 index."""
    return sorted({r.api_root.strip("/") for r in RESOURCES})


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


class Definitions:
    """Names of definitions by kind."""

    def __init__(self, definitions: dict[str, Object]) -> None:
        self.all = definitions
        self._by_kind: dict[tuple[str, str, str], str] = {}
        for name, schema in definitions.items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                self._by_kind.setdefault((kind["group"], kind["version"], kind["kind"]), name)

    def name(self, group: str, version: str, kind: str) -> str:
        return self._by_kind.get((group, version, kind), _STATUS)


class Paths:
    """The paths of one group-version, in the v3 or the v2 way of writing them."""

    def __init__(self, definitions: Definitions, *, v3: bool) -> None:
        self._definitions = definitions
        self._v3 = v3
        self._prefix = "#/components/schemas/" if v3 else "#/definitions/"
        self.used: set[str] = {_STATUS}
        self.paths: dict[str, Object] = {}

    def add(self, resource: Resource) -> None:
        base = resource.api_root
        space = "/namespaces/{namespace}" if resource.namespaced else ""
        collection, item = f"{base}{space}/{resource.plural}", f"{base}{space}/{resource.plural}/{{name}}"
        own = self._definitions.name(resource.group, resource.version, resource.kind)
        listed = self._definitions.name(resource.group, resource.version, resource.list_kind)
        kind = (resource.group, resource.version, resource.kind)
        verbs = resource.verbs
        path = self._path(collection, resource.namespaced, named=False)
        if "list" in verbs:
            path["get"] = self._operation("list", kind, listed, resource.plural)
            if resource.namespaced:
                everywhere = self._path(f"{base}/{resource.plural}", False, named=False)
                everywhere["get"] = self._operation("list", kind, listed, resource.plural + "ForAllNamespaces")
        if "create" in verbs:
            path["post"] = self._operation("post", kind, own, resource.plural, body=own)
        if "deletecollection" in verbs:
            path["delete"] = self._operation("deletecollection", kind, _STATUS, resource.plural, body=_DELETE_OPTIONS)
        singles = [v for v in ("get", "update", "patch", "delete") if v in verbs]
        if singles:
            path = self._path(item, resource.namespaced, named=True)
            for verb in singles:
                body = {"update": own, "patch": _PATCH, "delete": _DELETE_OPTIONS}.get(verb)
                answer = _STATUS if verb == "delete" else own
                path[_ACTIONS[verb]] = self._operation(_ACTIONS[verb], kind, answer, resource.singular, body=body)
        for name in resource.subresources:
            self._add_subresource(resource, name, item)

    def _add_subresource(self, resource: Resource, name: str, item: str) -> None:
        sub = subresource(resource, name)
        assert sub is not None, "the row itself names the subresource"
        group, version = (sub.group, sub.version) if sub.version else (resource.group, resource.version)
        own = self._definitions.name(group, version, sub.kind)
        path = self._path(f"{item}/{name}", resource.namespaced, named=True)
        for verb in sub.verbs:
            if name in ("exec", "attach", "portforward", "proxy", "log"):
                action, answer, body = "connect" if name != "log" else "get", "", None
            else:
                action, answer = _ACTIONS[verb], own
                body = {"create": own, "update": own, "patch": _PATCH}.get(verb)
            operation = self._operation(
                action, (group, version, sub.kind), answer, f"{resource.singular}{name}{verb}", body=body
            )
            path[_ACTIONS[verb]] = operation

    def _path(self, path: str, namespaced: bool, *, named: bool) -> Object:
        names = (["name"] if named else []) + (["namespace"] if namespaced else [])
        parameters = [self._parameter(name, "path", "string", required=True) for name in names]
        parameters.append(self._parameter("pretty", "query", "string"))
        entry = self.paths[path] = {"parameters": parameters}
        return entry

    def _parameter(self, name: str, where: str, kind: str, *, required: bool = False) -> Object:
        parameter: Object = {"name": name, "in": where, "uniqueItems": True}
        if required:
            parameter["required"] = True
        if self._v3:
            del parameter["uniqueItems"]
            parameter["schema"] = {"type": kind, "uniqueItems": True}
        else:
            parameter["type"] = kind
        return parameter

    def _operation(
        self, action: str, kind: tuple[str, str, str], answer: str, subject: str, *, body: str | None = None
    ) -> Object:
        query: list[tuple[str, str]] = []
        if action in ("list", "deletecollection"):
            query += [("labelSelector", "string"), ("fieldSelector", "string"), ("limit", "integer")]
            query += [("continue", "string"), ("resourceVersion", "string"), ("resourceVersionMatch", "string")]
            query += [("timeoutSeconds", "integer"), ("sendInitialEvents", "boolean")]
        if action == "list":
            query += [("allowWatchBookmarks", "boolean"), ("watch", "boolean")]
        if action in ("post", "put", "patch"):
            query += [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")]
        if action == "patch":
            query.append(("force", "boolean"))
        if action in ("delete", "deletecollection"):
            query += [("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("orphanDependents", "boolean")]
            query.append(("propagationPolicy", "string"))
        group, version, name = kind
        operation: Object = {
            "operationId": f"{action}{(group or 'core').title().replace('.', '')}{version.title()}{subject}",
            "parameters": [self._parameter(n, "query", t) for n, t in query],
            "responses": self._responses(action, answer),
            "tags": [f"{(group or 'core').replace('.', '_')}_{version}"],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": name},
        }
        if body is not None:
            self._add_body(operation, action, body)
        elif not self._v3:
            operation["produces"] = ["application/json"]
        return operation

    def _add_body(self, operation: Object, action: str, body: str) -> None:
        self.used.add(body)
        schema = {"$ref": self._prefix + body}
        types = _PATCH_TYPES if action == "patch" else ("*/*",)
        required = action in ("post", "put", "patch")
        if self._v3:
            operation["requestBody"] = {"content": {t: {"schema": schema} for t in types}}
            if required:
                operation["requestBody"]["required"] = True
            return
        parameter: Object = {"name": "body", "in": "body", "schema": schema}
        if required:
            parameter["required"] = True
        operation["parameters"].append(parameter)
        operation["consumes"], operation["produces"] = list(types), ["application/json"]

    def _responses(self, action: str, answer: str) -> Object:
        response: Object = {"description": "OK"}
        if answer:
            self.used.add(answer)
            schema = {"$ref": self._prefix + answer}
            if self._v3:
                response["content"] = {"application/json": {"schema": schema}}
            else:
                response["schema"] = schema
        codes = {
            "post": ("200", "201", "202"),
            "put": ("200", "201"),
            "patch": ("200", "201"),
            "delete": ("200", "202"),
        }
        answers: Object = dict.fromkeys(codes.get(action, ("200",)), response)
        answers["401"] = {"description": "Unauthorized"}
        return answers


def v3_document(group_version: str) -> bytes | None:
    """The document of ``apis/apps/v1``, or None when nobody serves that."""
    resources = [r for r in RESOURCES if r.api_root.strip("/") == group_version]
    if not resources:
        return None
    definitions = Definitions(load_definitions())
    paths = Paths(definitions, v3=True)
    for resource in resources:
        paths.add(resource)
    schemas = reached(paths.used, definitions.all)
    document = {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths.paths,
        "components": {
            "schemas": refer(schemas, "#/components/schemas/"),
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    }
    return orjson.dumps(document)


def v3_index() -> Object:
    """Where the documents are. The hash in an address changes with the content, so that clients may keep what they have."""
    paths = {gv: {"serverRelativeURL": f"/openapi/v3/{gv}?hash={_hash(gv)}"} for gv in group_versions()}
    return {"paths": paths}


def _hash(group_version: str) -> str:
    """Of all that a document is made from; making every document only for its hash would cost a second."""
    data = Path(__file__).with_name("definitions.json.gz").read_bytes()
    rows = repr([(r.plural, r.verbs, r.subresources) for r in RESOURCES if r.api_root.strip("/") == group_version])
    digest = hashlib.sha256(data + rows.encode() + group_version.encode() + GIT_VERSION.encode())
    return digest.hexdigest().upper()


def v2_document() -> Object:
    """The one document of ``/openapi/v2``."""
    definitions = Definitions(load_definitions())
    paths = Paths(definitions, v3=False)
    for resource in RESOURCES:
        paths.add(resource)
    schemas = {name: _without_unions(schema) for name, schema in reached(paths.used, definitions.all).items()}
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": paths.paths,
        "definitions": refer(schemas, "#/definitions/"),
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
    }


def _without_unions(schema: Object) -> Object:
    """v2 knows no ``oneOf``: a quantity is a string there, an int-or-string a string with a format of its own."""
    if "oneOf" not in schema:
        return schema
    kinds = {s.get("type") for s in schema["oneOf"]}
    rest = {k: v for k, v in schema.items() if k != "oneOf"}
    return {**rest, "type": "string", **({"format": "int-or-string"} if "integer" in kinds else {})}
