"""The kubelet's server over real TLS: who may ask, and what they get."""

import asyncio
import json
import struct
from typing import Any

import pytest

from tests.kubelet.conftest import Node, state
from tests.kubelet.server.client import KubeletClient, target

Object = dict[str, Any]


@pytest.fixture
async def web(node: Node) -> KubeletClient:
    """A node with a running pod ``web``, and the API server's client of its kubelet."""
    await node.start()
    await node.create("web")
    await node.running("web")
    return KubeletClient(node)


async def test_only_who_may_proxy_to_the_node_asks_for_more_than_health(node: Node) -> None:
    await node.start()
    nobody = KubeletClient(node, certificate=False)
    other = KubeletClient(node, "system:node:other", "system:nodes")
    for path in ("/healthz", "/livez", "/readyz"):
        assert await nobody.get(path) == (200, "ok")
    for path in ("/pods", "/metrics", "/containerLogs/a/b/c", "/exec/a/b/c", "/none"):
        assert (await nobody.get(path))[0] == 401
        assert (await other.get(path))[0] == 403
    refused = "Forbidden (user=system:node:other, verb=create, resource=nodes, subresource(s)=[proxy])\n"
    assert await other.get("/run/a/b/c", "POST") == (403, refused)
    # As the API server of a cluster calls itself: bound to system:kubelet-api-admin, no master.
    api_server = KubeletClient(node, "kube-apiserver-kubelet-client", "")
    code, body = await api_server.get("/pods")
    assert (code, json.loads(body)["kind"]) == (200, "PodList")


async def test_a_role_for_metrics_opens_metrics_and_nothing_else(node: Node) -> None:
    await node.start()
    rbac, name = "rbac.authorization.k8s.io/v1", f"scraper-of-{node.name}"
    rules = [{"apiGroups": [""], "resources": ["nodes/metrics", "nodes/pods"], "verbs": ["get"]}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    account = {"kind": "ServiceAccount", "name": "scraper", "namespace": node.namespace}
    meta = {"name": name}
    for plural, kind, rest in (
        ("clusterroles", "ClusterRole", {"rules": rules}),
        ("clusterrolebindings", "ClusterRoleBinding", {"roleRef": reference, "subjects": [account]}),
    ):
        await node.api.resource(rbac, plural).create({"apiVersion": rbac, "kind": kind, "metadata": meta, **rest})
    accounts = node.api.resource("v1", "serviceaccounts")
    await accounts.create({"metadata": {"name": "scraper", "namespace": node.namespace}})
    path = accounts.path(node.namespace, "scraper", "token")
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await node.api.json("POST", path, body=asked))["status"]["token"]
    scraper = KubeletClient(node, certificate=False, token=token)
    assert (await scraper.get("/metrics"))[0] == 200
    assert (await scraper.get("/pods"))[0] == 200
    code, text = await scraper.get("/configz")
    assert (code, "subresource(s)=[configz proxy]" in text) == (403, True)
    assert (await KubeletClient(node, certificate=False, token="wrong").get("/metrics"))[0] == 401


async def test_it_is_not_ready_before_the_pods_are_taken_up(node: Node) -> None:
    node.runtime.fail["start"] = "the engine is not up yet"
    await node.start(wait=False)
    client = KubeletClient(node, certificate=False)

    async def listening() -> bool:
        try:
            return (await client.get("/healthz"))[0] == 200
        except OSError:
            return False

    await node.until("the server", listening)
    code, body = await client.get("/readyz")
    assert code == 500
    assert "not registered" in body
    del node.runtime.fail["start"]

    async def ready() -> bool:
        return (await client.get("/readyz"))[0] == 200

    await node.until("readiness", ready)


async def test_pods_are_shown_with_their_status(node: Node, web: KubeletClient) -> None:
    items = json.loads((await web.get("/pods"))[1])["items"]
    assert [(p["metadata"]["name"], p["status"]["phase"]) for p in items] == [("web", "Running")]


async def test_logs_are_the_containers_own_words(node: Node, web: KubeletClient) -> None:
    running = node.runtime.find("c")
    assert running is not None
    with open(running.log_path, "w") as file:
        file.write("2026-01-01T00:00:01.0Z stdout F one\n2026-01-01T00:00:02.0Z stderr F two\n")
    assert await web.get(target("containerLogs", node, "web")) == (200, "one\ntwo\n")
    assert await web.get(target("containerLogs", node, "web", tailLines="1")) == (200, "two\n")
    code, body = await web.get(target("containerLogs", node, "web", previous="true"))
    assert (code, body) == (400, 'previous terminated container "c" in pod "web" not found')
    assert (await web.get(target("containerLogs", node, "none")))[0] == 404
    assert (await web.get(target("containerLogs", node, "web", "none")))[0] == 404
    assert (await web.get(target("containerLogs", node, "web", tailLines="x")))[0] == 400


async def test_the_log_of_the_run_before_is_kept(node: Node, web: KubeletClient) -> None:
    first = node.runtime.find("c")
    assert first is not None
    with open(first.log_path, "w") as file:
        file.write("2026-01-01T00:00:01.0Z stdout F before\n")
    node.runtime.exit(first.id, 1)
    await node.pod("web", "restarted", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert await web.get(target("containerLogs", node, "web", previous="true")) == (200, "before\n")


async def test_a_container_that_waits_has_no_log_yet(node: Node) -> None:
    await node.start()
    await node.create("p", {"image": "none:1"})
    await node.pod("p", "no image", lambda p: state(p).get("waiting", {}).get("reason") == "ErrImagePull")
    code, body = await KubeletClient(node).get(target("containerLogs", node, "p"))
    assert (code, body) == (400, 'container "c" in pod "p" is waiting to start: image can\'t be pulled')


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_exec_by_websocket(node: Node, web: KubeletClient, protocol: str) -> None:
    socket = await web.websocket(
        target("exec", node, "web", command=["exit", "3"], output="1", error="1"), f"{protocol}, other"
    )
    assert socket.protocol == protocol
    channels = await socket.channels()
    assert channels[1] == b"exit 3\n"
    assert channels[2] == b"leaving\n"
    status = json.loads(channels[3])
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_stdin_and_its_end_by_websocket(node: Node, web: KubeletClient) -> None:
    socket = await web.websocket(target("exec", node, "web", command="cat", input="1", output="1"), "v5.channel.k8s.io")
    socket.send(b"\x00hello")
    socket.send(bytes([255, 0]))
    channels = await socket.channels()
    assert channels[1] == b"cat\nHELLO"
    assert json.loads(channels[3])["status"] == "Success"


async def test_a_terminal_has_a_size_and_one_output(node: Node, web: KubeletClient) -> None:
    path = target("exec", node, "web", command="sh", input="1", output="1", tty="1")
    socket = await web.websocket(path, "v4.channel.k8s.io")
    socket.send(b'\x04{"Width":80,"Height":24}')
    seen = b""
    async for message in socket.messages():
        assert message[0] != 2
        seen += message[1:]
        if b"80x24" in seen:
            break
    socket.close()


async def test_exec_by_spdy(node: Node, web: KubeletClient) -> None:
    path = target("exec", node, "web", command="cat", input="1", output="1", error="1")
    spdy = await web.spdy(path, "v4.channel.k8s.io")
    assert spdy.protocol == "v4.channel.k8s.io"
    numbers = {kind: spdy.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "stderr")}
    spdy.send(numbers["stdin"], b"hello", fin=True)
    streams = await spdy.streams({numbers["error"], numbers["stdout"]})
    assert streams[numbers["stdout"]] == b"cat\nHELLO"
    assert json.loads(streams[numbers["error"]])["status"] == "Success"
    assert spdy.replies == set(numbers.values())
    spdy.close()


async def test_a_client_that_leaves_takes_its_command_along(node: Node, web: KubeletClient) -> None:
    sessions: list[Any] = []
    start = node.runtime.exec

    async def remember(*args: Any, **kwargs: Any) -> Any:
        sessions.append(await start(*args, **kwargs))
        return sessions[-1]

    node.runtime.exec = remember  # type: ignore[method-assign]
    path = target("exec", node, "web", command="cat", input="1", output="1")
    socket = await web.websocket(path, "v5.channel.k8s.io")
    async for message in socket.messages():
        if message.startswith(b"\x01cat"):
            break
    socket.close()
    await node.until("the command killed", lambda: sessions[0].killed)


async def test_an_attach_is_a_success_however_the_container_ends(node: Node, web: KubeletClient) -> None:
    socket = await web.websocket(target("attach", node, "web", input="1", output="1"), "v5.channel.k8s.io")
    socket.send(bytes([255, 0]))
    channels = await socket.channels()
    assert channels[1] == b"attached\n"
    assert json.loads(channels[3])["status"] == "Success"


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ({"command": "x", "output": "1"}, (), 400),
        ({"command": "x"}, ("Connection: Upgrade", "Upgrade: websocket"), 400),
        ({"output": "1"}, ("Connection: Upgrade", "Upgrade: websocket"), 400),
        ({"command": "x", "output": "1"}, ("Connection: Upgrade", "Upgrade: h2c"), 400),
        (
            {"command": "x", "output": "1"},
            ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: v9.channel.k8s.io"),
            403,
        ),
    ],
)
async def test_what_is_no_proper_upgrade_is_refused(
    node: Node, web: KubeletClient, query: dict[str, str], headers: tuple[str, ...], code: int
) -> None:
    found, _, _, writer = await web.open("GET", target("exec", node, "web", **query), *headers)
    writer.close()
    assert found == code


async def _echo() -> tuple[asyncio.Server, int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_ports_are_forwarded_by_spdy(node: Node, web: KubeletClient) -> None:
    server, port = await _echo()
    async with server:
        spdy = await web.spdy(target("portForward", node, "web", ""), "portforward.k8s.io")
        for request in ("0", "1"):
            headers = {"port": str(port), "requestid": request}
            error, data = spdy.open(streamtype="error", **headers), spdy.open(streamtype="data", **headers)
            spdy.send(data, b"hello\n")
            assert (await spdy.streams({data, error})) == {data: b"HELLO\n", error: b""}
        spdy.close()


async def test_a_port_that_nobody_serves_is_an_error_on_its_stream(node: Node, web: KubeletClient) -> None:
    server, port = await _echo()
    server.close()
    await server.wait_closed()
    spdy = await web.spdy(target("portForward", node, "web", ""), "portforward.k8s.io")
    headers = {"port": str(port), "requestid": "0"}
    error, data = spdy.open(streamtype="error", **headers), spdy.open(streamtype="data", **headers)
    streams = await spdy.streams({data, error})
    assert streams[error].startswith(f"error forwarding port {port} to pod".encode())
    spdy.close()


async def test_ports_are_forwarded_by_websocket(node: Node, web: KubeletClient) -> None:
    server, port = await _echo()
    async with server:
        socket = await web.websocket(target("portForward", node, "web", "", port=str(port)), "v4.channel.k8s.io")
        socket.send(b"\x00hello\n")
        channels = await socket.channels()
    assert channels[0] == struct.pack("<H", port) + b"HELLO\n"
    assert channels[1] == struct.pack("<H", port)


async def test_numbers_are_served(node: Node, web: KubeletClient) -> None:
    code, body = await web.get("/metrics/resource")
    assert code == 200
    assert f'container_cpu_usage_seconds_total{{container="c",namespace="{node.namespace}",pod="web"}} 1.5' in body
    assert "node_memory_working_set_bytes" in body
    summary = json.loads((await web.get("/stats/summary"))[1])
    assert summary["node"]["nodeName"] == node.name
    assert summary["pods"][0]["memory"]["workingSetBytes"] == 4096
    assert "kubelet_running_pods 1" in (await web.get("/metrics"))[1]
    config = json.loads((await web.get("/configz"))[1])["kubeletconfig"]
    assert config["port"] == node.port


async def test_a_command_can_be_run_for_its_output(node: Node, web: KubeletClient) -> None:
    async def answer(container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        return " ".join(command).encode(), b"", 0

    node.runtime.exec_answer = answer
    assert await web.get(target("run", node, "web", cmd="ls -l"), "POST") == (200, "ls -l")
