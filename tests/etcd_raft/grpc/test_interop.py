"""Both ends against gRPC's own implementation: its client against our server, our client against its server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from etcd_raft.grpc.client import Channel
from etcd_raft.grpc.server import Server
from etcd_raft.grpc.status import Code, RpcError
from tests.etcd_raft.grpc.raw import Methods
from tests.etcd_raft.processes import free_ports
from tests.etcd_raft.test_tls import Authority

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
async def ours() -> AsyncIterator[tuple[Methods, str]]:
    """Our server on a port."""
    methods = Methods()
    server = Server(methods.table(), max_message=20 << 20)
    port = await server.listen("127.0.0.1", 0)
    yield methods, f"127.0.0.1:{port}"
    await server.stop(0)
    assert not server.connections or all(c.closed for c in server.connections)
    assert server.held == 0


class _Theirs:
    """The same methods behind grpc.aio."""

    def __init__(self) -> None:
        self.methods = Methods()

    def handlers(self) -> dict[str, Any]:
        async def echo(request: bytes, context: Any) -> bytes:
            return request

        async def wait(request: bytes, context: Any) -> bytes:
            return await self.methods.wait(request, None)  # type: ignore[arg-type]

        async def fail(request: bytes, context: Any) -> bytes:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, request.decode())
            raise AssertionError

        async def times(request: bytes, context: Any) -> bytes:
            return b"x" * int(request)

        async def chat(requests: Any, context: Any) -> AsyncIterator[bytes]:
            async for request in requests:
                yield request

        async def count(request: bytes, context: Any) -> AsyncIterator[bytes]:
            n, size = map(int, request.split())
            for number in range(n):
                yield b"%d" % (number % 10) * size

        unary = {"Echo": echo, "Wait": wait, "Fail": fail, "Times": times}
        return {
            **{name: grpc.unary_unary_rpc_method_handler(run) for name, run in unary.items()},
            "Chat": grpc.stream_stream_rpc_method_handler(chat),
            "Count": grpc.unary_stream_rpc_method_handler(count),
        }


@pytest.fixture
async def theirs() -> AsyncIterator[tuple[_Theirs, str]]:
    """grpc.aio's server on a port."""
    own = _Theirs()
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", own.handlers()),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield own, f"127.0.0.1:{port}"
    await server.stop(0)


# ---- its client, our server


async def test_grpcs_client_calls_our_server(ours: tuple[Methods, str]) -> None:
    _, address = ours
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        assert await echo(b"hello", timeout=10) == b"hello"
        assert await echo(b"") == b""
        messages = [b"%d" % n * (n % 700) for n in range(300)]
        assert await asyncio.gather(*(echo(m) for m in messages)) == messages
        large = bytes(range(256)) * (60_000)
        assert await echo(large) == large
        assert await channel.unary_unary("/t.T/Who")(b"", metadata=(("token", "secret"),)) == b" secret"


async def test_grpcs_client_sees_our_refusals(ours: tuple[Methods, str]) -> None:
    methods, address = ours
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        cases = [
            ("/t.T/Fail", "100% schön\n", grpc.StatusCode.OUT_OF_RANGE, "100% schön\n"),
            ("/t.T/Break", "", grpc.StatusCode.UNKNOWN, "a bug"),
            ("/t.T/None", "", grpc.StatusCode.UNIMPLEMENTED, "unknown method None for service t.T"),
        ]
        for path, request, code, text in cases:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await channel.unary_unary(path)(request.encode())
            assert (refusal.value.code(), refusal.value.details()) == (code, text)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await channel.unary_unary("/t.T/Echo")(bytes(21 << 20))
        assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await channel.unary_unary("/t.T/Wait")(b"", timeout=0.05)
        assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        call = channel.unary_unary("/t.T/Wait")(b"")
        while methods.running < 2:
            await asyncio.sleep(0)
        call.cancel()
        async with asyncio.timeout(10):
            while methods.cancelled < 2:
                await asyncio.sleep(0)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
async def test_grpcs_client_packs_its_requests(ours: tuple[Methods, str], compression: grpc.Compression) -> None:
    _, address = ours
    async with grpc.aio.insecure_channel(address, compression=compression) as channel:
        assert await channel.unary_unary("/t.T/Echo")(b"y" * 100_000) == b"y" * 100_000


async def test_grpcs_client_streams_with_our_server(ours: tuple[Methods, str]) -> None:
    _, address = ours
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        chat = channel.stream_stream("/t.T/Chat")()
        for size in (0, 1, 100, 70_000, 2_000_000):
            await chat.write(b"m" * size)
            assert await chat.read() == b"m" * size
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
        assert await chat.code() == grpc.StatusCode.OK
        # 64 MiB each way, as the file of a large store.
        received = 0
        async for part in channel.unary_stream("/t.T/Count")(b"2048 32768"):
            received += len(part)
        assert received == 64 << 20

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield bytes(1 << 20)

        assert await channel.stream_unary("/t.T/Sum")(parts()) == b"%d" % (64 << 20)


async def test_certificates_are_shown_and_checked(tmp_path: Path) -> None:
    authority, foreign = Authority(tmp_path, "ca"), Authority(tmp_path, "foreign")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server(Methods().table())
    port = await server.listen("127.0.0.1", 0, context)
    cert, key = authority.issue("somebody")

    def credentials(cert: str, key: str) -> Any:
        return grpc.ssl_channel_credentials(
            authority.ca.read_bytes(), Path(key).read_bytes(), Path(cert).read_bytes()
        )  # fmt: skip

    def client_context() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(authority.ca))
        made.load_cert_chain(cert, key)
        return made

    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials(cert, key), OPTIONS) as channel:
            assert await channel.unary_unary("/t.T/Who")(b"") == b"somebody None"
            large = bytes(5 << 20)
            assert (await channel.unary_unary("/t.T/Times")(b"%d" % len(large)))[:4] == b"xxxx"
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials(*foreign.issue("x"))) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await channel.unary_unary("/t.T/Who")(b"")
            assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
        mine = Channel(f"127.0.0.1:{port}", client_context)
        assert await mine.unary("/t.T/Who", b"", 10) == b"somebody None"
        assert len(await mine.unary("/t.T/Times", b"3000000", 10)) == 3_000_000
        await mine.close()
    finally:
        await server.stop(0)


# ---- our client, its server and ours


@pytest.fixture(params=["ours", "theirs"])
async def channel(
    request: pytest.FixtureRequest, ours: tuple[Methods, str], theirs: tuple[_Theirs, str]
) -> AsyncIterator[tuple[Methods, Channel]]:
    """Our client with either server."""
    methods, address = ours if request.param == "ours" else (theirs[0].methods, theirs[1])
    made = Channel(address)
    yield methods, made
    await made.close()


async def test_our_client_calls(channel: tuple[Methods, Channel]) -> None:
    _, client = channel
    messages = [b"%d" % n * (n % 700) for n in range(300)]
    assert await asyncio.gather(*(client.unary("/t.T/Echo", m, 10) for m in messages)) == messages
    large = bytes(range(256)) * 60_000
    assert await client.unary("/t.T/Echo", large, 10) == large
    # Longer than the window of a stream.
    assert len(await client.unary("/t.T/Times", b"40000000", 20)) == 40_000_000


async def test_our_client_sees_refusals(channel: tuple[Methods, Channel]) -> None:
    methods, client = channel
    with pytest.raises(RpcError) as refusal:
        await client.unary("/t.T/Fail", "100% schön\n".encode(), 10)
    assert (refusal.value.code, refusal.value.text, refusal.value.unsent) == (Code.OUT_OF_RANGE, "100% schön\n", False)
    with pytest.raises(RpcError) as refusal:
        await client.unary("/t.T/None", b"", 10)
    assert refusal.value.code == Code.UNIMPLEMENTED
    with pytest.raises(RpcError) as refusal:
        await client.unary("/t.T/Wait", b"", 0.05)
    assert refusal.value.code == Code.DEADLINE_EXCEEDED
    task = asyncio.create_task(client.unary("/t.T/Wait", b"", 10))
    async with asyncio.timeout(10):
        while methods.running < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        while methods.cancelled < 2:
            await asyncio.sleep(0.001)


async def test_our_client_streams(channel: tuple[Methods, Channel]) -> None:
    _, client = channel
    chat = await client.stream("/t.T/Chat")
    for size in (0, 1, 100, 70_000, 2_000_000):
        await chat.send(b"m" * size)
        assert await chat.receive() == b"m" * size
    chat.half_close()
    assert await chat.receive() is None
    count = await client.stream("/t.T/Count")
    await count.send(b"2048 32768")
    count.half_close()
    received = 0
    while (part := await count.receive()) is not None:
        received += len(part)
    assert received == 64 << 20
    left = await client.stream("/t.T/Chat")
    await left.send(b"x")
    left.cancel()
    with pytest.raises(RpcError) as refusal:
        await left.receive()
    assert refusal.value.code == Code.CANCELLED


async def test_a_reader_that_does_not_read_holds_the_sender_back(ours: tuple[Methods, str]) -> None:
    _, address = ours
    client = Channel(address)
    count = await client.stream("/t.T/Count")
    await count.send(b"100000 32768")
    first = await count.receive()
    assert first == b"0" * 32768
    assert await client.unary("/t.T/Echo", b"in between", 10) == b"in between"
    for _ in range(200):
        await asyncio.sleep(0)
    assert sum(map(len, count._inbox)) <= 17 << 20, "3 GiB were asked for"
    count.cancel()
    await client.close()


# ---- a server that goes


async def test_nobody_there_is_surely_unsent_and_found_when_it_comes() -> None:
    (port,) = free_ports(1)
    client = Channel(f"127.0.0.1:{port}")
    with pytest.raises(RpcError) as refusal:
        await client.unary("/t.T/Echo", b"", 5)
    assert (refusal.value.code, refusal.value.unsent) == (Code.UNAVAILABLE, True)
    server = Server(Methods().table())
    await server.listen("127.0.0.1", port)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await client.unary("/t.T/Echo", b"there", 5) == b"there"
                break
            except RpcError:  # it waits a moment between two attempts
                await asyncio.sleep(0.01)
    await client.close()
    await server.stop(0)


async def test_a_lost_connection_fails_its_calls_as_perhaps_seen() -> None:
    methods = Methods()
    server = Server(methods.table())
    port = await server.listen("127.0.0.1", 0)
    client = Channel(f"127.0.0.1:{port}")
    call = asyncio.create_task(client.unary("/t.T/Wait", b"", 10))
    stream = await client.stream("/t.T/Chat")
    async with asyncio.timeout(10):
        while not methods.running:
            await asyncio.sleep(0.001)
    for connection in list(server.connections):
        connection._transport.abort()
    with pytest.raises(RpcError) as refusal:
        await call
    assert (refusal.value.code, refusal.value.unsent) == (Code.UNAVAILABLE, False)
    with pytest.raises(RpcError):
        await stream.receive()
    assert await client.unary("/t.T/Echo", b"again", 10) == b"again"
    await client.close()
    await server.stop(0)


async def test_a_server_that_stops_lets_calls_end_and_the_client_goes_elsewhere() -> None:
    methods = Methods()
    first, second = Server(methods.table()), Server(methods.table())
    port = await first.listen("127.0.0.1", 0)
    client = Channel(f"127.0.0.1:{port}")
    call = asyncio.create_task(client.unary("/t.T/Wait", b"last words", 10))
    async with asyncio.timeout(10):
        while not methods.running:
            await asyncio.sleep(0.001)
    stopping = asyncio.create_task(first.stop(5))
    await asyncio.sleep(0)
    await second.listen("127.0.0.1", port)
    assert await client.unary("/t.T/Echo", b"elsewhere", 10) == b"elsewhere"
    methods.go.set()
    assert await call == b"last words"
    await stopping
    await client.close()
    await second.stop(0)


async def test_a_silent_server_is_noticed_and_a_slow_one_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcd_raft.grpc.server._PING_SECONDS", 0.0)
    methods = Methods()
    server = Server(methods.table())
    port = await server.listen("127.0.0.1", 0)
    listening = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on until told to go deaf."""
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                await listening.wait()
                sink.write(data)

        try:
            await asyncio.gather(pump(reader, ours), pump(theirs, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            ours.close()
            writer.close()

    listening.set()
    between = await asyncio.start_server(relay, "127.0.0.1", 0)
    client = Channel(
        f"127.0.0.1:{between.sockets[0].getsockname()[1]}", keepalive=0.05, keepalive_timeout=0.3
    )  # fmt: skip
    call = asyncio.create_task(client.unary("/t.T/Wait", b"slow", 20))
    # It answers pings and nothing else for longer than it may be silent.
    await asyncio.wait([call], timeout=0.8)
    assert not call.done()
    listening.clear()
    with pytest.raises(RpcError) as refusal:
        await asyncio.wait_for(call, 10)
    assert "keepalive" in refusal.value.text
    listening.set()
    await client.close()
    between.close()
    await server.stop(0)


async def test_calls_wait_for_a_free_stream_when_the_server_allows_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcd_raft.grpc.server._MAX_STREAMS", 3)
    methods = Methods()
    server = Server(methods.table())
    port = await server.listen("127.0.0.1", 0)
    client = Channel(f"127.0.0.1:{port}")
    messages = [b"%d" % n for n in range(50)]
    assert await asyncio.gather(*(client.unary("/t.T/Echo", m, 10) for m in messages)) == messages
    await client.close()
    await server.stop(0)
