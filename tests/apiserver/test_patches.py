"""Patches over the wire: what is refused, with which code and in which words."""

from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment

Object = dict[str, Any]
REFUSED = "the server rejected our request due to an error in our request"


@pytest.fixture
async def web(api: Api, namespace: str) -> str:
    """The path of a Deployment."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(path, deployment("web"))
    return f"{path}/web"


async def test_a_media_type_that_is_no_patch_names_those_that_are(api: Api, web: str) -> None:
    status = await api.call("PATCH", web, {}, 415)
    assert status["reason"] == "UnsupportedMediaType"
    assert status["message"] == (
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    )


@pytest.mark.parametrize(
    ("kind", "patch", "code", "message"),
    [
        ("json", [{"op": "test", "path": "/spec/replicas", "value": 9}], 422, REFUSED),
        ("json", [{"op": "remove", "path": "/spec/none"}], 422, REFUSED),
        ("json", [{"op": "test", "path": "/kind", "value": "Deployment"}] * 10_001, 413, "The allowed maximum operations"),
        ("json", b"[", 400, "error decoding patch: "),
        ("merge", b"[]", 400, "error decoding patch: "),
        ("merge", {"spec": {"replicas": "many"}}, 422, ' "" is invalid: patch: Invalid value: "{'),
        ("json", [{"op": "add", "path": "/spec/replicas", "value": "x"}], 422, "json: cannot unmarshal string into Go"),
        ("strategic", {"spec": {"replicas": "many"}}, 422, ' "" is invalid: patch: Invalid value: "map[spec:map[replicas:many]]": '),
        ("strategic", {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}, 400, "declared merge key: name"),
        ("strategic", {"spec": {"$patch": "swap"}}, 400, "unknown patch type: swap in map: map["),
        ("strategic", {"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ("strategic", {"metadata": {"$deleteFromPrimitiveList": ["x"]}}, 400, "invalid patch format of primitive list"),
        ("strategic", {"metadata": {"$setElementOrder": ["x"]}}, 400, "invalid patch format of setElementOrder list"),
        ("merge", {"metadata": {"name": "other"}}, 400, "the name of the object (other) does not match the name on the URL (web)"),
        ("merge", {"metadata": {"namespace": "x"}}, 400, "the namespace of the provided object does not match"),
        ("merge", {"metadata": {"uid": "x"}}, 422, 'metadata.uid: Invalid value: "x": field is immutable'),
        ("merge", {"metadata": {"resourceVersion": "1"}}, 409, "the object has been modified"),
        ("merge", {"kind": "Pod"}, 422, "patch: Invalid value"),
        ("merge", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}, 422, "field is immutable"),
    ],
)  # fmt: skip
async def test_what_a_patch_can_get_wrong(api: Api, web: str, kind: str, patch: Any, code: int, message: str) -> None:
    before = await api.get(web)
    status = await api.patch(web, patch, kind, code)
    assert message in status["message"]
    assert status["code"] == code
    assert await api.get(web) == before


async def test_unknown_fields_that_a_patch_brings_are_told_as_asked(api: Api, web: str) -> None:
    body = {"spec": {"replicaz": 1}}
    for kind, shown in (("merge", '"{\\"'), ("strategic", '"map[spec:map[replicaz:1]]"')):
        status = await api.patch(web, body, kind, 422, fieldValidation="Strict")
        assert status["message"].startswith(f' "" is invalid: patch: Invalid value: {shown}')
        assert status["message"].endswith('strict decoding error: unknown field "spec.replicaz"')
    twice = b'{"spec":{"replicas":2,"replicas":4}}'
    status = await api.patch(web, twice, "merge", 422, fieldValidation="Strict")
    assert status["message"].endswith('strict decoding error: duplicate field "spec.replicas"')
    headers = {"content-type": "application/merge-patch+json"}
    answer = await api.http.request("PATCH", web, content=twice, headers=headers)
    assert answer.headers["warning"] == '299 - "duplicate field \\"spec.replicas\\""'
    assert answer.json()["spec"]["replicas"] == 4


async def test_an_update_of_another_incarnation_or_without_a_version_is_refused(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"))
    other = config_map("a")
    other["metadata"]["uid"] = "0000"
    status = await api.call("PUT", f"{path}/a", other, 409)
    assert f"StorageError: invalid object, Code: 4, Key: /registry/configmaps/{namespace}/a, " in status["message"]
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    await api.call("PUT", f"{leases}/l", lease, 201)
    status = await api.call("PUT", f"{leases}/l", lease, 422)
    assert status["message"] == (
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0x0: '
        "must be specified for an update"
    )


async def test_a_name_that_is_being_deleted_is_taken_and_the_client_is_told_why(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/wait"]
    await api.create(path, body)
    await api.call("DELETE", f"{path}/a")
    status = await api.create(path, config_map("a"), 409)
    assert status["message"] == 'object is being deleted: configmaps "a" already exists'
    await api.patch(f"{path}/a", {"metadata": {"finalizers": None}})


async def test_a_json_patch_sees_the_owners(api: Api, web: str) -> None:
    manager = (await api.get(web))["metadata"]["managedFields"][0]["manager"]
    seen = [{"op": "test", "path": "/metadata/managedFields/0/manager", "value": manager}]
    await api.patch(web, seen, "json")
    wrong = [{"op": "test", "path": "/metadata/managedFields/0/manager", "value": "x"}]
    await api.patch(web, wrong, "json", 422)
