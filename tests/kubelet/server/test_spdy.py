import zlib

import pytest

from kubelet.server import spdy
from kubelet.server.spdy import Control, Data, Decoder, Encoder, SpdyError


def test_the_dictionary_is_the_protocols() -> None:
    # The checksum that every SPDY/3 implementation's zlib asks for.
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_survive_the_wire_in_any_pieces() -> None:
    encoder = Encoder()
    wire = b"".join(
        (
            encoder.syn_stream(1, {"streamType": "stdin", "Port": "80"}),
            encoder.syn_stream(3, {"streamtype": "stdout"}, fin=True),
            encoder.data(1, b"hello"),
            encoder.data(1, b"", fin=True),
            encoder.ping(7),
            encoder.reset(3, 5),
            encoder.go_away(3),
        )
    )
    for step in (1, 7, len(wire)):
        decoder, found = Decoder(), []
        for start in range(0, len(wire), step):
            found += list(decoder.feed(wire[start : start + step]))
        assert found == [
            Control(spdy.SYN_STREAM, 1, {"streamtype": "stdin", "port": "80"}),
            Control(spdy.SYN_STREAM, 3, {"streamtype": "stdout"}, fin=True),
            Data(1, b"hello", False),
            Data(1, b"", True),
            Control(spdy.PING, 7, {}),
            Control(spdy.RST_STREAM, 3, {}, status=5),
            Control(spdy.GOAWAY, 3, {}),
        ]


def test_a_reply_is_as_the_protocol_lays_it_out() -> None:
    frame = Encoder().syn_reply(5)
    assert frame[:4] == b"\x80\x03\x00\x02"
    assert int.from_bytes(frame[5:8], "big") == len(frame) - 8
    assert frame[8:12] == b"\x00\x00\x00\x05"
    assert zlib.decompressobj(zdict=spdy.DICTIONARY).decompress(frame[12:]) == b"\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "wire",
    [
        b"\x80\x02\x00\x01\x00\x00\x00\x00",
        b"\x80\x03\x00\x01\x00\x00\x00\x0c" + b"\x00" * 10 + b"zz",
        b"\x80\x03\x00\x06\x00\x00\x00\x01\x00",
    ],
)
def test_what_is_not_spdy_is_refused(wire: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Decoder().feed(wire))
