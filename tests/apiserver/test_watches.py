"""Watches: from any version, with selectors, bookmarks and initial events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment, pod

Object = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Watching:
    """The events of one stream."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self, seconds: float = 5.0) -> Object:
        async with asyncio.timeout(seconds):
            return json.loads(await anext(self._lines))

    async def take(self, count: int) -> list[tuple[str, str]]:
        return [(e["type"], e["object"]["metadata"]["name"]) for e in [await self.next() for _ in range(count)]]

    async def rest(self) -> list[Object]:
        async with asyncio.timeout(10):
            return [json.loads(line) async for line in self._lines]


@asynccontextmanager
async def watching(
    api: Api, path: str, headers: dict[str, str] | None = None, **params: Any
) -> AsyncIterator[Watching]:
    async with api.http.stream("GET", path, params={"watch": "true", **params}, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Watching(response.aiter_lines())


@pytest.fixture
def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


async def version(api: Api, path: str) -> str:
    return str((await api.get(path))["metadata"]["resourceVersion"])


async def test_changes_arrive_in_order(api: Api, path: str) -> None:
    async with watching(api, path, resourceVersion=await version(api, path)) as watch:
        created = await api.create(path, config_map("a", x="1"))
        changed = await api.patch(f"{path}/a", {"data": {"x": "2"}})
        await api.call("DELETE", f"{path}/a")
        assert await watch.next() == {"type": "ADDED", "object": created}
        assert await watch.next() == {"type": "MODIFIED", "object": changed}
        deleted = await watch.next()
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["data"] == {"x": "2"}
    assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


async def test_a_watch_resumes_after_the_version_it_names(api: Api, path: str) -> None:
    first = await api.create(path, config_map("a"))
    await api.create(path, config_map("b"))
    await api.create(path, config_map("c"))
    async with watching(api, path, resourceVersion=first["metadata"]["resourceVersion"]) as watch:
        assert await watch.take(2) == [("ADDED", "b"), ("ADDED", "c")]


async def test_a_watch_from_a_version_that_is_yet_to_come_waits_for_it(api: Api, path: str) -> None:
    """Another API server may have shown more than this one has seen."""
    ahead = int(await version(api, path)) + 3
    async with watching(api, path, resourceVersion=ahead) as watch:
        revisions = [
            int((await api.create(path, config_map(f"c{i}")))["metadata"]["resourceVersion"]) for i in range(8)
        ]
        due = [(f"c{i}", revision) for i, revision in enumerate(revisions) if revision > ahead]
        for name, _ in due:
            assert (await watch.next())["object"]["metadata"]["name"] == name
    assert len(due) < 8, "some were before it"


async def test_initial_events_can_be_declined(api: Api, path: str) -> None:
    await api.create(path, config_map("a"))
    origins: tuple[dict[str, Any], ...] = ({}, {"resourceVersion": "0"})
    for since in origins:
        query: dict[str, Any] = {
            "sendInitialEvents": "false",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
        }
        async with watching(api, path, **query, **since) as watch:
            await api.create(path, config_map(f"b{len(since)}"))
            assert await watch.take(1) == [("ADDED", f"b{len(since)}")], "what was there is not told"


async def test_initial_events_of_the_future_are_not_waited_for_for_ever(api: Api, path: str) -> None:
    query: dict[str, Any] = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "resourceVersion": "999999999",
    }
    async with watching(api, path, **query) as watch:
        event = await watch.next(10)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)
    assert event["object"]["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_metadata_alone_can_be_watched(api: Api, path: str) -> None:
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    query: dict[str, Any] = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    await api.create(path, config_map("a", x="1"))
    async with watching(api, path, {"accept": accept}, **query) as watch:
        added, bookmark = await watch.next(), await watch.next()
    assert (added["object"]["kind"], added["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert "data" not in added["object"]
    assert bookmark["object"]["kind"] == "PartialObjectMetadata"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_without_a_version_what_is_there_comes_first(api: Api, path: str) -> None:
    await api.create(path, config_map("a"))
    origins: tuple[dict[str, Any], ...] = ({}, {"resourceVersion": "0"})
    for query in origins:
        async with watching(api, path, **query) as watch:
            assert await watch.take(1) == [("ADDED", "a")]
            name = f"b{len(query)}"
            await api.create(path, config_map(name))
            assert await watch.take(1) == [("ADDED", name)]
            await api.call("DELETE", f"{path}/{name}")


async def test_selectors_make_objects_come_and_go(api: Api, path: str) -> None:
    since = await version(api, path)
    async with watching(api, path, resourceVersion=since, labelSelector="show=yes") as watch:
        await api.create(path, config_map("a", {"show": "no"}))
        await api.patch(f"{path}/a", {"metadata": {"labels": {"show": "yes"}}})
        await api.patch(f"{path}/a", {"data": {"x": "1"}})
        gone = await api.patch(f"{path}/a", {"metadata": {"labels": {"show": "no"}}})
        await api.patch(f"{path}/a", {"data": {"x": "2"}})
        await api.patch(f"{path}/a", {"metadata": {"labels": {"show": "yes"}}})
        assert await watch.take(2) == [("ADDED", "a"), ("MODIFIED", "a")]
        deleted = await watch.next()
        assert deleted["type"] == "DELETED"
        assert deleted["object"]["metadata"]["resourceVersion"] == gone["metadata"]["resourceVersion"]
        assert deleted["object"]["metadata"]["labels"] == {"show": "yes"}, "the last state that matched"
        assert await watch.take(1) == [("ADDED", "a")]


async def test_pods_of_one_node_are_watched_by_field(api: Api, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    since = await version(api, pods)
    async with watching(api, pods, resourceVersion=since, fieldSelector="spec.nodeName=n7") as watch:
        await api.create(pods, pod("other", nodeName="n8"))
        await api.create(pods, pod("mine"))
        await api.create(f"{pods}/mine/binding", {"metadata": {"name": "mine"}, "target": {"name": "n7"}})
        assert await watch.take(1) == [("ADDED", "mine")]


async def test_one_object_is_watched_by_name(api: Api, path: str) -> None:
    since = await version(api, path)
    async with watching(api, path, resourceVersion=since, fieldSelector="metadata.name=b") as watch:
        await api.create(path, config_map("a"))
        await api.create(path, config_map("b"))
        assert await watch.take(1) == [("ADDED", "b")]


async def test_initial_events_end_with_an_annotated_bookmark(api: Api, path: str) -> None:
    await api.create(path, config_map("a"))
    await api.create(path, config_map("b"))
    query: dict[str, Any] = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with watching(api, path, **query) as watch:
        assert await watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]
        bookmark = await watch.next()
        assert bookmark["type"] == "BOOKMARK"
        metadata = bookmark["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert bookmark["object"]["kind"] == "ConfigMap"
        await api.create(path, config_map("c"))
        assert await watch.take(1) == [("ADDED", "c")]
    async with watching(api, path, resourceVersion=metadata["resourceVersion"]) as watch:
        assert await watch.take(1) == [("ADDED", "c")]


async def test_initial_events_need_a_match(api: Api, path: str) -> None:
    status = await api.get(path, code=422, watch="true", sendInitialEvents="true")
    assert "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in status["message"]


async def test_a_watch_ends_when_its_time_is_up_after_a_last_bookmark(api: Api, path: str) -> None:
    since = await version(api, path)
    query: dict[str, Any] = {"resourceVersion": since, "timeoutSeconds": 5, "allowWatchBookmarks": "true"}
    async with watching(api, path, **query) as watch:
        await api.create(f"{path.rpartition('/')[0]}/secrets", {"metadata": {"name": "s"}})
        events = await watch.rest()
    assert [e["type"] for e in events] == ["BOOKMARK"]
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) > int(since), "bookmarks move past other kinds"


async def test_tables_are_watched_with_columns_once(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    since = await version(api, path)
    async with watching(api, path, {"accept": TABLE}, resourceVersion=since) as watch:
        await api.create(path, deployment("a"))
        await api.create(path, deployment("b"))
        first, second = await watch.next(), await watch.next()
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert first["object"]["rows"][0]["cells"][0] == "a"
    assert not second["object"]["columnDefinitions"]
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def replayed(api: Api, path: str, since: int, state: dict[str, Object], end: int) -> dict[str, Object]:
    """What a watch from a version makes of the objects that there were at it."""
    seen = since
    async with watching(api, path, resourceVersion=since) as watch:
        while True:
            event = await watch.next()
            obj = event["object"]
            name, revision = obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"])
            assert revision > seen, "a watch never goes back"
            seen = revision
            if revision > end:
                return state
            assert (event["type"] == "ADDED") is (name not in state)
            if event["type"] == "DELETED":
                del state[name]
            else:
                state[name] = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}


async def test_a_watch_replayed_from_any_version_equals_the_list_under_concurrent_writers(api: Api, path: str) -> None:
    versions = [int(await version(api, path))]

    async def write(worker: int) -> None:
        for i in range(12):
            name = f"w{worker}-{i % 4}"
            response = await api.http.post(path, json=config_map(name))
            if response.status_code == 409:
                if i % 3:
                    changed = await api.patch(f"{path}/{name}", {"data": {"i": str(i)}})
                    versions.append(int(changed["metadata"]["resourceVersion"]))
                else:
                    await api.call("DELETE", f"{path}/{name}")
            else:
                versions.append(int(response.json()["metadata"]["resourceVersion"]))

    await asyncio.gather(*(write(worker) for worker in range(6)))
    listed = await api.get(path)
    end = int(listed["metadata"]["resourceVersion"])
    await api.create(path, config_map("last"))
    for since in sorted(versions)[:: len(versions) // 8]:
        past = await api.get(path, resourceVersion=since, resourceVersionMatch="Exact")
        state = {item["metadata"]["name"]: item for item in past["items"]}
        state = await replayed(api, path, since, state, end)
        assert [state[name] for name in sorted(state)] == listed["items"], f"from {since}"


async def test_the_old_paths_of_watches_are_served(api: Api, namespace: str, path: str) -> None:
    """Deprecated since 1.11, still there upstream: a collection, and one object by its name."""
    begin = await version(api, path)
    old = f"/api/v1/watch/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"))
    await api.create(path, config_map("b"))
    async with watching(api, old, resourceVersion=begin) as watch:
        assert await watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]
    async with watching(api, f"{old}/b", resourceVersion=begin) as watch:
        assert await watch.take(1) == [("ADDED", "b")]
