"""One structural schema engine: what fields an object has, and what upstream says to an object that has others.

``read_object`` is what the API server calls with a request body; ``decode_object`` with a value that is parsed already (after a
patch). Read ``definitions.py`` for the nodes, ``decoding.py`` for the walk, ``body.py`` for text.
"""

from typing import Any, NamedTuple

from apimachinery import errors
from apimachinery.errors import quote
from apimachinery.resources import Resource, by_kind
from apimachinery.schema.body import parse_json
from apimachinery.schema.decoding import DecodeError, decode, unknown_fields
from apimachinery.schema.definitions import Field, Schema, definition, schema_for, schema_of_kind
from apimachinery.schema.yaml_body import parse_yaml

__all__ = [
    "DecodeError",
    "Decoded",
    "Field",
    "Schema",
    "decode",
    "decode_object",
    "decode_typed",
    "definition",
    "parse_json",
    "parse_yaml",
    "read_object",
    "schema_for",
    "schema_of_kind",
    "unknown_fields",
]

_SCHEME = "pkg/api/legacyscheme/scheme.go:30"


class Decoded(NamedTuple):
    obj: dict[str, Any]
    strict: list[str]
    """``unknown field "spec.replica"``, ``duplicate field "spec.replicas"``: for Strict an error, for Warn warnings."""


def read_object(
    body: bytes, resource: Resource, *, yaml: bool = False, kind: tuple[str, str, str] | None = None
) -> Decoded:
    """A request body as an object of the resource; ``kind`` (group, version, kind) where a subresource takes another.

    Raises ``StatusError`` 400 with upstream's message.
    """
    try:
        value, twice = parse_yaml(body) if yaml else parse_json(body)
    except DecodeError as e:
        raise _unrecognized(f"couldn't get version/kind; {e}", body, kind, resource) from None
    if not isinstance(value, dict):
        wrong = f"couldn't get version/kind; json parse error: {_not_an_object(value)}"
        raise _unrecognized(wrong, body, kind, resource)
    found = twice if yaml else [f"duplicate field {quote(path)}" for path in twice]
    decoded = decode_object(value, resource, kind=kind)
    return Decoded(decoded.obj, found + decoded.strict)


def _unrecognized(why: str, body: bytes, kind: tuple[str, str, str] | None, resource: Resource) -> errors.StatusError:
    expected = kind[2] if kind else resource.kind
    shown = "<empty>" if not body else body[:30].hex() + (" ..." if len(body) > 30 else "")
    return errors.bad_request(f"the object provided is unrecognized (must be of type {expected}): {why} ({shown})")


def _not_an_object(value: Any) -> str:
    try:
        decode(Schema("object", 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string }'), value)
    except DecodeError as e:
        return str(e)
    return "unexpected value"


def decode_object(value: dict[str, Any], resource: Resource, *, kind: tuple[str, str, str] | None = None) -> Decoded:
    """Checks ``apiVersion`` and ``kind`` (an object may leave them out) and every type below them."""
    try:
        return decode_typed(value, resource, kind=kind)
    except DecodeError as e:
        _, version, expected = kind or (resource.group, resource.version, resource.kind)
        raise errors.bad_request(_cannot_be_handled(expected, version, expected, str(e))) from None


def decode_typed(value: dict[str, Any], resource: Resource, *, kind: tuple[str, str, str] | None = None) -> Decoded:
    """``decode_object`` for an object that no body held: wrong types are a DecodeError, another kind a StatusError."""
    group, version, expected = kind or (resource.group, resource.version, resource.kind)
    api_version = f"{group}/{version}" if group else version
    _check_kind(value.get("apiVersion") or api_version, value.get("kind") or expected, api_version, expected)
    schema = schema_of_kind(group, version, expected)
    assert schema is not None, f"no schema for {api_version} {expected}"
    obj, unknown = decode(schema, value)
    obj["apiVersion"], obj["kind"] = api_version, expected
    return Decoded(obj, [f"unknown field {quote(path)}" for path in unknown])


def _check_kind(given_version: Any, given_kind: Any, api_version: str, expected: str) -> None:
    if not isinstance(given_version, str) or not isinstance(given_kind, str):
        wrong = "number" if isinstance(given_version, int | float) else "object"
        raise errors.bad_request(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {wrong} into Go struct field "
            ".apiVersion of type string"
        )
    if given_version == api_version and given_kind == expected:
        return
    short = given_version.rpartition("/")[2]
    if by_kind(given_version, given_kind) is None and (given_version, given_kind) != (api_version, expected):
        why = f"no kind {quote(given_kind)} is registered for version {quote(given_version)} in scheme {quote(_SCHEME)}"
        raise errors.bad_request(_cannot_be_handled(given_kind, short, expected, why))
    if given_version != api_version:
        raise errors.bad_request(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    why = f"converting (v1.{given_kind}) to ({api_version.partition('/')[0]}.{expected}): unknown conversion"
    raise errors.bad_request(_cannot_be_handled(given_kind, short, expected, why))


def _cannot_be_handled(kind: str, version: str, expected: str, why: str) -> str:
    return f"{kind} in version {quote(version)} cannot be handled as a {expected}: {why}"


def strict_error(decoded: Decoded, kind: str, version: str) -> errors.StatusError:
    """What ``fieldValidation=Strict`` answers to an object with unknown or duplicate fields."""
    why = "strict decoding error: " + ", ".join(decoded.strict)
    return errors.bad_request(_cannot_be_handled(kind, version, kind, why))
