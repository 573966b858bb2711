"""gRPC's words: status codes, the texts beside them, and how long a call may take."""

from enum import IntEnum
from urllib.parse import quote, unquote_to_bytes

from etcd_raft.grpc.frames import ErrorCode


class Code(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call ended with another status than OK. ``unsent``: the server has surely not seen it."""

    def __init__(self, code: Code, text: str, *, unsent: bool = False) -> None:
        super().__init__(f"{text} ({code.name})")
        self.code = code
        self.text = text
        self.unsent = unsent


# What a stream that was reset means to the caller (gRPC over HTTP/2, "Errors").
OF_RESET = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
# What an HTTP status without a gRPC status means to the caller ("HTTP to gRPC Status Code Mapping").
OF_HTTP = {
    "400": Code.INTERNAL,
    "401": Code.UNAUTHENTICATED,
    "403": Code.PERMISSION_DENIED,
    "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE,
    "502": Code.UNAVAILABLE,
    "503": Code.UNAVAILABLE,
    "504": Code.UNAVAILABLE,
}

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PRINTABLE = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")


def encode_text(text: str) -> str:
    """The value of ``grpc-message``: what is not printable ASCII, and the percent sign, is escaped."""
    return quote(text, safe=_PRINTABLE)


def decode_text(value: str) -> str:
    return unquote_to_bytes(value.encode("latin-1")).decode("utf-8", "replace")


def parse_timeout(value: str) -> float | None:
    """Seconds of a ``grpc-timeout``; None when it is none (up to 8 digits and a unit)."""
    number, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not number.isascii() or not number.isdigit() or len(number) > 8:
        return None
    return int(number) * unit


def format_timeout(seconds: float) -> str:
    """A ``grpc-timeout`` not shorter than asked, in steps so coarse that few different ones are ever sent."""
    if seconds >= 10:
        return f"{min(99_999_999, int(seconds) + 1)}S"
    milliseconds = max(1, int(seconds * 1000) + 1)
    step = 100 if milliseconds > 1000 else 10
    return f"{-(-milliseconds // step) * step}m"
