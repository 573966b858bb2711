"""Two API servers on three members of the store: whoever falls, a client loses a connection, never an event."""

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apiserver.conftest import http_client
from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store
from tests.apiserver.manifests import config_map
from tests.etcd_raft.processes import ClusterProcesses

Object = dict[str, Any]
PATH = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}
#: How many writes succeed before the next thing falls.
WRITES = 60


class Clients:
    """A client of each server; who has had an error goes to the other one."""

    def __init__(self, servers: list[ApiServer]) -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        self.all = [http_client(server, headers=headers) for server in servers]

    async def call(self, method: str, path: str, first: int = 0, **kwargs: Any) -> httpx.Response:
        """Try until somebody gives an answer that is not about his own trouble."""
        for number in itertools.count(first):
            with suppress(httpx.HTTPError):
                response = await self.all[number % len(self.all)].request(method, path, **kwargs)
                if response.status_code < 500:
                    return response
            await asyncio.sleep(0.02)
        raise AssertionError("count never ends")


class Follower:
    """Lists once and then only watches, as an informer does; goes on at the other server from where it was."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.state: dict[str, Object] = {}
        self.revision = self.listed = 0
        self.seen: list[int] = []
        self.streams = 0

    async def run(self) -> None:
        listed = (await self._clients.call("GET", PATH)).json()
        self.state = {item["metadata"]["name"]: item for item in listed["items"]}
        self.revision = self.listed = int(listed["metadata"]["resourceVersion"])
        for number in itertools.count():
            with suppress(httpx.HTTPError):
                await self._follow(self._clients.all[number % 2])
            await asyncio.sleep(0.02)

    async def _follow(self, client: httpx.AsyncClient) -> None:
        query = {"watch": "true", "resourceVersion": str(self.revision)}
        async with client.stream("GET", PATH, params=query, timeout=60) as response:
            assert response.status_code == 200
            self.streams += 1
            async for line in response.aiter_lines():
                self._take(json.loads(line))

    def _take(self, event: Object) -> None:
        kind, obj = event["type"], event["object"]
        assert kind != "ERROR", f"a client has to list again: {obj}"
        name, revision = obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"])
        assert revision > self.revision, "nothing is told twice, nothing goes back"
        assert (kind == "ADDED") is (name not in self.state), f"{kind} of {name} does not follow from what was told"
        self.revision = revision
        self.seen.append(revision)
        if kind == "DELETED":
            del self.state[name]
        else:
            self.state[name] = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}


class Writer:
    """Creates, changes and deletes its own objects; ``acknowledged`` are the versions that it was told."""

    def __init__(self, clients: Clients, number: int) -> None:
        self._clients, self._number = clients, number
        self.acknowledged: list[int] = []

    async def run(self) -> None:
        for i in itertools.count():
            name = f"w{self._number}-{i // 3 % 4}"
            response: httpx.Response | None = None
            if i % 3 == 0:
                response = await self._call("POST", PATH, json=config_map(name))
            elif i % 3 == 1:
                response = await self._call("PATCH", f"{PATH}/{name}", json={"data": {"i": str(i)}}, headers=MERGE)
            elif i % 2:
                await self._call("DELETE", f"{PATH}/{name}")
            if response is not None and response.is_success:
                self.acknowledged.append(int(response.json()["metadata"]["resourceVersion"]))

    async def _call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return await self._clients.call(method, path, self._number, timeout=3, **kwargs)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ClusterProcesses]:
    started = ClusterProcesses(tmp_path, 3)
    try:
        started.start()
        await started.ready()
        yield started
    finally:
        started.close()


@pytest.fixture
async def servers(tmp_path: Path, pki: Pki, cluster: ClusterProcesses) -> AsyncIterator[list[ApiServer]]:
    store = Store(tmp_path / "unused")
    store.url = ",".join(cluster.urls)
    flags = "--disable-admission-plugins=ServiceAccount"
    made = [ApiServer(tmp_path / name, store, pki, flags) for name in ("one", "two")]
    try:
        for server in made:
            await asyncio.to_thread(server.start)
        yield made
    finally:
        for server in made:
            server.stop(signal.SIGKILL)


async def test_whoever_is_killed_an_informer_misses_nothing_and_hears_nothing_twice(
    servers: list[ApiServer], cluster: ClusterProcesses
) -> None:
    clients = Clients(servers)
    follower, writers = Follower(clients), [Writer(clients, number) for number in range(4)]
    tasks = [asyncio.create_task(follower.run()), *(asyncio.create_task(writer.run()) for writer in writers)]

    async def more_writes() -> None:
        wanted = sum(len(w.acknowledged) for w in writers) + WRITES
        async with asyncio.timeout(60):
            while sum(len(w.acknowledged) for w in writers) < wanted:
                for task in tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)

    try:
        await more_writes()
        servers[0].stop(signal.SIGKILL)
        await more_writes()
        leader = await cluster.leader()
        leader.kill()
        await more_writes()
        await asyncio.to_thread(servers[0].start)
        servers[1].stop(signal.SIGKILL)
        await more_writes()
        leader.start()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        last = (await clients.call("POST", PATH, json=config_map("last"))).json()
        async with asyncio.timeout(20):
            while follower.revision < int(last["metadata"]["resourceVersion"]):
                if tasks[0].done():
                    tasks[0].result()
                await asyncio.sleep(0.02)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    listed = (await clients.call("GET", PATH)).json()
    for client in clients.all:
        await client.aclose()
    assert follower.streams >= 3, "it had to go on elsewhere"
    told = {revision for w in writers for revision in w.acknowledged if revision > follower.listed}
    assert told <= set(follower.seen), "what was acknowledged was told"
    assert [follower.state[name] for name in sorted(follower.state)] == listed["items"]
