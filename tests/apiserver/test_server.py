"""The server below the application: connections that do not get to the point."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apiserver import server
from componentbase.connection import listen
from tests.apiserver.harness import Pki

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.1)
    certificate, key = pki.issue("apiserver", "kube-apiserver", server=True)
    served = server.build(application, str(certificate), str(key), str(pki.ca))
    listener = listen("127.0.0.1", 0)
    task = asyncio.create_task(served.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        served.stop()
        await task


async def test_a_head_that_does_not_come_to_an_end_is_given_up_and_an_idle_connection_is_not(
    port: int, pki: Pki
) -> None:
    context = ssl.create_default_context(cafile=str(pki.ca))
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(15):
        opened = []
        for said in (b"", REQUEST[:9], REQUEST[:-2], REQUEST, REQUEST + REQUEST[:9]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            stack.callback(writer.transport.abort)
            writer.write(said)
            opened.append((reader, writer))
        kept = opened.pop(3)
        assert (await kept[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        for reader, _ in opened:
            with contextlib.suppress(ConnectionError):
                assert (await reader.read()).count(b"HTTP/1.1 ") <= 1
        kept[1].write(REQUEST)
        assert (await kept[0].readuntil(b"ok")).endswith(b"ok")
