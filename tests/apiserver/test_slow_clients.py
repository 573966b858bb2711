"""Clients that do not read, do not write, or ask for little time."""

import asyncio
import json
import socket
import ssl
from pathlib import Path

from tests.apiserver.conftest import Api
from tests.apiserver.harness import TOKEN, ApiServer
from tests.apiserver.manifests import config_map

READERS, EVENTS, EVENT_BYTES = 24, 30, 700_000


def connect(server: ApiServer, *, receive_buffer: int = 0) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    plain = socket.socket()
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.settimeout(20)
    plain.connect(("127.0.0.1", server.port))
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def ask(tls: ssl.SSLSocket, line: str, *headers: str) -> None:
    head = [f"{line} HTTP/1.1", "Host: test", f"Authorization: Bearer {TOKEN}", *headers]
    tls.sendall("\r\n".join([*head, "", ""]).encode())


def resident(server: ApiServer) -> int:
    assert server.process is not None, "it runs"
    return int(Path(f"/proc/{server.process.popen.pid}/statm").read_text().split()[1]) * 4096


async def test_watchers_that_do_not_read_are_cut_off_and_cost_little_memory(
    api: Api, server: ApiServer, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    since = (await api.get(path))["metadata"]["resourceVersion"]
    asleep = [connect(server, receive_buffer=4096) for _ in range(READERS)]
    try:
        for tls in asleep:
            ask(tls, f"GET {path}?watch=true&resourceVersion={since}")
            assert tls.recv(15) == b"HTTP/1.1 200 OK"
        before = resident(server)
        for i in range(EVENTS):
            await api.create(path, config_map(f"big{i}", x="y" * EVENT_BYTES))

        async def registered() -> int:
            text = (await api.http.get("/metrics")).text
            name = 'apiserver_registered_watchers{resource="configmaps"} '
            return next((int(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name)), 0)

        async with asyncio.timeout(20):
            while await registered() >= READERS:
                await asyncio.sleep(0.05)
        grown = resident(server) - before
        everything = EVENTS * EVENT_BYTES
        # The objects, their events, some copies on the way in; by no means a copy for each reader.
        assert grown < 6 * everything, f"{grown >> 20} MiB for {everything >> 20} MiB of objects"
    finally:
        for tls in asleep:
            tls.close()
        await api.call("DELETE", path)


async def test_a_body_that_does_not_come_is_given_up(api: Api, server: ApiServer, namespace: str) -> None:
    tls = connect(server)
    try:
        path = f"/api/v1/namespaces/{namespace}/configmaps?timeout=200ms"
        ask(tls, f"POST {path}", "Content-Type: application/json", "Content-Length: 100")
        answer = await asyncio.to_thread(tls.recv, 65536)
    finally:
        tls.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 504 ")
    status = json.loads(body)
    assert (status["code"], status["reason"]) == (504, "Timeout")
    assert status["message"] == "Timeout: request did not complete within requested timeout - context deadline exceeded"


async def test_a_timeout_that_is_no_duration_is_a_bad_request(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status = await api.get(path, code=400, timeout="soon")
    assert status["message"] == 'invalid timeout specified in the request URL - time: invalid duration "soon"'
    for fine in ("0", "30s", "1h"):
        await api.get(path, timeout=fine)
