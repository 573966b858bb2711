"""Header blocks, against the encoder of the hpack package."""

import contextlib

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_raft.grpc.frames import ConnectionFailed, ErrorCode
from etcd_raft.grpc.headers import MAX_LIST_SIZE, NO_TABLE, HeaderDecoder, Headers, encode

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20) | st.sampled_from(
    [":path", ":status", "content-type"]
)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
lists = st.lists(st.tuples(names, values), min_size=1, max_size=8)


def stateless() -> HeaderDecoder[Headers]:
    """A decoder whose peer has acknowledged that there is no table, and said so."""
    decoder: HeaderDecoder[Headers] = HeaderDecoder(tuple)
    decoder.acknowledged()
    assert decoder.decode(NO_TABLE) == ()
    return decoder


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(lists, min_size=1, max_size=5), st.booleans())
def test_blocks_of_an_encoder_without_table_are_read(blocks: list[Headers], huffman: bool) -> None:
    decoder, encoder = stateless(), hpack.Encoder()
    encoder.header_table_size = 0
    for headers in [*blocks, *blocks]:  # what repeats is looked up, and has to mean the same
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == tuple(headers)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(lists, min_size=1, max_size=5))
def test_blocks_with_a_table_are_read_until_its_end_is_acknowledged(blocks: list[Headers]) -> None:
    decoder: HeaderDecoder[Headers] = HeaderDecoder(tuple)
    encoder = hpack.Encoder()
    for headers in [*blocks, *blocks]:
        assert decoder.decode(encoder.encode(headers)) == tuple(headers)
    decoder.acknowledged()
    encoder.header_table_size = 0
    for headers in [*blocks, *blocks]:
        assert decoder.decode(encoder.encode(headers)) == tuple(headers)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lists)
def test_what_we_write_is_read_by_others(headers: Headers) -> None:
    assert hpack.Decoder().decode(NO_TABLE + encode(headers)) == list(headers)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_are_a_block_or_an_error_of_the_connection(block: bytes) -> None:
    for decoder in (stateless(), HeaderDecoder[Headers](tuple)):
        with contextlib.suppress(ConnectionFailed):
            decoder.decode(block)


def test_a_peer_that_keeps_a_table_after_it_has_acknowledged_is_refused() -> None:
    decoder: HeaderDecoder[Headers] = HeaderDecoder(tuple)
    encoder = hpack.Encoder()
    decoder.decode(encoder.encode([("a", "b")]))
    decoder.acknowledged()
    with pytest.raises(ConnectionFailed) as refusal:
        decoder.decode(encoder.encode([("a", "b")]))
    assert refusal.value.code == ErrorCode.COMPRESSION_ERROR


def test_a_list_that_unpacks_to_too_much_is_refused() -> None:
    for decoder in (stateless(), HeaderDecoder[Headers](tuple)):
        with pytest.raises(ConnectionFailed) as refusal:
            decoder.decode(b"\x82" * (MAX_LIST_SIZE // 40))
        assert refusal.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_headers_that_never_repeat_are_not_kept_for_ever() -> None:
    decoder = stateless()
    for number in range(5000):
        decoder.decode(encode([("grpc-timeout", f"{number}u")]))
    assert len(decoder._fields) <= 1024
    assert len(decoder._blocks) <= 1024
