"""What is no HTTP, no TLS, no WebSocket, or takes for ever: the connection ends and nothing else does."""

import asyncio
import random
import ssl

from tests.apiserver.conftest import Api
from tests.apiserver.fuzz.wire import Connection, Vitals, request
from tests.apiserver.harness import TOKEN, ApiServer, eventually

SEED, DAMAGED, AT_ONCE = 20260103, 500, 16
#: Long enough for an answer to what is a whole request after all.
LISTEN_SECONDS = 0.05
_PODS = b"/api/v1/namespaces/default/pods"
_AUTHORIZATION = b"Authorization: Bearer " + TOKEN.encode()
_START = (
    request(b"GET", _PODS + b"?limit=1"),
    request(b"POST", _PODS, b'{"metadata":{"name":"a"}}', (b"Content-Type", b"application/json")),
    request(b"GET", _PODS + b"/x/exec?command=sh&stdin=1", b"", (b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")),
    request(
        b"GET", _PODS + b"/x/portforward", b"", (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", b"AQIDBAUGBwgJCgsMDQ4PEC=="),
        (b"Sec-WebSocket-Protocol", b"v5.channel.k8s.io"),
    ),
    b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n" % (_PODS, _AUTHORIZATION),
)  # fmt: skip
_LINES = (
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 18446744073709551616",
    b"Content-Length: " + b"9" * 5000, b"Content-Length: 0x5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked", b": x", b"\x00: x", b"a b: c",
    b" folded", b"Host: y", b"Host:", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: x", b"x:" + b"y" * 70_000,
    b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Protocol: " + b"," * 999,
    b"X-Stream-Protocol-Version: \xff", b"Connection: close, \x00", b"\xff\xff",
)  # fmt: skip
_CHUNKS = (
    b"zz\r\n",
    b"-1\r\n",
    b"FFFFFFFFFFFFFFFFF\r\nx",
    b"5;" + b"x" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0\r\nTrailer: " + b"x" * 70_000,
)


def damaged(r: random.Random) -> bytes:
    """One of the requests, with a line too many, bytes that differ, an end too early, or another request behind it."""
    raw = r.choice(_START)
    for _ in range(r.randrange(1, 4)):
        kind = r.random()
        at = r.randrange(len(raw))
        if kind < 0.4:
            head, _, rest = raw.partition(b"\r\n")
            raw = head + b"\r\n" + r.choice(_LINES) + b"\r\n" + rest
        elif kind < 0.7:
            raw = raw[:at] + r.randbytes(r.randrange(1, 9)) + raw[at + r.randrange(5) :]
        elif kind < 0.8:
            raw = raw[: at + 1]
        elif kind < 0.9:
            raw += r.choice(_START) * r.randrange(1, 20)
        else:
            raw = raw.partition(b"\r\n\r\n")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + r.choice(_CHUNKS)
    return raw


async def _alive(api: Api) -> None:
    response = await api.http.get("/readyz")
    assert response.status_code == 200


async def _connections_closed(server: ApiServer, before: Vitals) -> None:
    """Our own ends are closed by the loop, which must not be kept waiting for that."""
    await asyncio.to_thread(
        eventually, "the server closed the connections", lambda: Vitals.of(server).files <= before.files + 5
    )


async def _say(server: ApiServer, raw: bytes) -> bytes:
    """What comes back within a moment."""
    connection = Connection(server)
    reader, writer = await connection.streams()
    heard = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(LISTEN_SECONDS):
            while data := await reader.read(65536):
                heard += data
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass  # nothing more to be heard, or hung up on
    finally:
        await connection.close()
    return heard


async def test_damaged_requests_get_a_client_error_or_nothing(api: Api, server: ApiServer) -> None:
    r = random.Random(SEED)
    left = iter([damaged(r) for _ in range(DAMAGED)])
    answered = 0

    async def client() -> None:
        nonlocal answered
        for raw in left:
            heard = await _say(server, raw)
            answered += heard.startswith(b"HTTP/1.1 ")
            for status in (b"500", b"502"):
                assert b"HTTP/1.1 %b " % status not in heard, f"seed {SEED}: {raw[:3000]!r}\n{heard[:2000]!r}"

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())
    assert answered > DAMAGED / 4
    await _alive(api)


async def test_what_is_no_tls_closes_the_connection(api: Api, server: ApiServer) -> None:
    r = random.Random(SEED)
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    greeter = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    try:
        greeter.do_handshake()
    except ssl.SSLWantReadError:
        hello = outgoing.read()
    for i in range(120):
        at = r.randrange(1, len(hello))
        raw = r.choice(
            [
                r.randbytes(r.randrange(1, 2000)),
                hello[:at] + r.randbytes(4) + hello[at + 4 :],
                hello + r.randbytes(500),
                b"\x16\x03\x01\xff\xff" + r.randbytes(100),
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                hello[:at],
            ]
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(raw)
        if i % 2:
            writer.write_eof()
            async with asyncio.timeout(5):
                try:
                    while await reader.read(65536):
                        pass
                except ConnectionError:
                    pass
        writer.transport.abort()
    await _alive(api)


async def test_garbage_after_an_upgrade_ends_the_session_only(api: Api, server: ApiServer) -> None:
    """There is no such pod, so the answer is 404; what was sent for the session must not become the next request."""
    r = random.Random(SEED)
    for upgrade in _START[2:4] * 10:
        heard = await _say(
            server,
            upgrade + r.choice([r.randbytes(300), b"\x80\x03\x00\x01\x01\xff\xff\xff", b"\x88\x80\0\0\0\0", _START[0]]),
        )
        assert heard.count(b"HTTP/1.1 ") <= 1, heard
        assert not heard or heard.startswith(b"HTTP/1.1 404 "), heard
    await _alive(api)


async def test_clients_that_take_for_ever_do_not_keep_others_waiting(api: Api, server: ApiServer) -> None:
    """Connections without a handshake, in the middle of a head, of a body, with an answer that nobody reads."""
    before = Vitals.of(server)
    silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
    slow = [Connection(server) for _ in range(60)]
    try:
        for i, connection in enumerate(slow):
            _, writer = await connection.streams()
            whole = _START[i % 2]
            writer.write([whole[:20], whole[:-2], _START[0] * 50][i % 3])
        async with asyncio.timeout(10):
            for _ in range(20):
                await _alive(api)
            await api.get("/api/v1/namespaces/default/configmaps")
        assert Vitals.of(server).files >= before.files + 100, "they are still connected"
    finally:
        for _, writer in silent:
            writer.transport.abort()
        for connection in slow:
            await connection.close()
    await _connections_closed(server, before)


async def test_clients_that_half_close_get_their_answers_or_are_let_go(api: Api, server: ApiServer) -> None:
    before = Vitals.of(server)
    for _ in range(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write_eof()  # before a word of TLS
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
    for raw in (*_START, _START[0][:30], b""):
        connection = Connection(server)
        _, writer = await connection.streams()
        writer.write(raw)
        writer.close()  # TLS says goodbye, and reads no more
    await _connections_closed(server, before)
    await _alive(api)
