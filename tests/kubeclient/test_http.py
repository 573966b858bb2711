"""The HTTP client against a server that is scripted byte by byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from kubeclient.http import ConnectError, ConnectionBroken, HttpClient, ReadTimeout, Response, TransportError

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Runs ``script`` on each connection; counts them, and keeps what was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.requests: list[tuple[str, bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    length = next(
                        (int(h[15:]) for h in head.lower().split("\r\n") if h.startswith("content-length:")), 0
                    )
                    self.requests.append((head, await reader.readexactly(length)))
                    await self._script(reader, writer)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(script: Script) -> AsyncIterator[tuple[HttpClient, Server]]:
    served = Server(script)
    listener = await asyncio.start_server(served, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}/base/", None, headers={"user-agent": "test"})
    try:
        yield client, served
    finally:
        await client.close()
        listener.close()


def saying(*parts: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: a\r\n\r\nok"


async def get(client: HttpClient, path: str = "/", timeout: float = 5.0) -> Response:
    return await client.request("GET", path, timeout=timeout)


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with serving(saying(OK)) as (client, server):
        for _ in range(3):
            answer = await get(client)
            assert (answer.status_code, answer.content, answer.headers["x-thing"]) == (200, b"ok", "a")
    assert server.connections == 1


async def test_calls_at_the_same_time_have_connections_of_their_own() -> None:
    async with serving(saying(OK)) as (client, server):
        await asyncio.gather(*(get(client) for _ in range(5)))
        assert server.connections == 5
        await asyncio.gather(*(get(client) for _ in range(5)))
    assert server.connections == 5


async def test_what_is_sent() -> None:
    async with serving(saying(OK)) as (client, server):
        await client.request(
            "POST", "/a b/ü:x", params={"q": "x=1,y in (a b)"}, headers={"h": "v"}, content=b"{}", timeout=5
        )
        await client.request("PUT", "/empty", timeout=5)
    head, body = server.requests[0]
    assert head.startswith("POST /base/a%20b/%C3%BC:x?q=x%3D1%2Cy+in+%28a+b%29 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert "user-agent: test\r\nh: v\r\ncontent-length: 2\r\n\r\n" in head
    assert body == b"{}"
    assert "content-length: 0\r\n" in server.requests[1][0]


async def test_chunked_answers_and_early_hints_are_understood() -> None:
    parts = (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"2\r\nde\r\n0\r\n\r\n",
    )
    async with serving(saying(*parts)) as (client, server):
        for _ in range(2):
            answer = await get(client)
            assert (answer.status_code, answer.content) == (201, b"abcde")
            assert "link" not in answer.headers
    assert server.connections == 1


async def test_an_answer_without_length_ends_with_its_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        writer.close()

    async with serving(script) as (client, _):
        assert (await get(client)).content == b"all of it"


async def test_a_connection_that_breaks_in_the_middle_is_told() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-1])
        writer.close()

    async with serving(script) as (client, _):
        with pytest.raises(ConnectionBroken):
            await get(client)


async def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    async with serving(script) as (client, server):
        for _ in range(3):
            await get(client)
            async with asyncio.timeout(5):
                while client._open:
                    await asyncio.sleep(0.001)
    assert server.connections == 3


async def test_what_is_no_http_is_a_broken_connection() -> None:
    async with serving(saying(b"SSH-2.0-OpenSSH\r\n")) as (client, _):
        with pytest.raises(ConnectionBroken, match="no HTTP"):
            await get(client)


async def test_silence_ends_a_call_but_a_slow_answer_does_not() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.05)
            writer.write(b"x")

    async with serving(silent) as (client, _):
        with pytest.raises(ReadTimeout):
            await get(client, timeout=0.05)
    async with serving(slow) as (client, _):
        assert (await get(client, timeout=0.25)).content == b"x" * 8


async def test_a_call_that_is_cancelled_gives_its_connection_up() -> None:
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read(1)

    async with serving(script) as (client, server):
        call = asyncio.ensure_future(get(client))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not client._idle
    assert server.connections == 1


async def test_nobody_listens() -> None:
    client = HttpClient("http://127.0.0.1:1", None)
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
        await get(client)
    await client.close()


async def test_a_header_cannot_smuggle_another() -> None:
    async with serving(saying(OK)) as (client, server):
        with pytest.raises(ValueError, match="one line"):
            await client.request("GET", "/", headers={"authorization": "Bearer x\r\nx: y"}, timeout=5)
    assert server.requests == []


async def test_a_stream_gives_its_head_and_then_its_pieces_as_they_come() -> None:
    more = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serving(script) as (client, server):
        parts = client.stream("/", timeout=5, read_timeout=None)
        head = await anext(parts)
        assert isinstance(head, Response)
        assert head.status_code == 200
        assert await anext(parts) == b"one"
        more.set()
        assert [part async for part in parts] == [b"two"]
    assert server.connections == 1


async def test_a_silent_stream_ends_when_a_limit_is_set() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(10)

    async with serving(script) as (client, _):
        with pytest.raises(ReadTimeout):
            async for _ in client.stream("/", timeout=5, read_timeout=0.05):
                pass


async def test_a_stream_that_breaks_is_told() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        writer.close()

    async with serving(script) as (client, _):
        parts = client.stream("/", timeout=5, read_timeout=None)
        await anext(parts)
        assert await anext(parts) == b"one"
        with pytest.raises(TransportError):
            await anext(parts)


async def test_a_slow_reader_makes_the_server_wait() -> None:
    sent = 0
    block = b"x" * 65536

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * 1024))
        for _ in range(1024):
            writer.write(block)
            await writer.drain()
            sent += 1

    async with serving(script) as (client, _):
        parts = client.stream("/", timeout=5, read_timeout=5)
        await anext(parts)
        before = -1
        async with asyncio.timeout(10):
            while sent != before:  # until the server is stuck
                before = sent
                await asyncio.sleep(0.05)
        assert sent < 1024
        received = 0
        async for part in parts:
            received += len(part)
        assert received == len(block) * 1024


async def test_an_abandoned_stream_closes_its_connection() -> None:
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await reader.read(1)
        closed.set()

    async with serving(script) as (client, _):
        async with contextlib.aclosing(client.stream("/", timeout=5, read_timeout=None)) as parts:
            await anext(parts)
        async with asyncio.timeout(5):
            await closed.wait()


def test_a_url_must_name_a_server() -> None:
    for url in ("", "127.0.0.1:6443", "ftp://x"):
        with pytest.raises(ValueError, match="no URL of a server"):
            HttpClient(url, None)
