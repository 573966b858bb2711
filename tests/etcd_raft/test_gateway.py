"""The JSON gateway beside gRPC on the clients' port: the same requests to ours and to a real etcd, the same answers."""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.etcd_raft.processes import ClusterProcesses, eventually, real_etcd


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


A, B, VALUE = b64("a"), b64("b"), b64("value")
# Path, and the body as it is sent. In this order, to both: revisions are equal.
REQUESTS: list[tuple[str, str]] = [
    ("kv/put", f'{{"key":"{A}","value":"{VALUE}"}}'),
    ("kv/put", f'{{"key":"{A}","value":"{VALUE}","prev_kv":true}}'),
    ("kv/put", f'{{"key":"{A}","value":"{VALUE}","prevKv":true}}'),
    ("kv/put", f'{{"key":"{A}","lease":"77"}}'),
    ("kv/put", f'{{"key":"{A}","lease":77}}'),
    ("kv/put", f'{{"key":"{B}","value":null}}'),
    ("kv/range", f'{{"key":"{A}"}}'),
    ("kv/range", f'{{"key":"{A}","range_end":"{b64("z")}","limit":"1"}}'),
    ("kv/range", f'{{"key":"{A}","range_end":"{b64("z")}","count_only":true}}'),
    ("kv/range", f'{{"key":"{A}","range_end":"{b64("z")}","sort_order":"DESCEND","sortTarget":"MOD","keysOnly":true}}'),
    ("kv/range", f'{{"key":"{A}","sort_order":1,"sort_target":3}}'),
    ("kv/range", f'{{"key":"{A}","revision":2}}'),
    ("kv/range", f'{{"key":"{A}","revision":"9999"}}'),
    ("kv/range", f'{{"key":"{A}"}} trailing'),
    ("kv/range", f'{{"key":"{A}","bogus":{{"x":1}}}}'),
    ("kv/range", '{"bogus":1}'),
    ("kv/range", ""),
    ("kv/range", "{"),
    ("kv/range", "[]"),
    ("kv/range", "5"),
    ("kv/range", '"text"'),
    ("kv/range", "bogus"),
    ("kv/range", "{nonsense"),
    ("kv/range", '{"key" 5}'),
    ("kv/range", '{"key":"YQ==" 5}'),
    ("kv/range", '{"key":"YQ=="'),
    ("kv/range", '{"key":"!!"}'),
    ("kv/range", '{"key":"YQ"}'),
    ("kv/range", '{"key":"YWJj!"}'),
    ("kv/range", '{"key":5}'),
    ("kv/range", '{"key":true}'),
    ("kv/range", '{"key":{}}'),
    ("kv/range", f'{{"key":"{A}","limit":"abc"}}'),
    ("kv/range", f'{{"key":"{A}","limit":1.5}}'),
    ("kv/range", f'{{"key":"{A}","limit":[]}}'),
    ("kv/range", f'{{"key":"{A}","limit":"99999999999999999999"}}'),
    ("kv/range", f'{{"key":"{A}","sort_order":"NONSENSE"}}'),
    ("kv/range", f'{{"key":"{A}","serializable":"yes"}}'),
    ("kv/range", f'{{"key":"{A}","serializable":1}}'),
    ("kv/txn", f'{{"compare":[{{"result":"EQUAL","target":"CREATE","key":"{A}","createRevision":"2"}}],'
               f'"success":[{{"requestPut":{{"key":"{A}","value":"{B}"}}}}],"failure":[{{"request_range":{{"key":"{A}"}}}}]}}'),
    ("kv/txn", f'{{"compare":[{{"target":"VERSION","key":"{A}","version":77}}],'
               f'"failure":[{{"request_range":{{"key":"{A}"}}}},{{"request_delete_range":{{"key":"{B}","prev_kv":true}}}}]}}'),
    ("kv/txn", '{"success":{}}'),
    ("kv/deleterange", f'{{"key":"{b64("none")}"}}'),
    ("kv/deleterange", f'{{"key":"{A}","prev_kv":true}}'),
    ("kv/compaction", '{"revision":"3"}'),
    ("kv/compaction", '{"revision":"3"}'),
    ("kv/range", f'{{"key":"{A}","revision":"2"}}'),
    ("lease/grant", '{"TTL":60,"ID":5}'),
    ("lease/grant", '{"TTL":"60","ID":"5"}'),
    ("kv/put", f'{{"key":"{A}","lease":"5"}}'),
    ("lease/keepalive", '{"ID":5}'),
    ("lease/keepalive", '{"ID":5}{"ID":"6"}'),
    ("lease/timetolive", '{"ID":6,"keys":true}'),
    ("lease/leases", ""),
    ("kv/lease/leases", "{}"),
    ("kv/lease/revoke", '{"ID":5}'),
    ("lease/revoke", '{"ID":5}'),
    ("kv/lease/timetolive", '{"ID":5,"keys":true}'),
    ("cluster/member/list", "{}"),
    ("cluster/member/list", '{"linearizable":true}'),
    ("cluster/member/remove", '{"ID":"12"}'),
    ("cluster/member/promote", '{"ID":"12"}'),
    ("cluster/member/update", '{"ID":"12","peerURLs":["http://127.0.0.1:1"]}'),
    ("maintenance/status", "{}"),
    ("maintenance/alarm", '{"action":"GET"}'),
    ("maintenance/alarm", '{"action":"ACTIVATE","memberID":"1","alarm":"NOSPACE"}'),
    ("maintenance/alarm", "{}"),
    ("kv/put", f'{{"key":"{A}","value":"{VALUE}"}}'),
    ("maintenance/alarm", '{"action":"DEACTIVATE","memberID":"1","alarm":"NOSPACE"}'),
    ("maintenance/hash", "{}"),
    ("maintenance/hashkv", "{}"),
    ("maintenance/defragment", "{}"),
    ("maintenance/transfer-leadership", '{"targetID":"5"}'),
    ("maintenance/downgrade", '{"action":"CANCEL"}'),
    ("maintenance/downgrade", '{"action":"VALIDATE","version":"x"}'),
    ("maintenance/downgrade", '{"action":"VALIDATE","version":"3.6"}'),
    ("maintenance/downgrade", '{"action":"ENABLE","version":"3.5"}'),
    ("lock/lock", f'{{"name":"{b64("lock")}","lease":"999"}}'),
    ("lease/grant", '{"TTL":60,"ID":8}'),
    ("lock/lock", f'{{"name":"{b64("lock")}","lease":"8"}}'),
    ("lock/lock", f'{{"name":"{b64("lock")}","lease":"8"}}'),
    ("lock/unlock", f'{{"key":"{b64("lock/8")}"}}'),
    ("election/leader", f'{{"name":"{b64("e")}"}}'),
    ("election/campaign", f'{{"name":"{b64("e")}","lease":"999"}}'),
    ("election/campaign", f'{{"name":"{b64("e")}","value":"{A}","lease":"8"}}'),
    ("election/campaign", f'{{"name":"{b64("e")}","value":"{B}","lease":"8"}}'),
    ("election/leader", f'{{"name":"{b64("e")}"}}'),
    ("election/proclaim", "{}"),
    ("election/proclaim", f'{{"leader":{{"name":"{b64("e")}","key":"{b64("e/8")}","rev":"1","lease":"8"}},"value":"{A}"}}'),
    ("election/resign", "{}"),
    ("election/resign", f'{{"leader":{{"name":"{b64("e")}","key":"{b64("e/8")}","rev":"1","lease":"8"}}}}'),
    ("auth/status", "{}"),
    ("auth/enable", "{}"),
    ("auth/disable", "{}"),
    ("auth/authenticate", '{"name":"root","password":"x"}'),
    ("auth/user/add", '{"name":"root","password":"secret"}'),
    ("auth/user/add", '{"name":""}'),
    ("auth/user/get", '{"name":"root"}'),
    ("auth/user/list", "{}"),
    ("auth/role/add", '{"name":"root"}'),
    ("auth/role/add", '{"name":"reader"}'),
    ("auth/role/grant", f'{{"name":"reader","perm":{{"permType":"READ","key":"{A}","range_end":"{B}"}}}}'),
    ("auth/role/get", '{"role":"reader"}'),
    ("auth/role/revoke", f'{{"role":"reader","key":"{A}","range_end":"{B}"}}'),
    ("auth/role/list", "{}"),
    ("auth/role/delete", '{"role":"reader"}'),
    ("auth/user/grant", '{"user":"root","role":"root"}'),
    ("auth/user/changepw", '{"name":"root","password":"other"}'),
    ("auth/enable", "{}"),
    ("auth/authenticate", '{"name":"root","password":"secret"}'),
    ("kv/range", f'{{"key":"{A}"}}'),
    ("auth/user/list", "{}"),
    ("nothing", "{}"),
    ("watch/", "{}"),
]  # fmt: skip
_UNEQUAL = ("cluster_id", "member_id", "ID", "raft_term", "leader", "raftIndex", "raftTerm", "raftAppliedIndex", "dbSize",
            "dbSizeInUse", "hash", "token")  # fmt: skip


def masked(text: str) -> str:
    for name in _UNEQUAL:
        text = re.sub(rf'"{name}":("\d{{9,}}"|"?\d+"?|"[^"]*")', f'"{name}":"?"', text)
    return re.sub(r"http://127\.0\.0\.1:\d+", "URL", text)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterProcesses]]:
    """Ours, then a real etcd."""
    etcd = real_etcd()
    if etcd is None:
        pytest.skip("needs the executable etcd")
    quiet = ["--log-level=warn"]
    folders = [tmp_path_factory.mktemp(name) for name in ("ours", "etcd")]
    found = [ClusterProcesses(folders[0], 1, quiet), ClusterProcesses(folders[1], 1, [*quiet, "--bcrypt-cost=4"], etcd)]
    for store in found:
        store.start()
    yield found
    for store in found:
        store.close()


@pytest.fixture
async def clients(stores: list[ClusterProcesses]) -> Any:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(httpx.AsyncClient(base_url=s.urls[0], timeout=10)) for s in stores
        ]  # fmt: skip


_INTERESTING = (
    "content-type",
    "grpc-metadata-content-type",
    "access-control-allow-origin",
    "allow",
    "x-content-type-options",
)


def shown(response: httpx.Response) -> str:
    headers = {name: response.headers[name] for name in _INTERESTING if name in response.headers}
    return f"{response.status_code} {headers}\n{masked(response.text.strip())}"


@pytest.mark.binary("etcd")
async def test_each_request_is_answered_as_by_etcd(
    stores: list[ClusterProcesses], clients: list[httpx.AsyncClient]
) -> None:
    for store in stores:
        await store.ready()
    different = []
    for path, body in REQUESTS:
        ours, theirs = [shown(await client.post(f"/v3/{path}", content=body)) for client in clients]
        if ours != theirs:
            different.append(f"{path} {body}\n--- etcd\n{theirs}\n--- ours\n{ours}")
    tokens = []
    for client in clients:
        answer = await client.post("/v3/auth/authenticate", json={"name": "root", "password": "other"})
        tokens.append(answer.json()["token"])
    for path, body in (("kv/range", f'{{"key":"{A}"}}'), ("auth/user/list", "{}"), ("auth/disable", "{}")):
        ours, theirs = [
            shown(await client.post(f"/v3/{path}", content=body, headers={"Authorization": token}))
            for client, token in zip(clients, tokens, strict=True)
        ]
        if ours != theirs:
            different.append(f"{path} {body} with a token\n--- etcd\n{theirs}\n--- ours\n{ours}")
    for method, path in (("GET", "/v3/kv/range"), ("PUT", "/v3/kv/range"), ("OPTIONS", "/v3/kv/range"), ("POST", "/v3beta/lease/leases"),
                         ("POST", "/v3alpha/lease/leases"), ("GET", "/health"), ("GET", "/health?serializable=true"), ("POST", "/health"),
                         ("GET", "/version"), ("POST", "/version"), ("GET", "/"), ("GET", "/v2/keys")):  # fmt: skip
        ours, theirs = [shown(await client.request(method, path)) for client in clients]
        if ours != theirs:
            different.append(f"{method} {path}\n--- etcd\n{theirs}\n--- ours\n{ours}")
    assert not different, "\n\n".join(different)


async def watched(client: httpx.AsyncClient, path: str, body: Any, count: int) -> list[str]:
    """The first lines of a stream."""
    lines: list[str] = []
    async with asyncio.timeout(10), client.stream("POST", path, content=json.dumps(body)) as response:
        async for line in response.aiter_lines():
            lines.append(masked(line))
            if len(lines) == count:
                break
    return lines


@pytest.mark.binary("etcd")
async def test_a_watch_streams_lines(stores: list[ClusterProcesses], clients: list[httpx.AsyncClient]) -> None:
    found: list[list[str]] = []
    for store, client in zip(stores, clients, strict=True):
        await store.ready()
        key = b64("w")
        first = (await client.post("/v3/kv/put", json={"key": key, "value": A})).json()["header"]["revision"]
        await client.post("/v3/kv/put", json={"key": key, "value": B})
        await client.post("/v3/kv/deleterange", json={"key": key})
        create = {"create_request": {"key": key, "start_revision": first, "prev_kv": True, "filters": ["NOPUT"]}}
        past = await watched(client, "/v3/watch", create, 2)
        await client.post("/v3/kv/compaction", json={"revision": str(int(first) + 1)})
        gone = await watched(client, "/v3/watch", create, 2)
        broken = shown(await client.post("/v3/watch", content="{"))
        found.append([re.sub(r'"(\w*revision)":"\d+"', r'"\1":"?"', line) for line in (*past, *gone, broken)])
    assert found[0] == found[1]
    assert '"type":"DELETE"' in found[0][1]


async def test_who_waits_for_a_lock_and_leaves_does_not_get_it(
    stores: list[ClusterProcesses], clients: list[httpx.AsyncClient]
) -> None:
    await stores[0].ready()
    client = clients[0]
    name = {"name": b64("mutex")}
    first = (await client.post("/v3/lock/lock", json=name)).json()["key"]
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/v3/lock/lock", json=name, timeout=0.3)

    async def keys() -> int:
        found = await client.post(
            "/v3/kv/range", json={"key": b64("mutex/"), "range_end": b64("mutex0"), "count_only": True}
        )
        return int(found.json()["count"])

    async def one_is_left() -> bool:
        return await keys() == 1

    await eventually("only the holder's key is left", one_is_left)
    waiting = asyncio.create_task(client.post("/v3/lock/lock", json=name))

    async def two_are_there() -> bool:
        return await keys() == 2

    await eventually("the next one waits", two_are_there)
    assert not waiting.done()
    await client.post("/v3/lock/unlock", json={"key": first})
    assert (await waiting).json()["key"] != first


async def test_an_observer_hears_who_leads(stores: list[ClusterProcesses], clients: list[httpx.AsyncClient]) -> None:
    await stores[0].ready()
    client = clients[0]
    name = b64("chair")
    heard: list[str] = []

    async def observe() -> None:
        async with client.stream("POST", "/v3/election/observe", json={"name": name}) as response:
            async for line in response.aiter_lines():
                heard.append(json.loads(line)["result"]["kv"].get("value"))

    async def hears(value: str) -> None:
        async def has_heard() -> bool:
            return bool(heard) and heard[-1] == value

        await eventually(f"the observer hears {value}", has_heard)

    async def ask(verb: str, **body: Any) -> Any:
        return (await client.post(f"/v3/election/{verb}", json=body)).json()

    observing = asyncio.create_task(observe())
    try:
        first = (await ask("campaign", name=name, value=A))["leader"]
        await hears(A)
        second = asyncio.create_task(ask("campaign", name=name, value=b64("c")))
        await ask("proclaim", leader=first, value=B)
        await hears(B)
        await ask("resign", leader=first)
        assert (await second)["leader"]["key"] != first["key"]
        await hears(b64("c"))
    finally:
        observing.cancel()
        await asyncio.gather(observing, return_exceptions=True)
    assert heard == [A, B, b64("c")]
