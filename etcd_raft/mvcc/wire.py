"""Answers, written straight as protobuf bytes.

The store keeps every ``KeyValue`` as it goes over the wire. Building an answer is then joining byte strings; taking a
thousand messages apart to put them together again would cost more than everything else about a range.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache


def varint(number: int) -> bytes:
    if 0 <= number < 0x80:
        return bytes((number,))
    if 0 < number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    number &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def nested(tag: int, data: bytes) -> bytes:
    """A length-delimited field. ``tag`` is the whole tag: number << 3 | 2."""
    return bytes((tag,)) + varint(len(data)) + data


def number(tag: int, value: int) -> bytes:
    """A varint field; nothing for 0, as proto3 has it."""
    return bytes((tag,)) + varint(value) if value else b""


def header(cluster: int, member: int, revision: int, term: int) -> bytes:
    """The field ``header`` of any response."""
    return nested(0x0A, _identity(cluster, member) + number(0x18, revision) + number(0x20, term))


@lru_cache(16)
def _identity(cluster: int, member: int) -> bytes:
    """What is the same in all headers of a member."""
    return number(0x08, cluster) + number(0x10, member)


def revision_header(revision: int) -> bytes:
    """The header of a response inside a transaction: only its revision."""
    return nested(0x0A, number(0x18, revision))


def range_body(kvs: Iterable[bytes], more: bool, count: int) -> bytes:
    """A ``RangeResponse`` without its header."""
    parts: list[bytes] = []
    for kv in kvs:
        parts += (b"\x12", varint(len(kv)), kv)
    parts += (number(0x18, more), number(0x20, count))
    return b"".join(parts)


def put_body(previous: bytes | None) -> bytes:
    return nested(0x12, previous) if previous is not None else b""


def delete_body(deleted: int, previous: Sequence[bytes]) -> bytes:
    return number(0x10, deleted) + b"".join(nested(0x1A, kv) for kv in previous)


def txn_body(succeeded: bool, responses: Iterable[bytes]) -> bytes:
    return number(0x10, succeeded) + b"".join(nested(0x1A, response) for response in responses)


def event(deleted: bool, kv: bytes, previous: bytes | None) -> bytes:
    """An ``mvccpb.Event``."""
    return number(0x08, deleted) + nested(0x12, kv) + (nested(0x1A, previous) if previous is not None else b"")


def watch_body(watch_id: int, events: Iterable[bytes], fragment: bool = False) -> bytes:
    """A ``WatchResponse`` with events, without its header."""
    return number(0x10, watch_id) + number(0x38, fragment) + b"".join(nested(0x5A, event) for event in events)
