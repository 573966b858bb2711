"""Server-side apply and managedFields over the wire: what clients send, what they are told, what is stored."""

import json
from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment, pod

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"


async def apply(
    api: Api, path: str, config: Object | str, manager: str = "one", code: int | None = None, **params: Any
) -> Any:
    """A YAML text as it is, an object as JSON."""
    body = config if isinstance(config, str) else json.dumps(config)
    params = {"fieldManager": manager, **params} if manager else params
    headers = {"content-type": APPLY}
    return await api.call("PATCH", path, body.encode(), code, headers=headers, params=params)


def configuration(name: str = "a", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def owners(obj: Object) -> list[tuple[str, str, str]]:
    """manager, operation and subresource of every entry."""
    entries = obj["metadata"].get("managedFields") or []
    return [(e["manager"], e["operation"], e.get("subresource", "")) for e in entries]


def entry(obj: Object, manager: str, subresource: str = "") -> Object:
    found = [
        e
        for e in obj["metadata"]["managedFields"]
        if e["manager"] == manager and e.get("subresource", "") == subresource
    ]
    assert len(found) == 1, f"one entry of {manager}: {obj['metadata']['managedFields']}"
    return found[0]


def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


async def test_applying_what_is_not_there_creates_it_and_applying_again_changes_nothing(
    api: Api, namespace: str
) -> None:
    path = f"{maps(namespace)}/a"
    created = await apply(api, path, configuration(x="1"), code=201)
    mine = entry(created, "one")
    assert (mine["operation"], mine["apiVersion"], mine["fieldsType"]) == ("Apply", "v1", "FieldsV1")
    assert mine["fieldsV1"] == {"f:data": {"f:x": {}}}
    assert mine["time"]
    again = await apply(api, path, configuration(x="1"), code=200)
    assert again == created


async def test_two_appliers_share_what_they_agree_on_and_conflict_where_they_do_not(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    await apply(api, path, configuration(x="1", y="1"))
    shared = await apply(api, path, configuration(x="1"), "two")
    assert sorted(owners(shared)) == [("one", "Apply", ""), ("two", "Apply", "")]
    assert "time" not in entry(shared, "two"), "who changes nothing writes at no time"
    status = await apply(api, path, configuration(x="2"), "two", code=409)
    assert status["reason"] == "Conflict"
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    assert status["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}]
    }
    forced = await apply(api, path, configuration(x="2"), "two", force="true")
    assert forced["data"] == {"x": "2", "y": "1"}
    assert entry(forced, "one")["fieldsV1"] == {"f:data": {"f:y": {}}}


async def test_what_an_applier_no_longer_says_goes_unless_somebody_else_says_it(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    await apply(api, path, configuration(x="1", y="1", z="1"))
    await apply(api, path, configuration(y="1"), "two")
    left = await apply(api, path, configuration(z="1"))
    assert left["data"] == {"y": "1", "z": "1"}


async def test_the_conflict_with_an_update_names_its_version_and_subresource(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    config = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment("web")}
    await apply(api, path, config)
    scaled = await api.patch(f"{path}/scale", {"spec": {"replicas": 5}}, fieldManager="scaler")
    assert "managedFields" not in scaled["metadata"]
    status = await apply(api, path, config, code=409)
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas'
    )
    live = await api.get(path)
    assert owners(live) == [("one", "Apply", ""), ("scaler", "Update", "scale")]
    assert entry(live, "scaler", "scale")["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert live["spec"]["replicas"] == 5
    forced = await apply(api, path, config, force="true")
    assert owners(forced) == [("one", "Apply", "")]


async def test_a_scale_is_applied_too(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(path, deployment("web"), fieldManager="maker")
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4}}
    status = await apply(api, f"{path}/web/scale", scale, code=409)
    assert 'conflict with "maker" using autoscaling/v1: .spec.replicas' in status["message"]
    await apply(api, f"{path}/web/scale", scale, force="true")
    live = await api.get(f"{path}/web")
    assert live["spec"]["replicas"] == 4
    assert ("one", "Apply", "scale") in owners(live)


async def test_status_is_owned_apart_from_spec(api: Api, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, {**pod("a"), "status": {"phase": "Running"}}, fieldManager="maker")
    status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    live = await api.patch(f"{pods}/a/status", status, "strategic", fieldManager="kubelet")
    kubelet = entry(live, "kubelet", "status")
    assert kubelet["fieldsV1"]["f:status"]["f:phase"] == {}
    assert kubelet["fieldsV1"]["f:status"]["f:conditions"]['k:{"type":"Ready"}']["f:status"] == {}
    assert kubelet["fieldsV1"].keys() == {"f:status"}
    assert "f:status" not in entry(live, "maker")["fieldsV1"]
    applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {"message": "hello"}}
    live = await apply(api, f"{pods}/a/status", applied, "speaker")
    assert live["status"]["message"] == "hello"
    assert entry(live, "speaker", "status")["fieldsV1"] == {"f:status": {"f:message": {}}}
    await apply(api, f"{pods}/none/status", {**applied, "metadata": {"name": "none"}}, code=404)


async def test_lists_merge_by_their_keys(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services/s"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    http, dns = {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}
    await apply(api, path, {**service, "spec": {"selector": {"a": "b"}, "ports": [http]}})
    both = await apply(api, path, {**service, "spec": {"ports": [dns]}}, "two")
    assert [(p["name"], p["protocol"]) for p in both["spec"]["ports"]] == [("http", "TCP"), ("dns", "UDP")]
    one = await apply(api, path, {**service, "spec": {"selector": {"a": "b"}}})
    assert [p["name"] for p in one["spec"]["ports"]] == ["dns"]


async def test_updates_take_what_they_change_and_keep_their_hands_off_the_rest(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    await apply(api, path, configuration(x="1", y="1"))
    live = await api.patch(path, {"data": {"x": "2"}}, fieldManager="other")
    assert entry(live, "other")["operation"] == "Update"
    assert entry(live, "other")["fieldsV1"] == {"f:data": {"f:x": {}}}
    assert entry(live, "one")["fieldsV1"] == {"f:data": {"f:y": {}}}
    live["data"]["x"] = "3"
    replaced = await api.call("PUT", path, live, headers={"user-agent": "curl-like/8.1 (x)"})
    assert entry(replaced, "curl-like")["fieldsV1"] == {"f:data": {"f:x": {}}}
    assert owners(replaced) == [("one", "Apply", ""), ("curl-like", "Update", "")]


async def test_a_client_that_sends_no_owners_keeps_them_and_one_that_sends_an_empty_list_forgets_them(
    api: Api, namespace: str
) -> None:
    path = f"{maps(namespace)}/a"
    await apply(api, path, configuration(x="1"))
    kept = await api.call("PUT", path, config_map("a", x="1"))
    assert owners(kept) == [("one", "Apply", "")]
    for forgetting in ([], [{}]):
        body = {"metadata": {"managedFields": forgetting}}
        await apply(api, path, configuration(x="1"))
        reset = await api.patch(path, body)
        assert "managedFields" not in reset["metadata"], forgetting
    status = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    await apply(api, path, configuration(x="1"))
    assert "managedFields" not in (await api.patch(path, status, "json"))["metadata"]
    # Who applies then finds the fields owned by everybody before.
    live = await apply(api, path, configuration(x="2"), code=409)
    assert 'conflict with "before-first-apply" using v1: .data.x' in live["message"]


async def test_a_write_of_the_same_value_does_not_touch_the_object(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    created = await api.create(maps(namespace), config_map("a", x="1"), fieldManager="one")
    assert await api.patch(path, {"data": {"x": "1"}}, fieldManager="two") == created
    assert await api.call("PUT", path, created, params={"fieldManager": "two"}) == created
    spec = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "status": {}}
    status = await apply(api, path, spec, code=500)
    assert "field not declared in schema" in status["message"]


async def test_dry_run_answers_with_the_owners_and_stores_nothing(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    seen = await apply(api, path, configuration(x="1"), dryRun="All", code=201)
    assert owners(seen) == [("one", "Apply", "")]
    await api.get(path, code=404)
    await apply(api, path, configuration(x="1"))
    assert (await apply(api, path, configuration(x="2"), dryRun="All"))["data"] == {"x": "2"}
    assert (await api.get(path))["data"] == {"x": "1"}


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"kind": "Secret"}, 400, "invalid object type: /v1, Kind=Secret"),
        ({"apiVersion": ""}, 400, "invalid object type: /, Kind=ConfigMap"),
        ({"metadata": {"name": "a", "managedFields": []}}, 400, "metadata.managedFields must be nil"),
        (
            {"metadata": {"name": "b"}},
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            {"metadata": {"name": "a", "namespace": "other"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {"metadata": {"name": "a", "uid": "42"}},
            409,
            'Operation cannot be fulfilled on configmaps "a": uid mismatch: the provided object specified uid 42, and '
            "no existing object was found",
        ),
        (
            {"data": {"x": 1}},
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.x: expected string, got "
            "&value.valueUnstructured{Value:1}",
        ),
        (
            {"datum": {}},
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .datum: field not declared in schema",
        ),
        ({"data": {"not a key": "1"}}, 422, 'data[not a key]: Invalid value: "not a key": a valid config key must'),
    ],
)
async def test_configurations_that_cannot_be_applied(
    api: Api, namespace: str, change: Object, code: int, message: str
) -> None:
    status = await apply(api, f"{maps(namespace)}/a", {**configuration(x="1"), **change}, code=code)
    assert message in status["message"]
    await api.get(f"{maps(namespace)}/a", code=404)


async def test_an_old_resource_version_in_a_configuration_is_a_conflict(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    created = await apply(api, path, configuration(x="1"))
    await apply(api, path, configuration(x="2"))
    old = {**configuration(x="3"), "metadata": {"name": "a", "resourceVersion": created["metadata"]["resourceVersion"]}}
    status = await apply(api, path, old, code=409)
    assert "the object has been modified" in status["message"]


async def test_keys_given_twice_in_yaml_are_told_as_asked(api: Api, namespace: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n  x: '2'\n"
    path = f"{maps(namespace)}/a"
    status = await apply(api, path, text, fieldValidation="Strict", code=400)
    assert status["message"].startswith("error strict decoding YAML: error converting YAML to JSON: yaml: ")
    assert 'line 7: key "x" already set in map' in status["message"]
    answer = await api.http.request(
        "PATCH", path, content=text.encode(), headers={"content-type": APPLY}, params={"fieldManager": "one"}
    )
    assert 'key \\"x\\" already set in map' in answer.headers["warning"]
    assert answer.json()["data"] == {"x": "2"}
    for broken in ("a: [", "- a", "{"):
        assert (await apply(api, path, broken, code=400))["message"].startswith("error decoding YAML: ")


async def test_options_that_make_no_sense_are_refused_together(api: Api, namespace: str) -> None:
    path = f"{maps(namespace)}/a"
    status = await apply(api, path, configuration(), manager="", code=422)
    assert status["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )
    status = await api.patch(path, {}, code=422, force="true")
    assert status["details"]["causes"] == [
        {
            "reason": "FieldValueForbidden",
            "message": "Forbidden: may not be specified for non-apply patch",
            "field": "force",
        }
    ]
    status = await api.create(
        maps(namespace), config_map("a"), 422, fieldManager="x" * 129, dryRun="some", fieldValidation="Hard"
    )
    assert [c["field"] for c in status["details"]["causes"]] == ["fieldManager", "dryRun", "fieldValidation"]
    assert "fieldManager: Too long: may not be more than 128 bytes" in status["message"]
    status = await api.create(maps(namespace), config_map("a"), 422, fieldManager="a\tb")
    assert 'fieldManager: Invalid value: "a\\tb": invalid character U+0009 (at position 1)' in status["message"]


async def test_what_client_side_apply_set_is_taken_over_by_server_side_apply_of_kubectl(
    api: Api, namespace: str
) -> None:
    path = f"{maps(namespace)}/a"
    last = json.dumps({**configuration(x="1", y="1"), "metadata": {"name": "a", "namespace": namespace}})
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": last}
    made = {**config_map("a", x="1", y="1"), "metadata": {"name": "a", "annotations": annotations}}
    await api.create(maps(namespace), made, fieldManager="kubectl-client-side-apply")
    status = await apply(api, path, configuration(x="2"), "somebody", code=409)
    assert 'conflict with "kubectl-client-side-apply" using v1: .data.x' in status["message"]
    taken = await apply(api, path, configuration(x="2", y="1"), "kubectl")
    assert taken["data"] == {"x": "2", "y": "1"}
    updated = json.loads(taken["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert updated["data"] == {"x": "2", "y": "1"}


async def test_the_two_versions_of_an_autoscaler_share_their_owners(api: Api, namespace: str) -> None:
    def path(version: str) -> str:
        return f"/apis/autoscaling/{version}/namespaces/{namespace}/horizontalpodautoscalers/h"

    config: Object = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "targetCPUUtilizationPercentage": 50,
        },
    }
    created = await apply(api, path("v1"), config, code=201)
    assert entry(created, "one")["apiVersion"] == "autoscaling/v1"
    assert "f:targetCPUUtilizationPercentage" in entry(created, "one")["fieldsV1"]["f:spec"]
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    changed = await api.patch(path("v2"), {"spec": {"metrics": [metric]}}, fieldManager="two")
    assert entry(changed, "two")["apiVersion"] == "autoscaling/v2"
    assert "f:targetCPUUtilizationPercentage" not in entry(changed, "one")["fieldsV1"]["f:spec"]
    status = await apply(api, path("v1"), config, code=409)
    assert ".spec.targetCPUUtilizationPercentage" in status["message"] or ".spec.metrics" in status["message"]
    again = await apply(api, path("v1"), config, force="true")
    assert again["spec"]["targetCPUUtilizationPercentage"] == 50
    assert (await api.get(path("v2")))["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50


async def test_owner_references_given_twice_are_kept_once_with_a_warning(api: Api, namespace: str) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "123"}
    body = {**config_map("a"), "metadata": {"name": "a", "ownerReferences": [owner, owner]}}
    answer = await api.http.post(maps(namespace), json=body)
    assert answer.json()["metadata"]["ownerReferences"] == [owner]
    assert "duplicate UID(s) observed: 123" in answer.headers["warning"]


async def test_owners_that_make_an_object_too_large_are_dropped(api: Api, namespace: str) -> None:
    """The store takes 1.5 MiB: the object fits without its owners, and not with them."""
    keys = {f"{'k' * 200}-{i:04}": "v" * 120 for i in range(4400)}
    created = await api.create(maps(namespace), config_map("large", **keys))
    assert "managedFields" not in created["metadata"]
    status = await api.create(maps(namespace), config_map("larger", k="v" * 1_700_000), code=422)
    assert status["reason"] == "Invalid"
