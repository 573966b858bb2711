"""Create, get, update, patch and delete over the wire."""

import asyncio

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment, pod


async def test_a_created_object_is_read_back_with_what_the_server_adds(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    created = await api.create(path, config_map("a", x="1"))
    metadata = created["metadata"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0
    assert await api.get(f"{path}/a") == created


async def test_creating_twice_is_already_exists(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"))
    status = await api.create(path, config_map("a"), code=409)
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == 'configmaps "a" already exists'


async def test_what_is_not_there_is_not_found(api: Api, namespace: str) -> None:
    status = await api.get(f"/api/v1/namespaces/{namespace}/configmaps/none", code=404)
    assert status["reason"] == "NotFound"
    assert status["details"] == {"name": "none", "kind": "configmaps"}


async def test_nothing_is_created_in_a_namespace_that_does_not_exist(api: Api) -> None:
    status = await api.create("/api/v1/namespaces/nowhere/configmaps", config_map("a"), code=404)
    assert status["message"] == 'namespaces "nowhere" not found'


async def test_the_namespace_of_the_body_must_be_that_of_the_path(api: Api, namespace: str) -> None:
    body = config_map("a")
    body["metadata"]["namespace"] = "other"
    status = await api.create(f"/api/v1/namespaces/{namespace}/configmaps", body, code=400)
    assert "does not match the namespace sent on the request" in status["message"]


async def test_generated_names_differ(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"metadata": {"generateName": "g-"}}
    names = {(await api.create(path, body))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("g-") for name in names)


async def test_an_update_with_an_old_version_is_a_conflict_and_one_without_any_wins(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    first = await api.create(path, config_map("a", x="1"))
    second = await api.call("PUT", f"{path}/a", {**first, "data": {"x": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    status = await api.call("PUT", f"{path}/a", {**first, "data": {"x": "3"}}, code=409)
    assert status["reason"] == "Conflict"
    assert status["message"].startswith('Operation cannot be fulfilled on configmaps "a": the object has been modified')
    unconditional = await api.call("PUT", f"{path}/a", config_map("a", x="4"))
    assert unconditional["data"] == {"x": "4"}
    assert unconditional["metadata"]["uid"] == first["metadata"]["uid"]


async def test_an_update_that_changes_nothing_keeps_the_version(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    first = await api.create(path, config_map("a", x="1"))
    again = await api.call("PUT", f"{path}/a", config_map("a", x="1"))
    assert again == first


async def test_an_update_of_another_incarnation_is_a_conflict(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"))
    body = config_map("a")
    body["metadata"]["uid"] = "0000"
    status = await api.call("PUT", f"{path}/a", body, code=409)
    assert "Precondition failed: UID in precondition: 0000" in status["message"]


async def test_the_three_patches_change_what_they_say(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(path, deployment("web"))
    merged = await api.patch(f"{path}/web", {"spec": {"replicas": 4}, "metadata": {"labels": {"app": None}}})
    assert merged["spec"]["replicas"] == 4
    assert "labels" not in merged["metadata"]
    operations = [{"op": "test", "path": "/spec/replicas", "value": 4}]
    operations.append({"op": "replace", "path": "/spec/replicas", "value": 5})
    assert (await api.patch(f"{path}/web", operations, "json"))["spec"]["replicas"] == 5
    containers = [{"name": "side", "image": "busybox:2"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    both = await api.patch(f"{path}/web", patch, "strategic")
    assert {c["name"] for c in both["spec"]["template"]["spec"]["containers"]} == {"c", "side"}
    assert both["metadata"]["generation"] == 4


async def test_a_json_patch_whose_test_fails_is_refused(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a", x="1"))
    status = await api.patch(f"{path}/a", [{"op": "test", "path": "/data/x", "value": "2"}], "json", 422)
    assert status["reason"] == "Invalid"


async def test_racing_patches_are_all_applied(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"))
    await asyncio.gather(*(api.patch(f"{path}/a", {"data": {f"k{i}": str(i)}}) for i in range(20)))
    assert (await api.get(f"{path}/a"))["data"] == {f"k{i}": str(i) for i in range(20)}


async def test_status_and_spec_are_written_apart(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    created = await api.create(path, {**deployment("web"), "status": {"replicas": 7}})
    assert "replicas" not in created["status"]
    changed = {**created, "status": {"replicas": 2}, "spec": {**created["spec"], "replicas": 9}}
    updated = await api.call("PUT", f"{path}/web/status", changed)
    assert updated["status"]["replicas"] == 2
    assert updated["spec"]["replicas"] == 3
    assert updated["metadata"]["generation"] == 1
    spec_only = await api.patch(f"{path}/web", {"spec": {"replicas": 5}, "status": {"replicas": 9}})
    assert spec_only["status"]["replicas"] == 2
    assert (await api.get(f"{path}/web/status"))["status"]["replicas"] == 2


async def test_scale_reads_and_writes_replicas(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(path, deployment("web"))
    scale = await api.get(f"{path}/web/scale")
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    scale["spec"]["replicas"] = 6
    assert (await api.call("PUT", f"{path}/web/scale", scale))["spec"]["replicas"] == 6
    await api.call("PUT", f"{path}/web/scale", scale, code=409)
    assert (await api.patch(f"{path}/web/scale", {"spec": {"replicas": 1}}))["spec"]["replicas"] == 1
    status = await api.patch(f"{path}/web/scale", {"spec": {"replicas": -1}}, code=422)
    assert "must be greater than or equal to 0" in status["message"]
    assert (await api.get(f"{path}/web"))["spec"]["replicas"] == 1


async def test_a_pod_is_bound_once(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(path, pod("p"))
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    await api.create(f"{path}/p/binding", binding)
    bound = await api.get(f"{path}/p")
    assert bound["spec"]["nodeName"] == "n1"
    assert [c["status"] for c in bound["status"]["conditions"] if c["type"] == "PodScheduled"] == ["True"]
    status = await api.create(f"{path}/p/binding", binding, code=409)
    assert 'pod p is already assigned to node "n1"' in status["message"]


async def test_dry_run_answers_but_writes_nothing(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"), dryRun="All")
    await api.get(f"{path}/a", code=404)
    await api.create(path, config_map("a", x="1"))
    patched = await api.patch(f"{path}/a", {"data": {"x": "2"}}, dryRun="All")
    assert patched["data"] == {"x": "2"}
    await api.call("DELETE", f"{path}/a", params={"dryRun": "All"})
    assert (await api.get(f"{path}/a"))["data"] == {"x": "1"}
    status = await api.create(path, config_map("b"), code=422, dryRun="Some")
    assert "dryRun" in status["message"]


async def test_unknown_fields_warn_fail_or_pass_as_asked(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = deployment("web")
    body["spec"]["replica"] = 3
    status = await api.create(path, body, code=400, fieldValidation="Strict")
    assert 'strict decoding error: unknown field "spec.replica"' in status["message"]
    response = await api.http.post(path, json=body, params={"fieldValidation": "Warn"})
    assert response.status_code == 201
    assert response.headers["warning"] == '299 - "unknown field \\"spec.replica\\""'
    assert "replica" not in response.json()["spec"]
    body["metadata"]["name"] = "web2"
    response = await api.http.post(path, json=body, params={"fieldValidation": "Ignore"})
    assert response.status_code == 201
    assert "warning" not in response.headers


async def test_yaml_is_understood(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: b}\n"
    headers = {"content-type": "application/yaml"}
    assert (await api.call("POST", path, text, 201, headers=headers))["data"] == {"a": "b"}


async def test_events_live_under_a_lease(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/events"
    involved = {"kind": "Pod", "namespace": namespace, "name": "p"}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "Test", "message": "m", "type": "Normal"}
    await api.create(path, event)
    assert (await api.get(path, fieldSelector="involvedObject.name=p"))["items"][0]["reason"] == "Test"
    assert (await api.get(path, fieldSelector="involvedObject.name=q"))["items"] == []
