"""Request bodies: JSON or YAML text to an object, noticing fields that are given twice.

A parser that keeps the last of two equal keys hides a mistake that upstream reports, so both parsers here tell. For
JSON the common case is proved cheaply: when re-encoding gives the same bytes, nothing was given twice.
"""

from typing import Any

import orjson

from apimachinery.schema.decoding import DecodeError


def parse_json(body: bytes) -> tuple[Any, list[str]]:
    """The value and the paths of its duplicate fields. Raises DecodeError with Go's wording for text that is no JSON."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise DecodeError(f"json parse error: {_complaint(body, e)}") from None
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
    try:
        _collect(json.loads(body, object_pairs_hook=_pairs), "", found)
    except RecursionError:
        raise DecodeError("json parse error: exceeded max depth") from None
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


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The first document as JSON would give it, and upstream's complaint about keys given twice."""
    import yaml  # most bodies are JSON

    twice: list[str] = []

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            self.flatten_mapping(node)
            mapping: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = _json_key(self.construct_object(key_node, deep=True))
                if key in mapping:
                    twice.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
                mapping[key] = self.construct_object(value_node, deep=deep)
            return mapping

    # Upstream reads YAML 1.1 booleans but leaves dates as text; JSON has no dates.
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }
    try:
        value = yaml.load(body, Loader=Loader)
        value = orjson.loads(orjson.dumps(value))
    except (yaml.YAMLError, orjson.JSONEncodeError, RecursionError, UnicodeDecodeError) as e:
        raise DecodeError(f"error converting YAML to JSON: yaml: {_first_line(e)}") from None
    return value, ["yaml: unmarshal errors:\n  " + "\n  ".join(twice)] if twice else []


def _json_key(key: Any) -> str:
    if key is True or key is False:
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem.splitlines()[0]
