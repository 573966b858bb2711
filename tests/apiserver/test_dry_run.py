"""``dryRun=All`` everywhere: the answer is that of the real call, and nothing is written."""

import json
from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment, pod

Object = dict[str, Any]
SCALE = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 9}}
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
BINDING = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
DEBUGGER = {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox:1"}]}}
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
async def namespace_with_objects(api: Api, namespace: str) -> str:
    await api.create(f"/api/v1/namespaces/{namespace}/pods", pod("p"))
    await api.create(f"/api/v1/namespaces/{namespace}/configmaps", config_map("a", x="1"))
    await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web"))
    return namespace


@pytest.mark.parametrize(
    ("method", "path", "body", "media", "code", "seen"),
    [
        ("POST", "api/v1/{}/configmaps", config_map("b"), "", 201, {"metadata": {"name": "b"}}),
        ("PUT", "api/v1/{}/configmaps/a", config_map("a", x="2"), "", 200, {"data": {"x": "2"}}),
        ("PATCH", "api/v1/{}/configmaps/a", {"data": {"x": "2"}}, MERGE, 200, {"data": {"x": "2"}}),
        ("DELETE", "api/v1/{}/configmaps/a", None, "", 200, {"status": "Success"}),
        ("DELETE", "api/v1/{}/configmaps", None, "", 200, {"kind": "ConfigMapList"}),
        ("DELETE", "api/v1/{}/pods/p", {"dryRun": ["All"]}, "", 200, {"kind": "Pod"}),
        ("PATCH", "api/v1/{}/pods/p/status", {"status": {"message": "x"}}, MERGE, 200, {"status": {"message": "x"}}),
        ("PATCH", "api/v1/{}/pods/p/ephemeralcontainers", DEBUGGER, STRATEGIC, 200, {"kind": "Pod"}),
        ("POST", "api/v1/{}/pods/p/binding", BINDING, "", 201, {"status": "Success"}),
        ("POST", "api/v1/{}/pods/p/eviction", EVICTION, "", 201, {"status": "Success"}),
        ("PUT", "apis/apps/v1/{}/deployments/web/scale", SCALE, "", 200, {"spec": {"replicas": 9}}),
        ("PATCH", "apis/apps/v1/{}/deployments/web/scale", SCALE, MERGE, 200, {"spec": {"replicas": 9}}),
        ("PATCH", "apis/apps/v1/{}/deployments/web/scale?force=1", SCALE, APPLY, 200, {"spec": {"replicas": 9}}),
    ],
)  # fmt: skip
async def test_every_kind_of_write_can_be_tried(
    api: Api,
    namespace_with_objects: str,
    method: str,
    path: str,
    body: Object | None,
    media: str,
    code: int,
    seen: Object,
) -> None:
    space = f"namespaces/{namespace_with_objects}"
    lists = [f"/api/v1/{space}/pods", f"/api/v1/{space}/configmaps", f"/apis/apps/v1/{space}/deployments"]
    before = [(await api.get(path))["items"] for path in lists]
    join = "&" if "?" in path else "?"
    content = None if body is None else json.dumps(body).encode()
    headers = {"content-type": media or "application/json"}
    url = f"/{path.format(space)}{join}dryRun=All&fieldManager=tryer"
    answer = await api.call(method, url, content, code, headers=headers)
    for key, value in seen.items():
        found = answer[key]
        assert found == value or (isinstance(value, dict) and value.items() <= found.items()), answer
    assert [(await api.get(path))["items"] for path in lists] == before
