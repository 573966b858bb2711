"""The server, frame by frame: what it answers, what it refuses and how, and what a hostile peer can make it keep."""

import asyncio
import gzip
from collections.abc import Callable

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_raft.grpc import connection, frames, server
from etcd_raft.grpc.frames import ErrorCode
from etcd_raft.grpc.status import Code
from tests.etcd_raft.grpc.raw import Caller, Methods, Wire, data, prefixed, request_headers, serve


async def greeted(**options: object) -> tuple[Wire, Caller, Methods]:
    methods, caller = Methods(), Caller()
    _, wire = serve(methods, **options)
    wire.feed(caller.hello())
    await wire.turns()
    wire.frames.clear()
    return wire, caller, methods


# ---- calls


async def test_a_call_is_answered_with_one_message_and_a_status() -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.call(1, b"hello"))
    assert await wire.answer(1) == (0, "", [b"hello"])
    wire.feed(caller.call(3, b""), caller.call(5, b"again"))
    await wire.answer(5)


async def test_the_first_words_are_settings_without_a_header_table() -> None:
    methods, caller = Methods(), Caller()
    _, wire = serve(methods)
    assert not wire.sent, "a server speaks when it has been spoken to in HTTP/2"
    wire.feed(caller.hello({frames.INITIAL_WINDOW_SIZE: 100}))
    first, *_, last = await wire.turns()
    assert first[0] == frames.SETTINGS
    assert dict(frames.parse_settings(first[3]))[frames.HEADER_TABLE_SIZE] == 0
    assert last == (frames.SETTINGS, frames.ACK, 0, b"")


@pytest.mark.parametrize("table", [True, False])
async def test_calls_are_the_same_wherever_the_bytes_are_cut(table: bool) -> None:
    def conversation() -> bytes:
        caller = Caller()
        if table:  # headers in a dynamic table, as before our settings have been seen
            caller.encoder = hpack.Encoder()
            hello = frames.PREFACE + frames.settings({})
        else:
            hello = caller.hello()
        calls = [caller.call(id, b"message %d" % id, "/t.T/Echo", ("n", str(id % 4))) for id in (1, 3, 5)]
        return hello + b"".join(calls)

    whole = conversation()
    for cut in range(1, len(whole)):
        _, wire = serve(Methods())
        wire.feed(whole[:cut], whole[cut:])
        await wire.until("all answers", lambda found: sum(1 for f in found if f[0] == frames.DATA) == 3)
        found = [f[3][5:] for f in wire.frames if f[0] == frames.DATA]
        assert found == [b"message 1", b"message 3", b"message 5"], f"cut at {cut}"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.integers(0, 20),
)
def test_a_stream_of_messages_comes_back_whatever_the_frames(
    messages: list[bytes], frame_sizes: list[int], cuts: list[int], padding: int
) -> None:
    async def run() -> None:
        wire, caller, _ = await greeted()
        body = b"".join(map(prefixed, messages))
        raw, turn = caller.head(1, "/t.T/Chat"), 0
        while body:
            size = frame_sizes[turn % len(frame_sizes)]
            payload = bytes((padding,)) + body[:size] + bytes(padding)
            raw += frames.frame(frames.DATA, frames.PADDED, 1, payload)
            body, turn = body[size:], turn + 1
        raw += data(1, b"", end=True)
        turn = 0
        while raw:
            size = cuts[turn % len(cuts)]
            wire.feed(raw[:size])
            raw, turn = raw[size:], turn + 1
        assert await wire.answer(1) == (0, "", messages)

    asyncio.run(run())


async def test_headers_in_continuations_with_padding_and_priority() -> None:
    wire, caller, _ = await greeted()
    block = caller.encoder.encode(request_headers())
    first = b"\4" + bytes(5) + block[:7] + bytes(4)
    wire.feed(
        frames.frame(frames.HEADERS, frames.PADDED | frames.HAS_PRIORITY, 1, first),
        frames.frame(frames.CONTINUATION, 0, 1, block[7:20]),
        frames.frame(frames.CONTINUATION, 0, 1, b""),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[20:]),
        frames.frame(frames.PRIORITY, 0, 1, bytes(5)),
        data(1, prefixed(b"x"), end=True),
    )
    assert await wire.answer(1) == (0, "", [b"x"])


async def test_a_client_may_end_with_trailers() -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.head(1, "/t.T/Chat"), data(1, prefixed(b"x")))
    trailers = caller.encoder.encode([("a", "b")])
    wire.feed(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, trailers))
    assert await wire.answer(1) == (0, "", [b"x"])


async def test_refusals_carry_their_code_and_their_text_escaped() -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.call(1, "100% ü\n".encode(), "/t.T/Fail"))
    assert await wire.answer(1) == (Code.OUT_OF_RANGE, "100%25 %C3%BC%0A", [])
    wire.feed(caller.call(3, b"", "/t.T/Break"))
    assert await wire.answer(3) == (Code.UNKNOWN, "a bug", [])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/t.T/Nothing", "unknown method Nothing for service t.T"),
        ("/no.Service/Method", "unknown service no.Service"),
        ("/method", 'malformed method name: "/method"'),
    ],
)
async def test_what_is_not_there_is_unimplemented(path: str, text: str) -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.call(1, b"x", path))
    status, found, _ = await wire.answer(1)
    assert (status, found) == (Code.UNIMPLEMENTED, text)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({":method": "GET"}, "405"),
        ({"content-type": "text/html"}, "415"),
        ({"content-type": "application/grpcx"}, "415"),
    ],
)  # fmt: skip
async def test_what_is_not_grpc_gets_an_http_status(change: dict[str, str], status: str) -> None:
    wire, caller, _ = await greeted()
    headers = [(name, change.get(name, value)) for name, value in request_headers()]
    block = caller.encoder.encode(headers)
    wire.feed(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, block))
    (_, _, _, payload), *_ = await wire.turns()
    assert hpack.Decoder().decode(payload) == [(":status", status)]


async def test_requests_may_be_packed_with_gzip() -> None:
    wire, caller, _ = await greeted()
    packed = gzip.compress(b"y" * 1000)
    message = b"\1" + len(packed).to_bytes(4, "big") + packed
    wire.feed(caller.head(1, "/t.T/Echo", ("grpc-encoding", "gzip")), data(1, message, end=True))
    assert await wire.answer(1) == (0, "", [b"y" * 1000])
    wire.feed(caller.head(3, "/t.T/Echo", ("grpc-encoding", "snappy")), data(3, message, end=True))
    status, text, _ = await wire.answer(3)
    assert (status, text) == (
        Code.UNIMPLEMENTED,
        'grpc: Decompressor is not installed for grpc-encoding "snappy"',
    )


async def test_a_message_that_is_too_large_is_refused_before_it_has_come() -> None:
    wire, caller, methods = await greeted(max_message=1000)
    wire.feed(caller.head(1), data(1, b"\0\0\0\x03\xe9" + bytes(500)))
    status, text, _ = await wire.answer(1)
    assert (status, text) == (Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (1001 vs. 1000)")
    wire.feed(data(1, bytes(501), end=True), caller.call(3))
    assert (await wire.answer(3))[0] == 0, "the rest of it is ignored, and the connection goes on"
    assert wire.connection.server.held == 0
    assert methods.running == 0


async def test_a_request_that_ends_in_the_middle_of_its_message_is_refused() -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.head(1), data(1, prefixed(b"hello")[:-1], end=True))
    assert (await wire.answer(1))[0] == Code.INTERNAL
    wire.feed(caller.head(3, flags=frames.END_HEADERS | frames.END_STREAM))
    assert (await wire.answer(3))[0] == Code.INTERNAL


# ---- the end of calls


async def test_a_call_that_takes_too_long_is_ended_and_its_work_cancelled() -> None:
    wire, caller, methods = await greeted()
    wire.feed(caller.call(1, b"x", "/t.T/Wait", ("grpc-timeout", "20m")))
    assert (await wire.answer(1))[:2] == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
    await wire.turns()
    assert methods.cancelled == 1
    wire.feed(caller.call(3, b"x", "/t.T/Echo", ("grpc-timeout", "soon")))
    assert (await wire.answer(3))[0] == Code.INTERNAL


async def test_a_reset_cancels_the_work() -> None:
    wire, caller, methods = await greeted()
    wire.feed(caller.call(1, b"x", "/t.T/Wait"))
    await wire.turns()
    assert methods.running == 1
    wire.feed(frames.rst_stream(1, ErrorCode.CANCEL))
    await wire.turns()
    assert methods.cancelled == 1
    assert not wire.collect()
    assert not wire.connection.streams


async def test_a_lost_connection_cancels_the_work() -> None:
    wire, caller, methods = await greeted()
    wire.feed(caller.call(1, b"x", "/t.T/Wait"), caller.head(3, "/t.T/Chat"), data(3, b"\0\0"))
    await wire.turns()
    wire.connection.connection_lost(None)
    await wire.turns()
    assert methods.cancelled == 1
    assert not wire.connection.server.tasks
    assert wire.connection.server.held == 0


async def test_stopping_lets_calls_end_and_takes_no_more() -> None:
    wire, caller, methods = await greeted()
    wire.feed(caller.call(1, b"last", "/t.T/Wait"))
    await wire.turns()
    stopping = asyncio.create_task(wire.connection.server.stop(5.0))
    await wire.turns()
    assert wire.goaway() == (ErrorCode.NO_ERROR, "server stopped")
    wire.feed(caller.call(3))
    methods.go.set()
    assert await wire.answer(1) == (0, "", [b"last"])
    await stopping
    assert wire.closed
    assert not [f for f in wire.collect() if f[2] == 3]


async def test_stopping_does_not_wait_for_ever() -> None:
    wire, caller, methods = await greeted()
    wire.feed(caller.call(1, b"last", "/t.T/Wait"))
    await wire.turns()
    await wire.connection.server.stop(0.01)
    assert (await wire.answer(1))[0] == Code.UNAVAILABLE
    assert methods.cancelled == 1


# ---- windows


async def test_answers_go_byte_by_byte_when_the_window_is_one_byte() -> None:
    methods, caller = Methods(), Caller()
    _, wire = serve(methods)
    wire.feed(caller.hello({frames.INITIAL_WINDOW_SIZE: 1}), caller.call(1, b"hello"))
    await wire.turns()
    for _ in range(9):
        wire.feed(frames.window_update(1, 1))
        await wire.turns()
    assert [len(f[3]) for f in wire.frames if f[0] == frames.DATA] == [1] * 10
    assert await wire.answer(1) == (0, "", [b"hello"])


async def test_a_window_of_zero_that_opens_by_settings_lets_everything_go() -> None:
    methods, caller = Methods(), Caller()
    _, wire = serve(methods)
    wire.feed(caller.hello({frames.INITIAL_WINDOW_SIZE: 0}), caller.call(1, b"a" * 100), caller.call(3, b"b" * 100))
    await wire.turns()
    assert not [f for f in wire.collect() if f[0] == frames.DATA]
    wire.feed(frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}))
    await wire.until("both ends", lambda found: sum(1 for f in found if f[1] & 1 and f[0] == frames.HEADERS) == 2)


async def test_the_window_of_the_connection_is_shared_in_turn() -> None:
    methods, caller = Methods(), Caller()
    _, wire = serve(methods)
    wire.feed(caller.hello({frames.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW}))
    for id in (1, 3):
        wire.feed(caller.call(id, b"200000", "/t.T/Times"))
    await wire.turns()
    sent = sum(len(f[3]) for f in wire.collect() if f[0] == frames.DATA)
    assert sent == frames.DEFAULT_WINDOW
    while not all(any(f[2] == id and f[0] == frames.HEADERS and f[1] & 1 for f in wire.collect()) for id in (1, 3)):
        wire.feed(frames.window_update(0, 50_000))
        await wire.turns()
    assert max(len(f[3]) for f in wire.frames if f[0] == frames.DATA) == frames.DEFAULT_FRAME
    assert sum(len(f[3]) for f in wire.frames if f[0] == frames.DATA) == 2 * 200_005


async def test_a_window_may_become_negative() -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.call(1, b"100000", "/t.T/Times"))
    await wire.turns()
    wire.feed(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), frames.window_update(0, 1 << 20))
    wire.feed(frames.window_update(1, frames.DEFAULT_WINDOW))
    await wire.turns()
    assert sum(len(f[3]) for f in wire.collect() if f[0] == frames.DATA) == frames.DEFAULT_WINDOW
    wire.feed(frames.window_update(1, 100_000))
    assert (await wire.answer(1))[2] == [b"x" * 100_000]


async def test_a_stream_is_given_back_what_its_method_has_taken() -> None:
    wire, caller, _ = await greeted()
    window = wire.connection.stream_window
    wire.feed(caller.head(1, "/t.T/Sum"))
    sent = 0
    while sent < 3 * window:
        wire.feed(data(1, prefixed(bytes(16_000))))
        sent += 16_005
        await wire.turns(3)
    wire.feed(data(1, b"", end=True))
    updates = [int.from_bytes(f[3], "big") for f in wire.collect() if f[0] == frames.WINDOW_UPDATE and f[2] == 1]
    assert sum(updates) >= 2 * window
    assert (await wire.answer(1))[2] == [b"%d" % (sent // 16_005 * 16_000)]


async def test_more_than_the_window_allows_is_a_flow_control_error() -> None:
    wire, caller, methods = await greeted(max_message=1 << 30)
    wire.connection.stream_window = 20_000
    wire.feed(caller.head(1, "/t.T/Chat"), data(1, b"\0\0\x10\0\0" + bytes(14_000)))
    await wire.turns()
    assert wire.resets() == []
    wire.feed(data(1, bytes(6_000)))
    await wire.turns()
    assert wire.resets() == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    assert methods.running == 0


# ---- what RFC 9113 forbids

PING = frames.frame(frames.PING, 0, 0, bytes(8))
BAD_CONNECTIONS: dict[str, tuple[Callable[[Caller], bytes], ErrorCode]] = {
    "a frame longer than we allow": (lambda c: frames.head(16_385, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
    "DATA on stream 0": (lambda c: data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA on an idle stream": (lambda c: data(9, b"x"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on stream 0": (lambda c: c.head(0), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on an even stream": (lambda c: c.head(2), ErrorCode.PROTOCOL_ERROR),
    "a stream that goes back": (lambda c: c.call(5) + c.call(3), ErrorCode.STREAM_CLOSED),
    "HEADERS shorter than their priority": (
        lambda c: frames.frame(frames.HEADERS, frames.END_HEADERS | frames.HAS_PRIORITY, 1, b"abcd"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "HEADERS with too much padding": (
        lambda c: frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\x09abcd"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a frame inside a header block": (lambda c: c.head(1, flags=0) + PING, ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        lambda c: c.head(1, flags=0) + frames.frame(frames.CONTINUATION, 4, 3),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "CONTINUATION of nothing": (lambda c: frames.frame(frames.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR),
    "an endless header block": (
        lambda c: c.head(1, flags=0) + frames.frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 5,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "empty CONTINUATIONs without end": (
        lambda c: c.head(1, flags=0) + frames.frame(frames.CONTINUATION, 0, 1) * 100,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "a header block that is none": (
        lambda c: frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "a header list that is too large": (
        lambda c: frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x82" * 4000),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "SETTINGS on a stream": (lambda c: frames.frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of an odd length": (lambda c: frames.frame(frames.SETTINGS, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "an acknowledgement with a payload": (
        lambda c: frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "windows that overflow by SETTINGS": (
        lambda c: c.head(1) + frames.window_update(1, frames.MAX_WINDOW - 65_535)
        + frames.settings({frames.INITIAL_WINDOW_SIZE: 65_536}),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "PING of a wrong length": (lambda c: frames.frame(frames.PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "PING on a stream": (lambda c: frames.frame(frames.PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY on stream 0": (lambda c: frames.frame(frames.PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM on stream 0": (lambda c: frames.rst_stream(0, 0), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of an idle stream": (lambda c: frames.rst_stream(1, 0), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of a wrong length": (
        lambda c: c.head(1) + frames.frame(frames.RST_STREAM, 0, 1, bytes(3)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "WINDOW_UPDATE by 0": (lambda c: frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond the largest window": (
        lambda c: frames.window_update(0, frames.MAX_WINDOW),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "WINDOW_UPDATE of an idle stream": (lambda c: frames.window_update(1, 1), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of a wrong length": (
        lambda c: frames.frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "PUSH_PROMISE": (lambda c: c.head(1) + frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY on a stream": (lambda c: frames.frame(frames.GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY that is too short": (lambda c: frames.frame(frames.GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_CONNECTIONS)
async def test_the_connection_ends_with_its_reason_after(what: str) -> None:
    make, code = BAD_CONNECTIONS[what]
    wire, caller, _ = await greeted()
    wire.feed(make(caller))
    await wire.turns()
    found = wire.goaway()
    assert found is not None, "no GOAWAY"
    assert ErrorCode(found[0]) == code, found[1]
    assert wire.closed


def _headers(caller: Caller, *headers: tuple[str, str]) -> bytes:
    flags = frames.END_HEADERS | frames.END_STREAM
    return frames.frame(frames.HEADERS, flags, 1, caller.encoder.encode(headers))


BAD_STREAMS: dict[str, tuple[Callable[[Caller], bytes], ErrorCode]] = {
    "DATA after the end": (
        lambda c: c.call(1, b"x", "/t.T/Wait") + data(1, b"more"),
        ErrorCode.STREAM_CLOSED,
    ),
    "HEADERS after the end": (lambda c: c.call(1, b"x", "/t.T/Wait") + c.head(1), ErrorCode.STREAM_CLOSED),
    "a second header block that is no end": (lambda c: c.head(1) + c.head(1), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY of a wrong length": (
        lambda c: c.head(1) + frames.frame(frames.PRIORITY, 0, 1, bytes(4)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "WINDOW_UPDATE of a stream by 0": (lambda c: c.head(1) + frames.window_update(1, 0), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of a stream beyond the largest window": (
        lambda c: c.head(1) + frames.window_update(1, frames.MAX_WINDOW),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "no path": (lambda c: _headers(c, (":method", "POST"), (":scheme", "http")), ErrorCode.PROTOCOL_ERROR),
    "an unknown pseudo header": (lambda c: _headers(c, *request_headers(), (":more", "x")), ErrorCode.PROTOCOL_ERROR),
    "a pseudo header after others": (
        lambda c: _headers(c, *request_headers()[1:], (":method", "POST")),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a path twice": (lambda c: _headers(c, (":path", "/a"), *request_headers()), ErrorCode.PROTOCOL_ERROR),
    "a header of HTTP/1.1": (
        lambda c: _headers(c, *request_headers(), ("connection", "close")),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a name in capitals": (lambda c: _headers(c, *request_headers(), ("Token", "x")), ErrorCode.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("what", BAD_STREAMS)
async def test_one_stream_ends_with_its_reason_after(what: str) -> None:
    make, code = BAD_STREAMS[what]
    wire, caller, _ = await greeted()
    wire.feed(make(caller))
    await wire.turns()
    assert wire.resets() == [(1, code)]
    assert wire.goaway() is None
    wire.feed(caller.call(3))
    assert (await wire.answer(3))[0] == 0, "the connection goes on"


async def test_frames_that_nobody_knows_are_ignored() -> None:
    wire, caller, _ = await greeted()
    wire.feed(frames.frame(0x42, 0xFF, 7, b"what"), frames.settings({0x99: 7}), caller.call(1))
    assert (await wire.answer(1))[0] == 0


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_bytes_at_all_break_the_server(noise: bytes, greeting: bool) -> None:
    async def run() -> None:
        caller = Caller()
        listener, wire = serve(Methods())
        wire.feed((caller.hello() if greeting else b"") + noise)
        await wire.turns(5)
        other = Wire(server.ServerConnection(listener))
        other.feed(Caller().hello() + Caller().call(1))
        assert (await other.answer(1))[0] == 0
        wire.connection.connection_lost(None)
        await wire.turns(5)
        assert listener.held == 0

    asyncio.run(run())


kinds = st.tuples(
    st.integers(0, 9),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]),
    st.integers(0, 7),
    st.binary(max_size=12) | st.just(bytes(8)),
)


@given(st.lists(kinds, max_size=12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_frames_in_any_order_break_the_server(sent: list[frames.Frame]) -> None:
    async def run() -> None:
        caller = Caller()
        listener, wire = serve(Methods())
        wire.feed(caller.hello(), caller.head(1), caller.head(3, "/t.T/Chat"), *(frames.frame(*one) for one in sent))
        await wire.turns(5)
        wire.connection.connection_lost(None)
        await wire.turns(5)
        assert listener.held == 0
        assert not listener.tasks
        assert wire.connection.unsent == 0

    asyncio.run(run())


# ---- what is not HTTP/2


async def test_bytes_that_are_not_http2_go_to_the_other_protocol_whole() -> None:
    class Other(asyncio.Protocol):
        got = b""

        def data_received(self, data: bytes) -> None:
            Other.got += data

    methods = Methods()
    listener = server.Server(methods.table(), http1=Other)
    wire = Wire(server.ServerConnection(listener))
    switched: list[asyncio.BaseProtocol] = []
    wire.set_protocol = switched.append  # type: ignore[method-assign]
    wire.feed(b"P", b"OST /v3/kv/range HTTP/1.1\r\n")
    assert Other.got == b"POST /v3/kv/range HTTP/1.1\r\n"
    assert isinstance(switched[0], Other)
    assert not listener.connections


async def test_bytes_that_are_nothing_end_the_connection() -> None:
    for noise in (b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nXX"):
        _, wire = serve(Methods())
        wire.feed(noise)
        assert wire.closed


async def test_nobody_has_to_be_waited_for_who_never_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PREFACE_SECONDS", 0.0)
    _, wire = serve(Methods())
    async with asyncio.timeout(5):
        while not wire.aborted:
            await asyncio.sleep(0)


# ---- floods


@pytest.mark.parametrize(
    ("flood", "text"),
    [
        (frames.settings({}), "too many SETTINGS"),
        (frames.frame(frames.PRIORITY, 0, 1, bytes(5)), "too many PRIORITY frames"),
        (data(1, b""), "too many empty DATA frames"),
        (frames.frame(0x42, 0, 0), "too many frames of no known type"),
        (frames.goaway(0, 0), "too many GOAWAY frames"),
    ],
)
async def test_a_flood_of_frames_that_are_no_calls_ends_the_connection(flood: bytes, text: str) -> None:
    wire, caller, _ = await greeted()
    wire.feed(caller.head(1, "/t.T/Chat"))
    for _ in range(1000):
        wire.feed(flood)
    await wire.turns()
    assert wire.goaway() == (ErrorCode.ENHANCE_YOUR_CALM, text)


async def test_pings_between_answers_are_welcome_and_others_are_not() -> None:
    wire, caller, _ = await greeted()
    for id in range(1, 41, 2):
        wire.feed(PING, caller.call(id))
        await wire.answer(id)
    assert wire.goaway() is None
    wire.feed(*[PING] * 10)
    await wire.turns()
    assert wire.goaway() == (ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")


async def test_opening_and_resetting_without_end_ends_the_connection() -> None:
    wire, caller, methods = await greeted()
    for id in range(1, 10_001, 2):
        wire.feed(caller.call(id, b"x", "/t.T/Wait") + frames.rst_stream(id, ErrorCode.CANCEL))
        if wire.closed:
            break
        await asyncio.sleep(0)
    await wire.turns()
    assert wire.goaway() == (ErrorCode.ENHANCE_YOUR_CALM, "too many resets")
    assert methods.running == methods.cancelled
    assert not wire.connection.server.tasks


async def test_more_calls_than_allowed_are_refused_and_may_be_tried_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_STREAMS", 3)
    wire, caller, methods = await greeted()
    for id in (1, 3, 5, 7):
        wire.feed(caller.call(id, b"x", "/t.T/Wait"))
    await wire.turns()
    assert wire.resets() == [(7, ErrorCode.REFUSED_STREAM)]
    methods.go.set()
    assert (await wire.answer(5))[0] == 0


async def test_a_client_that_does_not_read_is_not_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SOCKET_HIGH", 100_000)
    wire, caller, _ = await greeted()
    wire.feed(frames.settings({frames.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW}))
    wire.feed(frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW))
    await wire.turns()
    wire.stuck = True
    wire.feed(caller.head(1, "/t.T/Count"), data(1, prefixed(b"100000 10000"), end=True))
    await wire.turns(2000)
    assert not wire.reading
    assert len(wire.sent) + wire.connection.unsent < 2 << 20, "a gigabyte was asked for"
    wire.stuck = False
    wire.collect()
    wire.connection.resume_writing()
    assert wire.reading


async def test_answers_that_are_not_taken_stop_further_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_UNSENT", 1 << 20)
    wire, caller, _ = await greeted()
    wire.feed(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    for id in range(1, 40, 2):
        wire.feed(caller.call(id, b"100000", "/t.T/Times"))
        await wire.turns()
    assert wire.connection.unsent < (1 << 20) + 200_000
    assert {code for _, code in wire.resets()} == {ErrorCode.REFUSED_STREAM}


async def test_requests_that_never_end_may_only_hold_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_HELD", 100_000)
    wire, caller, _ = await greeted()
    for id in range(1, 40, 2):
        wire.feed(caller.head(id), data(id, b"\0\0\x0f\0\0" + bytes(16_000)))
    await wire.turns()
    assert wire.connection.server.held <= 100_000
    assert {code for _, code in wire.resets()} == {ErrorCode.ENHANCE_YOUR_CALM}
