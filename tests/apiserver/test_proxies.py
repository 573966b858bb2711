"""``pods/proxy`` and ``services/proxy`` before a backend that the test plays: what it is asked, and what comes back.

The backend listens on the loopback address of a node whose address that is, as in a cluster without network namespaces.
"""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.harness import TOKEN, ApiServer, free_port
from tests.apiserver.manifests import pod

Object = dict[str, Any]
PAGE = b"<a href='/sub/'>x</a><a href='sub/'>y</a>"


class Backend:
    """Keeps the head and the body of every request."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        if first == b"\x16":  # a TLS greeting
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
            return
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        self.bodies.append(await self._body(head.lower(), reader))
        if "upgrade: echo" in head.lower():
            await self._echo(reader, writer)
        else:
            self._answer(head.split(" ")[1].partition("?")[0], writer)
        writer.close()

    @staticmethod
    async def _body(head: str, reader: asyncio.StreamReader) -> bytes:
        body = b""
        if "transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
        elif "content-length: " in head:
            body = await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
        return body

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    @staticmethod
    def _answer(path: str, writer: asyncio.StreamWriter) -> None:
        match path:
            case "/page":
                head = f"Content-Type: text/html; charset=utf-8\r\nContent-Length: {len(PAGE)}"
                writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + PAGE)
            case "/redirect":
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
            case "/cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            case "/chunks":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
            case "/nonsense":
                writer.write(b"this is no HTTP\r\n\r\n")
            case "/nothing":
                pass
            case _:
                headers = b"X-Mine: yes\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nAccess-Control-Allow-Origin: *\r\nKeep-Alive: 5"
                writer.write(b"HTTP/1.0 418 Teapot\r\n" + headers + b"\r\nContent-Type: text/x-mine\r\n\r\nhello")


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    played = Backend()
    listener = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    played.port = listener.sockets[0].getsockname()[1]
    yield played
    listener.close()


@pytest.fixture
async def base(api: Api, namespace: str, backend: Backend) -> str:
    """A namespace with the ready pod ``p`` and the Service ``s`` that leads to it."""
    await api.http.delete("/api/v1/nodes/n8")
    await api.create("/api/v1/nodes", {"metadata": {"name": "n8"}})
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    await api.patch("/api/v1/nodes/n8/status", {"status": {"addresses": addresses}})
    base = f"/api/v1/namespaces/{namespace}"
    manifest = pod("p", nodeName="n8")
    manifest["spec"]["containers"][0]["ports"] = [{"containerPort": backend.port}]
    await api.create(f"{base}/pods", manifest)
    status = {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "phase": "Running"}
    await api.patch(f"{base}/pods/p/status", {"status": status})
    ports = [{"name": "web", "port": 80, "targetPort": backend.port}]
    await api.create(f"{base}/services", {"metadata": {"name": "s"}, "spec": {"ports": ports}})
    address = {"ip": "127.0.0.1", "targetRef": {"kind": "Pod", "name": "p", "namespace": namespace}}
    subsets = [{"addresses": [address], "ports": [{"name": "web", "port": backend.port}]}]
    await api.create(f"{base}/endpoints", {"metadata": {"name": "s"}, "subsets": subsets})
    return base


async def message(api: Api, path: str, code: int) -> str:
    return str((await api.call("GET", path, code=code))["message"])


async def test_a_request_arrives_without_the_clients_credentials(api: Api, base: str, backend: Backend) -> None:
    path = f"{base}/pods/p/proxy/a%20b/c?x=1&y=%2F"
    headers = {"cookie": "c=1", "x-forwarded-for": "192.0.2.9", "connection": "x-private", "x-private": "1"}
    answer = await api.http.post(path, content=b"body", headers=headers)
    assert (answer.status_code, answer.text) == (418, "hello")
    head = backend.heads[0].lower()
    assert head.startswith("post /a%20b/c?x=1&y=%2f http/1.1\r\n")
    assert backend.bodies == [b"body"]
    assert TOKEN not in head
    assert "authorization" not in head
    assert "x-private" not in head
    assert "cookie: c=1" in head
    assert "x-forwarded-for: 192.0.2.9, 127.0.0.1" in head
    assert f"x-forwarded-uri: {base}/pods/p/proxy/a%20b/c" in head
    assert f"host: {api.http.base_url.netloc.decode()}" in head


async def test_an_answer_comes_back_as_it_is(api: Api, base: str) -> None:
    answer = await api.http.get(f"{base}/pods/p/proxy/")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (418, "hello", "text/x-mine")
    assert answer.headers["x-mine"] == "yes"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "access-control-allow-origin" not in answer.headers
    assert "keep-alive" not in answer.headers
    assert (await api.http.get(f"{base}/pods/p/proxy/chunks")).text == "onetwo"


async def test_every_method_is_passed_on(api: Api, base: str, backend: Backend) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert (await api.http.request(method, f"{base}/services/s:web/proxy/x")).status_code == 418, method
        assert backend.heads[-1].startswith(f"{method} /x ")


async def test_a_large_body_is_streamed_whatever_its_length(api: Api, base: str, backend: Backend) -> None:
    sent = os.urandom(5 << 20)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(sent), 1 << 16):
            yield sent[at : at + (1 << 16)]

    for content in (sent, chunks()):
        assert (await api.http.post(f"{base}/pods/p/proxy/x", content=content)).status_code == 418
        assert hashlib.sha256(backend.bodies[-1]).digest() == hashlib.sha256(sent).digest()


async def test_links_and_redirects_lead_back_through_the_proxy(api: Api, base: str) -> None:
    proxy = f"{base}/services/s:web/proxy"
    page = await api.http.get(f"{proxy}/page")
    assert page.text == f"<a href='{proxy}/sub/'>x</a><a href='sub/'>y</a>"
    assert page.headers["content-length"] == str(len(page.content))
    redirect = await api.http.get(f"{proxy}/redirect")
    assert (redirect.status_code, redirect.headers["location"]) == (302, f"{proxy}/elsewhere")
    bare = await api.http.get(f"{proxy}?a=b")
    assert (bare.status_code, bare.headers["location"]) == (301, f"{proxy}/?a=b")


@pytest.mark.parametrize("name", ["p", "p:{port}", "http:p:{port}", "http:p:"])
async def test_a_pod_is_named_with_scheme_and_port(api: Api, base: str, backend: Backend, name: str) -> None:
    path = f"{base}/pods/{name.format(port=backend.port)}/proxy/"
    assert (await api.http.get(path)).status_code == 418


@pytest.mark.parametrize("name", ["s:web", "s:80", "http:s:web"])
async def test_a_services_port_is_named_by_name_or_number(api: Api, base: str, name: str) -> None:
    assert (await api.http.get(f"{base}/services/{name}/proxy/")).status_code == 418


async def test_what_cannot_be_reached_is_said_in_upstreams_words(api: Api, base: str, namespace: str) -> None:
    closed = free_port()
    text = f"error trying to reach service: dial tcp 127.0.0.1:{closed}: connect: connection refused"
    assert await message(api, f"{base}/pods/p:{closed}/proxy/", 503) == text
    text = "error trying to reach service: http: server gave HTTP response to HTTPS client"
    assert await message(api, f"{base}/services/https:s:web/proxy/", 503) == text
    assert await message(api, f"{base}/pods/p/proxy/nothing", 503) == "error trying to reach service: EOF"
    assert "malformed HTTP response" in await message(api, f"{base}/pods/p/proxy/nonsense", 503)
    assert await message(api, f"{base}/services/s/proxy/", 503) == 'no endpoints available for service "s"'
    assert await message(api, f"{base}/services/s:99/proxy/", 503) == 'no service port 99 found for service "s"'
    assert await message(api, f"{base}/pods/ftp:p:1/proxy/", 400) == 'invalid pod request "ftp:p:1"'
    assert await message(api, f"{base}/services/a:b:c:d/proxy/", 400) == 'invalid service request "a:b:c:d"'
    assert await message(api, f"{base}/pods/none/proxy/", 404) == 'pods "none" not found'
    assert await message(api, f"{base}/services/none/proxy/", 404) == 'endpoints "none" not found'


async def test_an_answer_that_is_cut_off_is_cut_off_for_the_client(api: Api, base: str) -> None:
    import httpx

    with pytest.raises(httpx.RemoteProtocolError):
        await api.http.get(f"{base}/pods/p/proxy/cut")


async def test_nobody_is_led_to_the_api_servers_own_machine(api: Api, base: str) -> None:
    """A pod's status can be written by others than kubelets; Endpoints by anybody who may edit a namespace."""
    for ip in ("127.0.0.2", "169.254.169.254", "::1", "0.0.0.0"):
        await api.patch(f"{base}/pods/p/status", {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}})
        assert await message(api, f"{base}/pods/p/proxy/", 400) == "address not allowed"
        assert await message(api, f"{base}/services/s:web/proxy/", 503) == 'no endpoints available for service "s:web"'
    await api.patch(f"{base}/pods/p/status", {"status": {"podIP": None, "podIPs": None}})
    assert await message(api, f"{base}/pods/p/proxy/", 400) == "address not allowed"
    assert await message(api, "/api/v1/nodes/n8:22/proxy/", 400) == "address not allowed"


async def upgraded(server: ApiServer, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    head = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
    )
    writer.write((head + "Sec-WebSocket-Key: abc\r\n\r\n").encode() + b"early")
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("kind", ["pods/p", "services/s:web"])
async def test_an_upgrade_joins_the_two_connections(server: ApiServer, base: str, backend: Backend, kind: str) -> None:
    async with asyncio.timeout(30):
        reader, writer, head = await upgraded(server, f"{base}/{kind}/proxy/socket?a=b")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(5) == b"early"
        writer.write(b"more")
        assert await reader.readexactly(4) == b"more"
        writer.close()
    asked = backend.heads[0]
    assert asked.startswith("GET /socket?a=b HTTP/1.1\r\n")
    assert "sec-websocket-key: abc" in asked.lower()
    assert TOKEN not in asked


async def test_an_upgrade_that_cannot_be_dialled_is_an_error(server: ApiServer, base: str) -> None:
    closed = free_port()
    reader, writer, head = await upgraded(server, f"{base}/pods/p:{closed}/proxy/socket")
    assert head.startswith(b"HTTP/1.1 500 ")
    body = await reader.read()
    assert f"error dialing backend: dial tcp 127.0.0.1:{closed}: connect: connection refused".encode() in body
    writer.close()


async def test_a_waiting_backend_is_let_go_when_the_client_leaves(api: Api, base: str) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n\r\nfirst\n")
        await reader.read()
        gone.set()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(20):
            async with api.http.stream("GET", f"{base}/pods/p:{port}/proxy/events") as answer:
                async for line in answer.aiter_lines():
                    assert line == "first"
                    break
            await gone.wait()
    finally:
        listener.close()
