"""Discovery and schemas, in every form that clients ask for."""

from typing import Any

from apimachinery.resources import RESOURCES
from tests.apiserver.conftest import Api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList,application/json"


def references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {r for item in node for r in references(item)}
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own | {r for value in node.values() for r in references(value)}
    return set()


async def test_legacy_discovery_names_every_resource(api: Api) -> None:
    assert (await api.get("/api"))["versions"] == ["v1"]
    groups = {g["name"]: g for g in (await api.get("/apis"))["groups"]}
    for resource in RESOURCES:
        listed = await api.get(resource.api_root)
        entry = {r["name"]: r for r in listed["resources"]}[resource.plural]
        assert entry["kind"] == resource.kind
        assert entry["namespaced"] is resource.namespaced
        if resource.group:
            versions = [v["version"] for v in groups[resource.group]["versions"]]
            assert resource.version in versions
    assert (await api.get("/apis/apps"))["preferredVersion"]["version"] == "v1"


async def test_aggregated_discovery_has_an_etag_that_saves_the_second_answer(api: Api) -> None:
    for version in ("v2", "v2beta1"):
        headers = {"accept": AGGREGATED.format(version)}
        response = await api.http.get("/apis", headers=headers)
        document = response.json()
        assert document["kind"] == "APIGroupDiscoveryList"
        assert document["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        apps = next(item for item in document["items"] if item["metadata"]["name"] == "apps")
        deployments = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
        assert deployments["responseKind"]["kind"] == "Deployment"
        assert {s["subresource"] for s in deployments["subresources"]} == {"scale", "status"}
        again = await api.http.get("/apis", headers={**headers, "if-none-match": response.headers["etag"]})
        assert again.status_code == 304
    core = (await api.http.get("/api", headers=headers)).json()
    assert core["items"][0]["versions"][0]["version"] == "v1"


async def test_every_reference_of_the_schemas_resolves(api: Api) -> None:
    index = (await api.get("/openapi/v3"))["paths"]
    assert "api/v1" in index
    for group_version in ("api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1"):
        document = await api.get(index[group_version]["serverRelativeURL"])
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert references(document) <= known
    v2 = await api.get("/openapi/v2")
    assert references(v2) <= {f"#/definitions/{name}" for name in v2["definitions"]}
    patch = document["paths"]["/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}"]["patch"]
    assert "fieldValidation" in {p["name"] for p in patch["parameters"]}


async def test_paths_that_nobody_serves_are_not_found(api: Api) -> None:
    for path in (
        "/nowhere",
        "/apis/none.example.com",
        "/apis/apps/v9",
        "/api/v1/nothings",
        "/openapi/v3/apis/none/v1",
        "/apis/apps/v1/namespaces/default/deployments/x/nothing",
    ):
        response = await api.http.get(path)
        assert response.status_code == 404, path


async def test_methods_that_a_resource_does_not_know_are_not_allowed(api: Api) -> None:
    for method, path in (
        ("PUT", "/api/v1/pods"),
        ("POST", "/api/v1/pods"),
        ("PATCH", "/api/v1/namespaces/default/pods"),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/api/v1/namespaces/default/pods/x"),
    ):
        response = await api.http.request(method, path, json={})
        assert response.status_code == 405, (method, path, response.text)
        assert response.json()["reason"] == "MethodNotAllowed"
