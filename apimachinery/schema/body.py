"""Request bodies in JSON: text to a value, noticing fields that are given twice.

A parser that keeps the last of two equal keys hides a mistake that upstream reports, so ours tell. The common case is
proved cheaply: when re-encoding gives the same bytes, nothing was given twice.
"""

from typing import Any

import orjson

from apimachinery.schema.decoding import DecodeError
from apimachinery.schema.depth import TOO_DEEP, too_deep


def parse_json(body: bytes) -> tuple[Any, list[str]]:
    """The value and the paths of its duplicate fields. Raises DecodeError with Go's wording for text that is no JSON."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise DecodeError(f"json parse error: {_complaint(body, e)}") from None
    if too_deep(value, body):
        raise DecodeError(f"json parse error: {TOO_DEEP}")
    if _says_the_same(orjson.dumps(value), body.strip()):
        return value, []
    return value, duplicate_fields(body)


_BLANKS = b" \t\r\n"


def _says_the_same(encoded: bytes, body: bytes) -> bool:
    """Whether a body differs from its encoded value in blanks and in what Go escapes at most.

    Then it has as many fields. Blanks inside of strings are left out on both sides and so prove nothing wrong.
    """
    if encoded == body:
        return True
    body, encoded = body.translate(None, _BLANKS), encoded.translate(None, _BLANKS)
    if len(encoded) == len(body):
        return encoded == body
    for character in (b"<", b">", b"&"):
        encoded = encoded.replace(character, b"\\u%04x" % character[0])
    return encoded == body


def _complaint(body: bytes, error: orjson.JSONDecodeError) -> str:
    text = body.decode("utf-8", "replace")
    if error.pos >= len(text.rstrip()):
        return "unexpected end of JSON input"
    c = text[error.pos]
    return f"invalid character {c!r} looking for beginning of value"


class _Twice(dict[str, Any]):
    """An object of which some keys were given more than once."""

    keys_given_twice: list[str]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    marked, seen = _Twice(plain), set()
    marked.keys_given_twice = []
    for key, _ in pairs:
        if key in seen:
            marked.keys_given_twice.append(key)
        seen.add(key)
    return marked


def duplicate_fields(body: bytes) -> list[str]:
    """The paths of fields given more than once."""
    import json  # slower than orjson, and only needed where something may be given twice

    found: list[str] = []
    # Numbers stay text: nobody looks at them, and Python refuses to read one of many thousand digits.
    _collect(json.loads(body, object_pairs_hook=_pairs, parse_int=str), "", found)
    return found


def _collect(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Twice):
        found += [f"{path}.{k}" if path else k for k in value.keys_given_twice]
    if isinstance(value, dict):
        for key, item in value.items():
            _collect(item, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _collect(item, f"{path}[{i}]", found)
