"""Paths and their operations from rows of the resource table, in the v3 or the v2 way of writing them."""

from typing import Any

from apimachinery.resources import Resource, Subresource, subresource
from apiserver.openapi.operations import (
    DELETE_OPTIONS,
    META,
    PARAMETERS,
    PATCH,
    PATCH_TYPES,
    STATUS,
    Operation,
    type_of,
)

Object = dict[str, Any]
Kind = tuple[str, str, str]
_METHODS = {"create": "post", "update": "put", "patch": "patch", "delete": "delete", "get": "get"}
_CONNECTED = {
    "exec": ("get", "post"),
    "attach": ("get", "post"),
    "portforward": ("get", "post"),
    "proxy": ("delete", "get", "head", "options", "patch", "post", "put"),
}


class Definitions:
    """Names of definitions by kind."""

    def __init__(self, definitions: dict[str, Object]) -> None:
        self.all = definitions
        self._by_kind: dict[Kind, str] = {}
        for name, schema in definitions.items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                self._by_kind.setdefault((kind["group"], kind["version"], kind["kind"]), name)

    def name(self, kind: Kind) -> str:
        return self._by_kind.get(kind, STATUS)


class Paths:
    """The paths of some resources; ``used`` names the definitions that they refer to."""

    def __init__(self, definitions: Definitions, descriptions: dict[str, dict[str, str]], *, v3: bool) -> None:
        self._definitions = definitions
        self._descriptions = descriptions
        self._v3 = v3
        self._prefix = "#/components/schemas/" if v3 else "#/definitions/"
        self.used: set[str] = {STATUS}
        self.paths: dict[str, Object] = {}

    # --- resources ---

    def add(self, resource: Resource) -> None:
        base = resource.api_root
        space = "/namespaces/{namespace}" if resource.namespaced else ""
        collection, item = f"{base}{space}/{resource.plural}", f"{base}{space}/{resource.plural}/{{name}}"
        verbs = resource.verbs
        actions = [
            a
            for verb, a in (("deletecollection", "deletecollection"), ("list", "list"), ("create", "post"))
            if verb in verbs
        ]
        self._path(collection, resource, {_method(a): self._of(a, resource) for a in actions})
        actions = [_METHODS[v] for v in ("delete", "get", "patch", "update") if v in verbs]
        self._path(item, resource, {a: self._of(a, resource) for a in actions}, named=True)
        if "list" in verbs and resource.namespaced:
            everywhere = self._of("list", resource)
            everywhere = everywhere._replace(subject=f"{resource.kind}ForAllNamespaces")
            self._path(f"{base}/{resource.plural}", None, {"get": everywhere})
        for name in resource.subresources:
            found = subresource(resource, name)
            assert found is not None, "the row itself names the subresource"
            self._add_subresource(resource, found, f"{item}/{name}")

    def _of(self, action: str, resource: Resource) -> Operation:
        kind = (resource.group, resource.version, resource.kind)
        own, listed = self._definitions.name(kind), self._definitions.name((*kind[:2], resource.list_kind))
        body = {"post": own, "put": own, "patch": PATCH, "delete": DELETE_OPTIONS, "deletecollection": DELETE_OPTIONS}
        # Deletion of a pod answers the pod as it is now, and that of most others says Status.
        whole = (resource.plural in _ANSWERED_WHOLE and action == "delete") or action not in (
            "delete",
            "deletecollection",
        )
        answer = listed if action == "list" else own if whole else STATUS
        return Operation(
            action, kind, ("Namespaced" if resource.namespaced else "") + resource.kind, resource.kind,
            resource.group, resource.version, body=body.get(action), answer=answer,
        )  # fmt: skip

    def _add_subresource(self, resource: Resource, sub: Subresource, path: str) -> None:
        group, version = (sub.group, sub.version) if sub.version else (resource.group, resource.version)
        kind = (group, version, sub.kind)
        base = self._of("get", resource)._replace(
            kind=kind, subject=self._of("get", resource).subject + sub.name.title(), part=sub.name, answer=""
        )
        if sub.name in _CONNECTED:
            methods = _CONNECTED[sub.name]
            found = {m: base._replace(action="connect", method=m) for m in methods}
            self._path(path, resource, found, named=True)
            if sub.name == "proxy":
                deeper = {m: o._replace(subject=o.subject + "WithPath") for m, o in found.items()}
                self._path(path + "/{path}", resource, deeper, named=True)
            return
        if sub.name == "log":
            self._path(path, resource, {"get": base}, named=True)
            return
        own = self._definitions.name(kind)
        operations = {}
        for verb in sorted(sub.verbs):
            method = _METHODS[verb]
            body = {"create": own, "update": own, "patch": PATCH}.get(verb)
            operations[method] = base._replace(action=method, body=body, answer=own)
        self._path(path, resource, operations, named=True)

    # --- what is no resource ---

    def add_plain(self, path: str, operation_id: str, description: str, tag: str, answer: str) -> None:
        """A GET of a document, such as discovery's."""
        if answer:
            self.used.add(answer)
        operation: Object = {"description": description, "operationId": operation_id, "tags": [tag]}
        operation["responses"] = {
            "200": self._response("OK", answer or None),
            "401": {"description": "Unauthorized"},
        }
        if not self._v3:
            operation |= {"consumes": ["application/json"], "produces": ["application/json"], "schemes": ["https"]}
        self.paths[path] = {"get": operation}

    def add_resource_list(self, api_root: str) -> None:
        """``/apis/apps/v1/`` itself."""
        parts = api_root.strip("/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        named = Operation("get", ("", "", ""), "APIResources", "", group, version)
        operation_id = "get" + named.id.removeprefix("read")
        self.add_plain(f"{api_root}/", operation_id, "get available resources", named.tag, META + "APIResourceList")

    # --- writing ---

    def _path(
        self, path: str, resource: Resource | None, operations: dict[str, Operation], *, named: bool = False
    ) -> None:
        if not operations:
            return
        parameters: list[Object] = []
        if named and resource is not None:
            described = f"name of the {resource.kind}"
            if path.endswith(("/scale", "/eviction", "/binding", "/token")) or "/proxy" in path or _is_connected(path):
                described = f"name of the {next(iter(operations.values())).kind[2]}"
            parameters.append(self._parameter("name", "path", described))
        if resource is not None and resource.namespaced:
            parameters.append(self._parameter("namespace", "path", self._descriptions["path"]["namespace"]))
        if path.endswith("{path}"):
            parameters.append(self._parameter("path", "path", "path to the resource"))
        written = {method: self._operation(operation) for method, operation in operations.items()}
        connected = any(o.action == "connect" for o in operations.values())
        if not connected:
            parameters.append(self._parameter("pretty", "query", self._descriptions["path"]["pretty"]))
        # As upstream: what all operations of a path take is said once, for the path.
        shared = [
            p for p in next(iter(written.values()))["parameters"] if all(p in w["parameters"] for w in written.values())
        ]
        shared = [p for p in shared if p["in"] == "query"]
        for operation in written.values():
            operation["parameters"] = [p for p in operation["parameters"] if p not in shared]
            if not operation["parameters"]:
                del operation["parameters"]
        self.paths[path] = {**written, "parameters": parameters + shared}

    def _parameter(self, name: str, where: str, description: str) -> Object:
        parameter: Object = {"name": name, "in": where}
        if description:
            parameter["description"] = description
        if where == "path":
            parameter["required"] = True
        kind = type_of(name)
        if self._v3:
            parameter["schema"] = {"type": kind, "uniqueItems": True}
        else:
            parameter |= {"type": kind, "uniqueItems": True}
        return parameter

    def _operation(self, operation: Operation) -> Object:
        taken = operation.part if operation.part in PARAMETERS else operation.action
        described = self._descriptions.get(taken, {})
        group, version, kind = operation.kind
        written: Object = {
            "description": operation.description,
            "operationId": operation.id,
            "parameters": [self._parameter(n, "query", described.get(n, "")) for n in PARAMETERS.get(taken, ())],
            "responses": {
                code: {"description": text} if code == "401" else self._response(text, operation.answer)
                for code, text in operation.responses().items()
            },
            "tags": [operation.tag],
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        }
        if operation.answer:
            self.used.add(operation.answer)
        if not self._v3:
            produced = "application/json" if operation.answer else "*/*"
            written |= {"consumes": ["*/*"], "produces": [produced], "schemes": ["https"]}
        if operation.body is not None:
            self._add_body(written, operation)
        return written

    def _add_body(self, written: Object, operation: Operation) -> None:
        assert operation.body is not None, "the caller has checked"
        self.used.add(operation.body)
        schema = {"$ref": self._prefix + operation.body}
        types = PATCH_TYPES if operation.action == "patch" else ("*/*",)
        required = operation.action in ("post", "put", "patch")
        if self._v3:
            written["requestBody"] = {"content": {t: {"schema": schema} for t in types}}
            if required:
                written["requestBody"]["required"] = True
            return
        parameter: Object = {"name": "body", "in": "body", "schema": schema}
        if required:
            parameter["required"] = True
        written["parameters"].append(parameter)
        written["consumes"] = list(types)

    def _response(self, description: str, answer: str | None) -> Object:
        """None: a document without a schema of its own; empty: a string."""
        if answer is None:
            return {"description": description}
        schema: Object = {"$ref": self._prefix + answer} if answer else {"type": "string"}
        if not self._v3:
            return {"description": description, "schema": schema}
        media = "application/json" if answer else "*/*"
        return {"description": description, "content": {media: {"schema": schema}}}


#: What DELETE answers with the object itself.
_ANSWERED_WHOLE = frozenset(
    ("pods", "services", "persistentvolumeclaims", "persistentvolumes", "podtemplates", "resourcequotas", "serviceaccounts",
     "csidrivers", "csinodes", "storageclasses", "volumeattachments")
)  # fmt: skip


def _method(action: str) -> str:
    return {"deletecollection": "delete", "list": "get"}.get(action, action)


def _is_connected(path: str) -> bool:
    return path.rpartition("/")[2] in _CONNECTED
