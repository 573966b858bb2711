"""The store goes away and comes back; the API server dies and comes back; watchers resume without loss."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.apiserver.conftest import Api, http_client
from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store, eventually
from tests.apiserver.manifests import config_map

PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(params=[pytest.param("etcd", marks=pytest.mark.binary("etcd")), "etcd_raft"])
def own(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> Iterator[ApiServer]:
    """A server that a test may mistreat."""
    store = Store(tmp_path / "store", request.param)
    server = ApiServer(tmp_path, store, pki, "--disable-admission-plugins=ServiceAccount")
    try:
        store.start()
        server.start()
        yield server
    finally:
        store.stop(signal.SIGCONT)
        server.stop()
        store.stop()


def client(server: ApiServer) -> httpx.AsyncClient:
    return http_client(server, headers={"authorization": f"Bearer {TOKEN}"})


async def test_without_its_store_requests_fail_clearly_and_work_again_afterwards(own: ApiServer) -> None:
    async with client(own) as http:
        api = Api(http)
        await api.create(PATH, config_map("a", x="1"))
        since = (await api.get(PATH))["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": since}
        async with http.stream("GET", PATH, params=query) as watch:
            own.store.stop(signal.SIGKILL)
            response = await http.get(f"{PATH}/a", timeout=30)
            assert response.status_code in (500, 503, 504)
            assert response.json()["kind"] == "Status"
            assert (await http.get("/readyz")).status_code == 500
            assert (await http.get(f"{PATH}/a", params={"resourceVersion": "0"})).json()["data"] == {"x": "1"}
            own.store.start()
            await asyncio.to_thread(eventually, "ready again", own.ready, 20.0)
            await api.patch(f"{PATH}/a", {"data": {"x": "2"}})
            async with asyncio.timeout(10):
                event = json.loads(await anext(watch.aiter_lines()))
        assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"x": "2"}), "the open watch went on"


async def test_after_a_restart_everything_is_there_and_old_versions_are_expired(own: ApiServer) -> None:
    async with client(own) as http:
        api = Api(http)
        created = await api.create(PATH, config_map("a", x="1"))
        await api.create(PATH, config_map("b"))
        last = (await api.get(PATH))["metadata"]["resourceVersion"]
    own.stop(signal.SIGKILL)
    await asyncio.to_thread(own.start)
    async with client(own) as http:
        api = Api(http)
        assert await api.get(f"{PATH}/a") == created
        query = {"watch": "true", "resourceVersion": created["metadata"]["resourceVersion"], "timeoutSeconds": "5"}
        async with http.stream("GET", PATH, params=query) as watch:
            event = json.loads(await anext(watch.aiter_lines()))
        status = event["object"]
        assert (event["type"], status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        assert status["message"].startswith(f"too old resource version: {query['resourceVersion']} (")
        now = (await api.get(PATH))["metadata"]["resourceVersion"]
        assert int(now) >= int(last)


async def test_a_compacted_snapshot_hands_out_a_token_to_go_on_without_it(own: ApiServer) -> None:
    from etcd_raft.client import EtcdClient

    async with client(own) as http:
        api = Api(http)
        for i in range(4):
            await api.create(PATH, config_map(f"c{i}"))
        first = await api.get(PATH, limit=2)
        token = first["metadata"]["continue"]
        await api.create(PATH, config_map("c9"))
        async with EtcdClient([own.store.url]) as store:
            revision = (await store.get(b"/registry/", limit=1)).revision
            await store.compact(revision)
        status = await api.get(PATH, code=410, limit=2, **{"continue": token})
        assert status["reason"] == "Expired"
        assert "results in an inconsistent list" in status["message"]
        rest = await api.get(PATH, **{"continue": status["metadata"]["continue"]})
        assert [i["metadata"]["name"] for i in rest["items"]] == ["c2", "c3", "c9"]
        status = await api.get(
            PATH, code=410, resourceVersion=first["metadata"]["resourceVersion"], resourceVersionMatch="Exact"
        )
        assert status["message"] == "The resourceVersion for the provided list is too old."


async def test_sigterm_ends_open_watches_and_the_process(own: ApiServer) -> None:
    async with client(own) as http:
        async with http.stream("GET", PATH, params={"watch": "true", "resourceVersion": "0"}) as watch:
            assert own.process is not None
            own.process.popen.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert [line async for line in watch.aiter_lines()] == []
        assert await asyncio.to_thread(own.process.popen.wait, 10) == 0
