import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from kubelet.probes.http import MAX_BODY, HttpError, get


@contextlib.asynccontextmanager
async def answering(*answers: bytes, hang: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives one answer to each connection, and what it was asked."""
    asked: list[bytes] = []
    left = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if hang:
                await reader.read()
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def plain(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_an_answer_has_its_status_and_body() -> None:
    async with answering(plain(200, b"fine")) as (url, asked):
        answer = await get(f"{url}/healthz?x=1", {"Host": "h", "User-Agent": "kube-probe/1.33"}, 5)
    assert (answer.status, answer.body) == (200, "fine")
    assert asked[0].startswith(b"GET /healthz?x=1 HTTP/1.1\r\nHost: h\r\nUser-Agent: kube-probe/1.33\r\n")


async def test_a_body_without_an_end_is_read_to_the_limit() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50_000) as (url, _):
        assert len((await get(url, {}, 5)).body) == MAX_BODY


async def test_redirects_are_followed_on_the_same_host_only() -> None:
    async with answering(plain(302, Location="/there"), plain(204)) as (url, asked):
        assert (await get(url, {}, 5)).status == 204
        assert b"GET /there " in asked[1]
    async with answering(plain(302, Location="http://elsewhere.example/")) as (url, asked):
        assert (await get(url, {}, 5)).status == 302
        assert len(asked) == 1


async def test_endless_redirects_end() -> None:
    async with answering(*[plain(302, Location="/")] * 20) as (url, _):
        with pytest.raises(HttpError, match="stopped after 10 redirects"):
            await get(url, {}, 5)


async def test_a_refused_connection_says_so() -> None:
    async with answering() as (url, _):
        pass
    with pytest.raises(HttpError, match="connect"):
        await get(url, {}, 5)


async def test_a_server_that_says_nothing_is_given_up_on() -> None:
    async with answering(hang=True) as (url, _):
        with pytest.raises(HttpError, match="context deadline exceeded"):
            await get(url, {}, 0.05)


@pytest.mark.parametrize("nonsense", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 100_000])
async def test_nonsense_is_no_answer(nonsense: bytes) -> None:
    async with answering(nonsense) as (url, _):
        with pytest.raises(HttpError):
            await get(url, {}, 5)
