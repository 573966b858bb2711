"""HTTP/2 frames as bytes (RFC 9113, sections 4 and 6), and what is said when they are wrong.

``FrameReader`` cuts a byte stream into ``(type, flags, stream, payload)``. It knows lengths and nothing else: what a frame means,
and whether it may come now, is for ``connection``.
"""

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x01, 0x01, 0x04, 0x08, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)  # fmt: skip

DEFAULT_WINDOW = 65_535
MAX_WINDOW = (1 << 31) - 1
DEFAULT_FRAME = 16_384
MAX_FRAME = (1 << 24) - 1
HEAD_SIZE = 9

_HEAD = struct.Struct(">HBBBL")  # length (16 + 8 bits), type, flags, stream
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")
_GOAWAY = struct.Struct(">LL")

Frame = tuple[int, int, int, bytes]


class ErrorCode(IntEnum):
    """Section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFailed(Exception):
    """The peer broke a rule that the connection does not survive: it gets a GOAWAY with this code and text."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFailed(Exception):
    """The peer broke a rule that only one stream does not survive: it gets a RST_STREAM with this code."""

    def __init__(self, stream: int, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.stream = stream
        self.code = code


class FrameReader:
    """Bytes in, as they come; whole frames out. Holds at most one frame that is not complete."""

    __slots__ = ("_rest", "limit")

    def __init__(self, limit: int = DEFAULT_FRAME) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Raises ``ConnectionFailed`` as soon as a frame says that it is longer than we allow."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, end = 0, len(data)
        while end - at >= HEAD_SIZE:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            length = high << 8 | low
            if length > self.limit:
                raise ConnectionFailed(
                    ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes, the most is {self.limit}"
                )
            start = at + HEAD_SIZE
            if start + length > end:
                break
            at = start + length
            frames.append((kind, flags, stream & MAX_WINDOW, data[start:at]))
        self._rest = data[at:]
        return frames


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a frame with more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """What goes before a payload of ``length`` bytes."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Name and value of each, in order; checked as section 6.5.2 says."""
    if len(payload) % _SETTING.size:
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of an odd length")
    found = list(_SETTING.iter_unpack(payload))
    for name, value in found:
        if name == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, f"an initial window of {value}")
        if name == MAX_FRAME_SIZE and not DEFAULT_FRAME <= value <= MAX_FRAME:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"a largest frame of {value}")
        if name == ENABLE_PUSH and value > 1:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH {value}")
    return found


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def rst_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: int, text: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last, code) + text.encode())


def parse_number(payload: bytes, what: str) -> int:
    """The one number that WINDOW_UPDATE and RST_STREAM hold."""
    if len(payload) != _NUMBER.size:
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, f"{what} of {len(payload)} bytes")
    number: int = _NUMBER.unpack(payload)[0]
    return number


def parse_goaway(payload: bytes) -> tuple[int, int, str]:
    """The last stream that the peer has taken, its reason, and its words."""
    if len(payload) < _GOAWAY.size:
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
    last, code = _GOAWAY.unpack_from(payload)
    return last & MAX_WINDOW, code, payload[_GOAWAY.size :].decode("utf-8", "replace")
