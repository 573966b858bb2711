"""Header blocks (HPACK, RFC 7541), kept stateless so that they can be remembered.

Both ends of ours announce a header table of 0 bytes. Once the peer has acknowledged that, the same bytes always mean the same
headers: a block that was seen before is a lookup, and in a block that differs in one field (gRPC puts the remaining time of every
call into it) only that field is decoded. What comes before the acknowledgement may use the table, and the ``hpack`` package reads it.

What we write never uses the table at all; the first block of a connection says so.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.hpack import decode_integer, encode_integer

from etcd_raft.grpc.frames import ConnectionFailed, ErrorCode

Headers = tuple[tuple[str, str], ...]
Meaning = TypeVar("Meaning")

#: What all headers of one block may weigh (each 32 bytes more than its text, as HPACK counts).
MAX_LIST_SIZE = 64 * 1024
#: At the start of the first block that we send: from here on the table has no bytes.
NO_TABLE = b"\x20"

_MAX_REMEMBERED = 1024
_MAX_REMEMBERED_SIZE = 1024
_STATIC_NAMES = {":status": 8, "content-type": 31, ":path": 4, ":authority": 1, "user-agent": 58}
_WHOLE = {
    (":method", "POST"): b"\x83",
    (":scheme", "http"): b"\x86",
    (":scheme", "https"): b"\x87",
    (":status", "200"): b"\x88",
}


class HeaderDecoder(Generic[Meaning]):
    """The blocks of one connection, in order; ``interpret`` says what a list of headers means, once for each that repeats."""

    def __init__(self, interpret: Callable[[Headers], Meaning]) -> None:
        self._interpret = interpret
        self._decoder = Decoder(MAX_LIST_SIZE)
        self._blocks: dict[bytes, Meaning] = {}
        self._fields: dict[bytes, tuple[str, str]] = {}

    def acknowledged(self) -> None:
        """The peer knows that our table has 0 bytes."""
        self._decoder.max_allowed_table_size = 0

    def decode(self, block: bytes) -> Meaning:
        """Raises ``ConnectionFailed``: after a block that cannot be read, none can be."""
        found = self._blocks.get(block)
        if found is not None:
            return found
        try:
            if self._decoder.header_table_size or self._decoder.max_allowed_table_size:
                return self._interpret(_texts(self._decoder.decode(block, raw=True)))
            return self._stateless(block)
        except OversizedHeaderListError as error:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFailed(
                ErrorCode.COMPRESSION_ERROR, f"a header block that cannot be read: {error}"
            ) from None

    def _stateless(self, block: bytes) -> Meaning:
        headers: list[tuple[str, str]] = []
        size, known = 0, True
        for raw in _split(block):
            field = self._fields.get(raw)
            if field is None:
                known = False
                ((name, value),) = _texts(self._decoder.decode(raw, raw=True))
                field = (name, value)
                _remember(self._fields, raw, field)
            size += len(field[0]) + len(field[1]) + 32
            if size > MAX_LIST_SIZE:
                raise OversizedHeaderListError(f"A header list larger than {MAX_LIST_SIZE} has been received")
            headers.append(field)
        found = self._interpret(tuple(headers))
        if known:  # else it may hold something that never comes again
            _remember(self._blocks, block, found)
        return found


def _remember(cache: dict[bytes, Any], key: bytes, value: Any) -> None:
    if len(key) > _MAX_REMEMBERED_SIZE:
        return
    if len(cache) >= _MAX_REMEMBERED:
        cache.clear()
    cache[key] = value


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers)


def _split(block: bytes) -> list[bytes]:
    """The fields of a block without table, each as its bytes."""
    fields: list[bytes] = []
    at, end = 0, len(block)
    while at < end:
        start, first = at, block[at]
        if first & 0x80:  # a whole field of the static table
            _, used = decode_integer(block[at : at + 8], 7)
            at += used
        elif first & 0xE0 == 0x20:  # the size of the table: 0 is all that may come
            if first != 0x20 or fields:
                raise HPACKError("a table size that was not allowed")
            at += 1
            continue
        else:
            number, used = decode_integer(block[at : at + 8], 6 if first & 0x40 else 4)
            at += used
            for _ in range(1 if number else 2):
                length, used = decode_integer(block[at : at + 8], 7)
                at += used + length
        if at > end:
            raise HPACKError("a field that is cut off")
        fields.append(block[start:at])
    return fields


def encode(headers: Iterable[tuple[str, str]]) -> bytes:
    """A block that needs no table."""
    parts: list[bytes] = []
    for name, value in headers:
        whole = _WHOLE.get((name, value))
        if whole is not None:
            parts.append(whole)
            continue
        index = _STATIC_NAMES.get(name, 0)
        parts.append(bytes(encode_integer(index, 4)))
        if not index:
            parts.append(_text(name.encode("latin-1")))
        parts.append(_text(value.encode("latin-1")))
    return b"".join(parts)


def _text(data: bytes) -> bytes:
    return bytes(encode_integer(len(data), 7)) + data
