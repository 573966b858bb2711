"""Messages over DATA frames, and the words beside them."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_raft.grpc.messages import MessageReader, prefixed
from etcd_raft.grpc.status import Code, RpcError, decode_text, encode_text, format_timeout, parse_timeout


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_messages_are_the_same_wherever_frames_end(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(prefixed, sent))
    reader, found = MessageReader(50), []
    for size in cuts:
        found += reader.feed(stream[:size])
        stream = stream[size:]
    found += reader.feed(stream)
    assert found == sent
    assert reader.held == 0


def test_a_message_that_is_too_large_is_refused_by_its_length_alone() -> None:
    with pytest.raises(RpcError) as refusal:
        MessageReader(100).feed(b"\0\0\0\0\x65")
    assert refusal.value.code == Code.RESOURCE_EXHAUSTED
    assert refusal.value.text == "grpc: received message larger than max (101 vs. 100)"


def test_gzip_is_unpacked_and_a_bomb_is_not() -> None:
    packed = gzip.compress(b"x" * 100)
    assert MessageReader(100, "gzip").feed(b"\1" + len(packed).to_bytes(4, "big") + packed) == [b"x" * 100]
    bomb = gzip.compress(bytes(10_000_000))
    with pytest.raises(RpcError) as refusal:
        MessageReader(20_000, "gzip").feed(b"\1" + len(bomb).to_bytes(4, "big") + bomb)
    assert refusal.value.code == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("encoding", "raw", "code"),
    [
        ("identity", b"\1\0\0\0\1x", Code.INTERNAL),
        ("snappy", b"\1\0\0\0\1x", Code.UNIMPLEMENTED),
        ("gzip", b"\1\0\0\0\1x", Code.INTERNAL),
        ("gzip", b"\1\0\0\0\x0a" + gzip.compress(b"x")[:10], Code.INTERNAL),
        ("gzip", b"\7\0\0\0\1x", Code.INTERNAL),
    ],
)
def test_what_cannot_be_unpacked_is_refused(encoding: str, raw: bytes, code: Code) -> None:
    with pytest.raises(RpcError) as refusal:
        MessageReader(100, encoding).feed(raw)
    assert refusal.value.code == code


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_texts_survive_their_way_through_a_header(text: str) -> None:
    if text.isprintable() or text.isascii():
        encoded = encode_text(text)
        assert encoded.isascii()
        assert all(0x20 <= ord(c) < 0x7F for c in encoded)
        assert decode_text(encoded) == text


def test_timeouts_are_read_in_every_unit_and_written_no_shorter_than_asked() -> None:
    read = [parse_timeout(v) for v in ("1H", "2M", "3S", "4m", "5u", "6n")]
    assert read == pytest.approx([3600, 120, 3, 0.004, 5e-6, 6e-9])
    assert [parse_timeout(v) for v in ("", "S", "5", "-1S", "123456789S", "1.5S", "1x")] == [None] * 7
    for seconds in (0.0001, 0.01, 0.5, 1.0, 5.0, 9.999, 10.0, 1e6):
        written = parse_timeout(format_timeout(seconds))
        assert written is not None
        assert seconds <= written <= seconds * 1.2 + 0.02
