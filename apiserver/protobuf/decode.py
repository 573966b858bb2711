"""From protobuf bytes to the value that JSON would have given.

The envelope is ``k8s\\0`` and a ``runtime.Unknown`` that names the kind. Inside, every field is looked up by its number; unknown
numbers are skipped, as protobuf asks. Types that have a JSON form of their own (times, quantities, int-or-string, raw
JSON) get it here.
"""

import base64
import functools
import gzip
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_MACHINERY = "k8s.io.apimachinery.pkg."
_UNKNOWN = _MACHINERY + "runtime.Unknown"
_MAX_DEPTH = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Object = dict[str, Any]


class MalformedBody(ValueError):
    """The bytes are not what they claim to be."""


@functools.cache
def _messages() -> dict[str, dict[str, list[str]]]:
    packed = Path(__file__).with_name("fields.json.gz").read_bytes()
    messages: dict[str, dict[str, list[str]]] = orjson.loads(gzip.decompress(packed))
    return messages


def decode_body(body: bytes) -> Object:
    """The object in a request body, with kind and apiVersion. Raises ``MalformedBody``."""
    if not body.startswith(_MAGIC):
        raise MalformedBody("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        unknown = _message(_UNKNOWN, body[len(_MAGIC) :], 0)
        meta = unknown.get("typeMeta") or {}
        raw = base64.b64decode(unknown.get("raw", ""))
        name = _message_name(meta.get("apiVersion", ""), meta.get("kind", ""))
        obj = _message(name, raw, 0)
    except MalformedBody:
        raise
    except (AttributeError, TypeError) as error:  # a number where bytes belong, or the other way round
        raise MalformedBody(f"proto: wrong wireType: {error}") from None
    except (IndexError, struct.error, OverflowError, ValueError) as error:
        raise MalformedBody(f"proto: {error}") from None
    return {"apiVersion": meta["apiVersion"], "kind": meta["kind"], **obj}


def _message_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    package = group.removesuffix(".k8s.io").split(".")[0] or "core"
    for name in (f"k8s.io.api.{package}.{version}.{kind}", f"{_MACHINERY}apis.meta.v1.{kind}"):
        if name in _messages():
            return name
    raise MalformedBody(f'no kind "{kind}" is registered for version "{api_version}"')


def _message(name: str, data: bytes, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise MalformedBody("proto: exceeded max depth")
    special = _SPECIAL.get(name)
    if special is not None:
        return special({number: value for number, _, value in _wire(data)})
    fields = _messages().get(name)
    if fields is None:
        raise MalformedBody(f"proto: unknown message {name}")
    if name.endswith(_WRAPPERS):
        return [_scalar("string", value) for _, _, value in _wire(data)]
    out: Object = {}
    for number, wire_type, value in _wire(data):
        field = fields.get(str(number))
        if field is not None:
            _put(out, field, wire_type, value, depth)
    return out


#: Messages that are a list in JSON.
_WRAPPERS = ("ExtraValue", ".Verbs")


def _put(out: Object, field: list[str], wire_type: int, value: Any, depth: int) -> None:
    name, label, kind = field
    if label == "inline":
        out.update(_message(kind, value, depth + 1))
    elif label == "map":
        key, item = _entry(kind, value, depth)
        out.setdefault(name, {})[key] = item
    elif label == "repeated":
        items = out.setdefault(name, [])
        if wire_type == 2 and kind in _VARINTS:
            items += [_VARINTS[kind](number) for number in _packed(value)]
        else:
            items.append(_value(kind, value, depth))
    else:
        out[name] = _value(kind, value, depth)


def _entry(kind: str, data: bytes, depth: int) -> tuple[str, Any]:
    key, raw = "", None
    for number, _, value in _wire(data):
        if number == 1:
            key = _scalar("string", value)
        elif number == 2:
            raw = value
    if raw is None:
        raw = b"" if kind not in _VARINTS else 0
    return key, _value(kind, raw, depth)


def _value(kind: str, value: Any, depth: int) -> Any:
    if "." in kind:
        if not isinstance(value, bytes):
            raise MalformedBody("proto: wrong wireType")
        return _message(kind, value, depth + 1)
    return _scalar(kind, value)


def _signed(bits: int) -> Callable[[int], int]:
    def signed(number: int) -> int:
        number &= (1 << 64) - 1
        number = number - (1 << 64) if number >> 63 else number
        if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
            raise MalformedBody("proto: integer overflow")
        return number

    return signed


_VARINTS: dict[str, Callable[[int], Any]] = {
    "bool": bool,
    "int32": _signed(32),
    "int64": _signed(64),
    "uint32": lambda n: n,
    "uint64": lambda n: n,
}


def _scalar(kind: str, value: Any) -> Any:
    if kind in _VARINTS:
        if not isinstance(value, int):
            raise MalformedBody("proto: wrong wireType")
        return _VARINTS[kind](value)
    if not isinstance(value, bytes):
        raise MalformedBody("proto: wrong wireType")
    if kind == "string":
        return value.decode()
    if kind == "bytes":
        return base64.b64encode(value).decode()
    return struct.unpack("<d", value)[0]


def _wire(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value) in order: an int for varints, bytes for the rest."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 0:
            value: Any
            value, position = _varint(data, position)
        else:
            if wire_type == 2:
                size, position = _varint(data, position)
            elif wire_type in (1, 5):
                size = 8 if wire_type == 1 else 4
            else:
                raise MalformedBody(f"proto: illegal wireType {wire_type}")
            end = position + size
            if end > len(data):
                raise MalformedBody("unexpected EOF")
            value, position = data[position:end], end
        yield tag >> 3, wire_type, value


def _packed(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        number, position = _varint(data, position)
        yield number


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise MalformedBody("proto: integer overflow")


# --- types with a JSON form of their own --------------------------------------------------------------------------

Numbers = dict[int, Any]


def _time(fields: Numbers) -> str | None:
    moment = _moment(fields)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(fields: Numbers) -> str | None:
    moment = _moment(fields)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(fields: Numbers) -> datetime | None:
    """The zero time travels as an empty message and is null in JSON."""
    if not fields:
        return None
    seconds = _VARINTS["int64"](fields.get(1, 0))
    return _EPOCH + timedelta(seconds=seconds, microseconds=fields.get(2, 0) // 1000)


def _int_or_string(fields: Numbers) -> int | str:
    if fields.get(1, 0) == 0:
        return int(_VARINTS["int32"](fields.get(2, 0)))
    return str(fields.get(3, b"").decode())


def _raw_json(fields: Numbers) -> Any:
    raw = fields.get(1, b"")
    return orjson.loads(raw) if raw else None


def _duration(fields: Numbers) -> str:
    return f"{_VARINTS['int64'](fields.get(1, 0)) / 1e9:g}s"


_SPECIAL: dict[str, Callable[[Numbers], Any]] = {
    _MACHINERY + "apis.meta.v1.Time": _time,
    _MACHINERY + "apis.meta.v1.MicroTime": _micro_time,
    _MACHINERY + "apis.meta.v1.Duration": _duration,
    _MACHINERY + "apis.meta.v1.FieldsV1": _raw_json,
    _MACHINERY + "runtime.RawExtension": _raw_json,
    _MACHINERY + "util.intstr.IntOrString": _int_or_string,
    _MACHINERY + "api.resource.Quantity": lambda fields: fields.get(1, b"0").decode(),
}
