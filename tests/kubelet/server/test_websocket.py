import asyncio
import struct

import pytest

from kubelet.server.websocket import WebSocket, WebSocketError, handshake


class _Writer:
    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None:
        return


def frame(kind: int, data: bytes, *, final: bool = True, mask: bytes | None = b"\x01\x02\x03\x04") -> bytes:
    length = len(data)
    head = bytes([(0x80 if final else 0) | kind])
    flag = 0x80 if mask else 0
    if length < 126:
        head += bytes([flag | length])
    elif length < 1 << 16:
        head += bytes([flag | 126]) + struct.pack(">H", length)
    else:
        head += bytes([flag | 127]) + struct.pack(">Q", length)
    if not mask:
        return head + data
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


async def received(*frames: bytes) -> tuple[list[bytes], bytes]:
    reader, writer = asyncio.StreamReader(), _Writer()
    reader.feed_data(b"".join(frames))
    reader.feed_eof()
    socket = WebSocket(reader, writer)  # type: ignore[arg-type]
    return [message async for message in socket.messages()], writer.sent


def test_the_handshake_is_the_standards_example() -> None:
    head = handshake("dGhlIHNhbXBsZSBub25jZQ==", "chat")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert b"Sec-WebSocket-Protocol: chat\r\n" in head


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
async def test_messages_of_every_length_arrive(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert (await received(frame(2, data)))[0] == [data]


async def test_fragments_are_joined_and_pings_answered_between_them() -> None:
    messages, sent = await received(frame(2, b"a", final=False), frame(9, b"p"), frame(0, b"b"))
    assert messages == [b"ab"]
    assert sent == b"\x8a\x01p"


async def test_a_close_is_answered_and_ends_it() -> None:
    messages, sent = await received(frame(8, b"\x03\xe8"), frame(2, b"late"))
    assert messages == []
    assert sent == b"\x88\x02\x03\xe8"


async def test_an_unmasked_frame_is_a_breach() -> None:
    with pytest.raises(WebSocketError):
        await received(frame(2, b"x", mask=None))


@pytest.mark.parametrize(("size", "head"), [(5, 2), (300, 4), (70_000, 10)])
async def test_what_is_sent_has_the_shortest_head(size: int, head: int) -> None:
    writer = _Writer()
    await WebSocket(asyncio.StreamReader(), writer).send(b"x" * size)  # type: ignore[arg-type]
    assert len(writer.sent) == size + head
