"""The published documents against upstream's facts: its definitions, and the client that is generated from its documents."""

import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes_validate
import orjson
import pytest

from apimachinery.resources import RESOURCES
from apiserver.openapi import documents, v2_protobuf

Object = dict[str, Any]
#: Newer than v1.33, or asks for a feature that is off there.
NEWER = {"shard_selector", "stream", "ignore_store_read_error_with_cluster_breaking_potential"}


@cache
def v2() -> Object:
    return documents.v2_document()


@cache
def v3(name: str) -> Object:
    document = documents.v3_document(name)
    assert document is not None
    return orjson.loads(document)


def references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {r for item in node for r in references(item)}
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own | {r for value in node.values() for r in references(value)}
    return set()


def operations(document: Object) -> dict[str, tuple[Object, list[Object]]]:
    """operationId -> the operation, and all parameters that it takes."""
    found: dict[str, tuple[Object, list[Object]]] = {}
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method != "parameters":
                assert operation["operationId"] not in found, f"{path} repeats {operation['operationId']}"
                found[operation["operationId"]] = operation, shared + operation.get("parameters", [])
    return found


def snake(name: str) -> str:
    """As the client's generator does."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def method_of(operation: Object) -> str:
    """``CoreV1Api.list_namespaced_pod``: where the official client has the operation."""
    owner = "".join(word[:1].upper() + word[1:] for word in operation["tags"][0].split("_"))
    versioned = re.search(r"V\d$", owner)
    name = operation["operationId"].replace(owner, "", 1) if versioned else operation["operationId"]
    if name.endswith("APIGroup"):
        name = "getAPIGroup"
    elif name in ("getCoreAPIVersions", "getAPIVersions"):
        name = "getAPIVersions"
    elif name == "getCodeVersion":
        name = "getCode"
    return f"{owner}Api.{snake(name)}"


def client_methods() -> dict[str, Callable[..., Any]]:
    """``CoreV1Api.list_namespaced_pod`` -> the method."""
    found = {}
    for owner in dir(kubernetes.client):
        kind = getattr(kubernetes.client, owner)
        if inspect.isclass(kind) and owner.endswith("Api"):
            for name, function in vars(kind).items():
                if not name.startswith("_") and not name.endswith("_with_http_info") and name != "close":
                    found[f"{owner}.{name}"] = function
    assert len(found) > 500, "the client has its methods elsewhere"
    return found


def test_every_operation_is_called_as_in_the_official_client_takes_and_answers_the_same() -> None:
    theirs = client_methods()
    different = []
    for operation, parameters in operations(v2()).values():
        method = method_of(operation)
        if method not in theirs:
            different.append(f"{method} is unknown")
            continue
        text, wanted = theirs[method].__doc__ or "", theirs[method].__annotations__["return"].__name__
        schema = operation["responses"]["200"].get("schema", {})
        answer = "".join(p[:1].upper() + p[1:] for p in schema.get("$ref", "").split("/")[-1].split(".")[-2:]) or "Str"
        # The client calls a Status of a deletion an object, and says of which group what several groups have.
        wanted = "V1Status" if wanted == "object" else wanted
        if not wanted.lower().endswith(answer.lower()) and "version.Info" not in schema.get("$ref", ""):
            different.append(f"{method} answers {answer}, not {wanted}")
        taken = {_bare(p["name"]) for p in parameters if p["name"] != "body"}
        known = {_bare(n) for n in re.findall(r":param (\w+):", text) if n not in {*NEWER, *_OF_THE_CLIENT}}
        if taken != known:
            different.append(f"{method} takes {sorted(taken ^ known)} more or less")
    assert not different, "\n".join(different[:20])


_OF_THE_CLIENT = {"async_req", "body", "_preload_content", "_return_http_data_only", "_request_timeout", "_request_auth",
                  "_content_type", "_headers", "_host_index", "path2"}  # fmt: skip


def _bare(name: str) -> str:
    return name.replace("_", "").lower()


def test_everything_that_the_official_client_does_with_a_served_kind_is_there() -> None:
    ours = {method_of(operation) for operation, _ in operations(v2()).values()}
    kinds = {snake(r.kind) for r in RESOURCES}
    owners = {name.partition(".")[0] for name in ours if re.match(r"\w+V\dApi", name)}
    pattern = r"(?:list|create|replace|patch|delete_collection|delete|read|connect_\w+?)_(?:namespaced_)?(\w+?)"
    missing = []
    for method in client_methods():
        owner, _, name = method.partition(".")
        match = re.fullmatch(pattern + r"(?:_for_all_namespaces)?", name)
        if owner in owners and match and match[1] in kinds and method not in ours:
            missing.append(method)
    assert missing == []


@pytest.mark.parametrize("name", documents.document_names())
def test_every_reference_of_v3_resolves(name: str) -> None:
    document = v3(name)
    known = {f"#/components/schemas/{schema}" for schema in document["components"]["schemas"]}
    assert references(document) <= known
    operations(document)
    for path, item in document["paths"].items():
        named = set(re.findall(r"\{(\w+)\}", path))
        assert {p["name"] for p in item.get("parameters", []) if p["in"] == "path"} == named


def test_every_reference_of_v2_resolves_and_is_written_as_protobuf() -> None:
    document = v2()
    assert references(document) <= {f"#/definitions/{name}" for name in document["definitions"]}
    written = v2_protobuf.encode(document)
    for operation_id in ("listCoreV1NamespacedPod", "patchAppsV1NamespacedDeploymentScale"):
        assert operation_id.encode() in written


def test_v2_and_v3_have_the_same_operations() -> None:
    apart = {o for name in documents.document_names() for o in operations(v3(name))}
    assert apart == set(operations(v2()))


def test_definitions_have_the_fields_of_upstreams() -> None:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.33.0-local"
    theirs = orjson.loads((folder / "_definitions.json").read_bytes())["$defs"]
    ours = v2()["definitions"]
    for name, schema in ours.items():
        wanted = theirs[name]
        assert set(schema.get("properties", {})) == set(wanted.get("properties", {})), name
        assert set(schema.get("required", ())) == set(wanted.get("required", ())), name
        for field, property_ in schema.get("properties", {}).items():
            expected = wanted["properties"][field]
            assert property_.get("description") == expected.get("description"), f"{name}.{field}"
            extensions = {k: v for k, v in expected.items() if k.startswith("x-kubernetes")}
            assert {k: v for k, v in property_.items() if k.startswith("x-kubernetes")} == extensions, f"{name}.{field}"
    kinds = {
        (g["group"], g["version"], g["kind"])
        for s in ours.values()
        for g in s.get("x-kubernetes-group-version-kind", ())
    }
    assert {(r.group, r.version, r.kind) for r in RESOURCES} <= kinds


def test_deletions_are_documented_as_they_are_answered() -> None:
    from apiserver.handlers.delete import _ANSWER_WITH_OBJECT

    documented = set()
    for resource in RESOURCES:
        item = v2()["paths"].get(f"{resource.path('{namespace}' if resource.namespaced else None, '{name}')}", {})
        answer = item.get("delete", {}).get("responses", {}).get("200", {}).get("schema", {}).get("$ref")
        if answer and not answer.endswith(".v1.Status"):
            documented.add(resource.plural)
    assert documented == _ANSWER_WITH_OBJECT
