"""Lists: selectors, pages on one snapshot, versions, forms."""

import asyncio
from typing import Any

import pytest
import yaml

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def names(listed: dict) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


@pytest.fixture
async def ten(api: Api, namespace: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for i in range(10):
        await api.create(path, config_map(f"c{i}", {"n": str(i), "even": str(i % 2 == 0).lower()}))
    return path


async def test_a_list_names_its_kind_and_its_items_do_not(api: Api, ten: str) -> None:
    listed = await api.get(ten)
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert names(listed) == [f"c{i}" for i in range(10)]
    assert all("kind" not in item for item in listed["items"])


async def test_label_selectors_choose(api: Api, ten: str) -> None:
    assert names(await api.get(ten, labelSelector="even=true")) == ["c0", "c2", "c4", "c6", "c8"]
    assert names(await api.get(ten, labelSelector="n in (1,2),even!=true")) == ["c1"]
    assert names(await api.get(ten, labelSelector="!even")) == []
    status = await api.get(ten, code=400, labelSelector="n in (")
    assert status["reason"] == "BadRequest"


async def test_field_selectors_choose_and_unknown_ones_are_refused(api: Api, ten: str, namespace: str) -> None:
    assert names(await api.get(ten, fieldSelector="metadata.name=c3")) == ["c3"]
    assert names(await api.get(ten, fieldSelector="metadata.name!=c3"))[:4] == ["c0", "c1", "c2", "c4"]
    everywhere = await api.get("/api/v1/configmaps", fieldSelector=f"metadata.namespace={namespace},metadata.name=c4")
    assert names(everywhere) == ["c4"]
    await api.get(ten, code=400, fieldSelector="data.x=1")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("here", nodeName="n1"))
    await api.create(pods, pod("nowhere"))
    assert names(await api.get(pods, fieldSelector="spec.nodeName=n1")) == ["here"]
    assert names(await api.get(pods, fieldSelector="spec.nodeName=,status.phase=Pending")) == ["nowhere"]


async def test_pages_show_one_snapshot_even_when_objects_change_meanwhile(api: Api, ten: str) -> None:
    first = await api.get(ten, limit=4)
    assert names(first) == ["c0", "c1", "c2", "c3"]
    assert first["metadata"]["remainingItemCount"] == 6
    await api.call("DELETE", f"{ten}/c5")
    await api.create(ten, config_map("c55"))
    second = await api.get(ten, limit=4, **{"continue": first["metadata"]["continue"]})
    assert names(second) == ["c4", "c5", "c6", "c7"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 2
    third = await api.get(ten, limit=4, **{"continue": second["metadata"]["continue"]})
    assert names(third) == ["c8", "c9"]
    assert "continue" not in third["metadata"]


async def test_pages_with_a_selector_are_full_and_do_not_count_the_rest(api: Api, ten: str) -> None:
    first = await api.get(ten, limit=2, labelSelector="even=true")
    assert names(first) == ["c0", "c2"]
    assert "remainingItemCount" not in first["metadata"]
    token = first["metadata"]["continue"]
    second = await api.get(ten, limit=2, labelSelector="even=true", **{"continue": token})
    assert names(second) == ["c4", "c6"]


async def test_a_broken_continue_token_is_a_bad_request(api: Api, ten: str) -> None:
    for token in ("nonsense", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0"):
        status = await api.get(ten, code=400, **{"continue": token})
        assert status["message"].startswith("invalid continue token: continue key is not valid")
    token = (await api.get(ten, limit=1))["metadata"]["continue"]
    status = await api.get(ten, code=400, resourceVersion="1", **{"continue": token})
    assert status["message"] == "specifying resource version is not allowed when using continue"
    assert len((await api.get(ten, resourceVersion="0", **{"continue": token}))["items"]) == 9


async def test_exact_versions_show_the_past(api: Api, ten: str) -> None:
    before = (await api.get(ten))["metadata"]["resourceVersion"]
    await api.call("DELETE", f"{ten}/c0")
    past = await api.get(ten, resourceVersion=before, resourceVersionMatch="Exact")
    assert len(past["items"]) == 10
    assert past["metadata"]["resourceVersion"] == before
    now = await api.get(ten, resourceVersion=before, resourceVersionMatch="NotOlderThan")
    assert len(now["items"]) == 9
    assert len((await api.get(ten, resourceVersion="0"))["items"]) == 9


async def test_a_version_and_a_limit_ask_for_what_the_table_of_semantics_says(api: Api, ten: str) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list"""
    before = (await api.get(ten))["metadata"]["resourceVersion"]
    await api.create(ten, config_map("c99"))

    async def seen(**query: Any) -> tuple[int, bool, bool]:
        """How many items, whether there is more, whether they are from the past."""
        listed = await api.get(ten, **query)
        metadata = listed["metadata"]
        return len(listed["items"]), "continue" in metadata, metadata["resourceVersion"] == before

    exact, not_older = {"resourceVersionMatch": "Exact"}, {"resourceVersionMatch": "NotOlderThan"}
    assert await seen() == (11, False, False), "most recent"
    assert await seen(limit=3) == (3, True, False), "most recent"
    assert await seen(resourceVersion=before) == (11, False, False), "not older than"
    assert await seen(resourceVersion=before, limit=3) == (3, True, True), "exact, for old clients"
    assert await seen(resourceVersion=before, limit=3, **exact) == (3, True, True)
    assert await seen(resourceVersion=before, **exact) == (10, False, True)
    assert await seen(resourceVersion=before, limit=3, **not_older) == (3, True, False)
    assert await seen(resourceVersion=before, **not_older) == (11, False, False)
    assert await seen(resourceVersion="0") == (11, False, False), "any"
    assert await seen(resourceVersion="0", limit=3) == (11, False, False), "any: a cache answers it whole"
    assert await seen(resourceVersion="0", **not_older) == (11, False, False)


async def test_a_version_of_the_future_times_out_with_a_hint_to_retry(api: Api, ten: str) -> None:
    status, response = await asyncio.gather(
        api.get(ten, code=504, resourceVersion="999999999"),
        api.http.get(f"{ten}/c0", params={"resourceVersion": "999999999"}),
    )
    assert status["reason"] == "Timeout"
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert status["details"]["causes"][0]["message"] == "Too large resource version"
    assert status["message"].startswith("Timeout: Too large resource version: 999999999, current: ")
    assert status["details"]["retryAfterSeconds"] == 1
    assert (response.status_code, response.headers["retry-after"]) == (504, "1")


async def test_combinations_that_make_no_sense_are_refused(api: Api, ten: str) -> None:
    for query in (
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Sometimes", "resourceVersion": "1"},
        {"sendInitialEvents": "true"},
    ):
        status = await api.get(ten, code=422, **query)
        assert 'ListOptions.meta.k8s.io "" is invalid' in status["message"]
    await api.get(ten, code=400, resourceVersion="abc")
    await api.get(ten, code=400, limit="abc")


async def test_tables_have_upstreams_columns(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(path, deployment("web"))
    table = await api.call("GET", path, headers={"accept": TABLE})
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [c["name"] for c in table["columnDefinitions"] if not c["priority"]]
    assert columns == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    assert table["rows"][0]["cells"][:4] == ["web", "0/3", 0, 0]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    single = await api.call("GET", f"{path}/web", headers={"accept": TABLE}, params={"includeObject": "Object"})
    assert single["rows"][0]["object"]["spec"]["replicas"] == 3


async def test_metadata_alone_can_be_listed(api: Api, ten: str) -> None:
    listed = await api.call("GET", ten, headers={"accept": PARTIAL})
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert "data" not in listed["items"][0]
    assert listed["items"][0]["kind"] == "PartialObjectMetadata"


async def test_forms_that_nobody_serves_are_not_acceptable(api: Api, ten: str) -> None:
    for accept in ("text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Chair;v=v1;g=meta.k8s.io"):
        status = await api.call("GET", ten, code=406, headers={"accept": accept})
        assert status["reason"] == "NotAcceptable"
    await api.call("GET", ten, headers={"accept": "application/vnd.kubernetes.protobuf,application/json"})


async def test_who_asks_for_yaml_gets_yaml(api: Api, ten: str) -> None:
    response = await api.http.get(f"{ten}/c1", headers={"accept": "application/yaml"})
    assert response.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(response.text) == await api.get(f"{ten}/c1")
    listed = await api.http.get(ten, headers={"accept": "application/yaml;q=0.9,text/html"}, params={"limit": 2})
    assert names(yaml.safe_load(listed.text)) == ["c0", "c1"]
    missing = await api.http.get(f"{ten}/none", headers={"accept": "application/yaml"})
    assert (missing.status_code, yaml.safe_load(missing.text)["reason"]) == (404, "NotFound")
    preferred = await api.http.get(ten, headers={"accept": "application/json,application/yaml"})
    assert preferred.headers["content-type"] == "application/json"
    watch = await api.http.get(ten, headers={"accept": "application/yaml"}, params={"watch": "true"})
    assert watch.status_code == 406
    status = yaml.safe_load(watch.text)
    assert status["message"] == "only the following media types are accepted: application/json;stream=watch"


async def test_methods_that_a_path_does_not_have_are_not_allowed(api: Api, ten: str) -> None:
    for method, path in (("PUT", ten), ("PATCH", ten), ("POST", f"{ten}/c1"), ("OPTIONS", ten), ("TRACE", f"{ten}/c1")):
        status = await api.call(method, path, code=405)
        assert status["message"] == "the server does not allow this method on the requested resource"
        assert (status["reason"], status["details"]) == ("MethodNotAllowed", {})
    head = await api.http.head(f"{ten}/c1")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len((await api.http.get(f"{ten}/c1")).content)


async def test_large_answers_are_compressed_for_those_who_ask(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("big", x="y" * 200_000))
    response = await api.http.get(f"{path}/big", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.json()["data"]["x"]) == 200_000
    plain = await api.http.get(f"{path}/big", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
