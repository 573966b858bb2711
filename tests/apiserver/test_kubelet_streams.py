"""Logs and upgraded connections, against a kubelet that the test plays: what it is asked, and that every byte arrives."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.harness import TOKEN, ApiServer
from tests.apiserver.manifests import pod


class FakeKubelet:
    """Answers ``/containerLogs`` with a chunked text and upgrades everything else to an echo."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.user = ""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("peercert")
        self.user = dict(pair for rdn in certificate["subject"] for pair in rdn)["commonName"]
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        path = head.split(" ")[1]
        if path.startswith("/containerLogs/"):
            await self._log(writer, path)
        elif "upgrade: echo" in head.lower():
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        else:
            text = b"unable to upgrade: missing upgrade headers"
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        writer.close()

    async def _log(self, writer: asyncio.StreamWriter, path: str) -> None:
        if "previous=true" in path:
            text = b'previous terminated container "c" in pod "p" not found'
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for line in (b"one\n", b"two\n", b"three\n"):
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


@pytest.fixture
async def kubelet(server: ApiServer) -> AsyncIterator[FakeKubelet]:
    played = FakeKubelet()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.pki.issue("kubelet", "system:node:n9", server=True))
    context.load_verify_locations(server.pki.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = await asyncio.start_server(played.serve, "127.0.0.1", 0, ssl=context)
    played.port = listener.sockets[0].getsockname()[1]
    yield played
    listener.close()


@pytest.fixture
async def path(api: Api, namespace: str, kubelet: FakeKubelet) -> str:
    """A pod on the played kubelet's node."""
    await api.http.delete("/api/v1/nodes/n9")
    await api.create("/api/v1/nodes", {"metadata": {"name": "n9"}})
    status = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
    status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": kubelet.port}}
    await api.patch("/api/v1/nodes/n9/status", {"status": status})
    await api.create(f"/api/v1/namespaces/{namespace}/pods", pod("p", nodeName="n9"))
    return f"/api/v1/namespaces/{namespace}/pods/p"


async def test_logs_are_passed_on_with_their_options(api: Api, path: str, kubelet: FakeKubelet, namespace: str) -> None:
    response = await api.http.get(f"{path}/log", params={"tailLines": "7", "timestamps": "true", "follow": "false"})
    assert response.text == "one\ntwo\nthree\n"
    assert response.headers["content-type"] == "text/plain"
    assert kubelet.requests[0].startswith(f"GET /containerLogs/{namespace}/p/c?timestamps=true&tailLines=7 HTTP/1.1")
    assert kubelet.user == "kube-apiserver-kubelet-client"
    assert TOKEN not in kubelet.requests[0], "the client's credentials stay here"


async def test_what_the_kubelet_refuses_is_told_as_it_says_it(api: Api, path: str, kubelet: FakeKubelet) -> None:
    status = await api.get(f"{path}/log", code=400, previous="true")
    assert status["message"] == 'previous terminated container "c" in pod "p" not found'
    status = await api.get(f"{path}/log", code=400, container="other")
    assert status["message"] == "container other is not valid for pod p"
    await api.get(f"{path}/log", code=422, tailLines="-1")


async def test_a_kubelet_that_is_not_there_is_an_error_that_names_it(api: Api, path: str, kubelet: FakeKubelet) -> None:
    gone = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}
    await api.patch("/api/v1/nodes/n9/status", {"status": gone})
    status = await api.get(f"{path}/log", code=500)
    assert "dial tcp 127.0.0.1:1" in status["message"]


async def test_a_nodes_proxy_reaches_any_path_of_its_kubelet(api: Api, path: str, kubelet: FakeKubelet) -> None:
    response = await api.http.get("/api/v1/nodes/n9/proxy/containerLogs/x?a=b")
    assert (response.status_code, response.text) == (200, "one\ntwo\nthree\n")
    assert kubelet.requests[0].startswith("GET /containerLogs/x?a=b HTTP/1.1")
    refused = await api.http.post("/api/v1/nodes/n9/proxy/run/x", content=b"cmd=ls")
    assert (refused.status_code, refused.text) == (400, "unable to upgrade: missing upgrade headers")
    assert (await api.http.get("/api/v1/nodes/none/proxy/stats")).status_code == 404


async def upgrade(
    server: ApiServer, target: str, early: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write((head + "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 0\r\n\r\n").encode() + early)
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


async def test_an_upgraded_connection_carries_every_byte_both_ways(
    server: ApiServer, path: str, kubelet: FakeKubelet, namespace: str
) -> None:
    reader, writer, head = await upgrade(server, f"{path}/exec?command=ls&command=-l&stdin=true&tty=true", b"early")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert await reader.readexactly(5) == b"early"
    assert kubelet.requests[0].startswith(f"POST /exec/{namespace}/p/c?command=ls&command=-l&input=1&tty=1 HTTP/1.1")
    sent = os.urandom(4 << 20)

    async def send() -> None:
        for i in range(0, len(sent), 1 << 16):
            writer.write(sent[i : i + (1 << 16)])
            await writer.drain()

    async def receive() -> bytes:
        return hashlib.sha256(await reader.readexactly(len(sent))).digest()

    async with asyncio.timeout(30):
        _, received = await asyncio.gather(send(), receive())
    assert received == hashlib.sha256(sent).digest()
    writer.close()


async def test_without_an_upgrade_or_a_command_exec_is_a_bad_request(api: Api, path: str, kubelet: FakeKubelet) -> None:
    status = await api.call("POST", f"{path}/exec", params={"command": "ls"}, code=400)
    assert status["message"] == "Upgrade request required"
    status = await api.call("POST", f"{path}/exec", code=400)
    assert "you must specify at least 1 command" in status["message"]


async def test_nobody_upgrades_without_credentials(server: ApiServer, path: str) -> None:
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    writer.write(
        f"POST {path}/exec?command=ls HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401")
    writer.close()
