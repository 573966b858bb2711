"""Cutting a byte stream into frames."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcd_raft.grpc import frames
from etcd_raft.grpc.frames import ConnectionFailed, ErrorCode, FrameReader

some_frames = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, frames.MAX_WINDOW), st.binary(max_size=200)),
    max_size=8,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(some_frames, st.lists(st.integers(1, 60), max_size=60))
def test_frames_are_the_same_wherever_the_bytes_are_cut(sent: list[frames.Frame], cuts: list[int]) -> None:
    stream = b"".join(frames.frame(*one) for one in sent)
    reader, found = FrameReader(), []
    for size in cuts:
        found += reader.feed(stream[:size])
        stream = stream[size:]
    found += reader.feed(stream)
    assert found == sent


def test_the_reserved_bit_of_a_stream_is_ignored() -> None:
    raw = frames.frame(frames.PING, 0, 0, bytes(8))
    assert FrameReader().feed(raw[:5] + b"\x80" + raw[6:]) == [(frames.PING, 0, 0, bytes(8))]


def test_a_frame_that_is_too_long_is_refused_before_its_payload_comes() -> None:
    with pytest.raises(ConnectionFailed) as refusal:
        FrameReader(16_384).feed(frames.head(16_385, frames.DATA, 0, 1))
    assert refusal.value.code == ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize(("payload", "plain"), [(b"\0abc", b"abc"), (b"\2abc\0\0", b"abc"), (b"\3abc", b"")])
def test_padding_is_taken_off(payload: bytes, plain: bytes) -> None:
    assert frames.unpadded(frames.PADDED, payload) == plain
    assert frames.unpadded(0, payload) == payload


@pytest.mark.parametrize("payload", [b"", b"\4abc", b"\xff"])
def test_more_padding_than_payload_is_an_error(payload: bytes) -> None:
    with pytest.raises(ConnectionFailed):
        frames.unpadded(frames.PADDED, payload)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (frames.INITIAL_WINDOW_SIZE, 1 << 31, ErrorCode.FLOW_CONTROL_ERROR),
        (frames.MAX_FRAME_SIZE, 16_383, ErrorCode.PROTOCOL_ERROR),
        (frames.MAX_FRAME_SIZE, 1 << 24, ErrorCode.PROTOCOL_ERROR),
        (frames.ENABLE_PUSH, 2, ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_settings_out_of_range_are_errors(name: int, value: int, code: ErrorCode) -> None:
    with pytest.raises(ConnectionFailed) as refusal:
        frames.parse_settings(frames.settings({name: value})[frames.HEAD_SIZE :])
    assert refusal.value.code == code
