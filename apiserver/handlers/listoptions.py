"""What the query of a list or a watch may say: versions, continue tokens, and which of its options exclude each other."""

import base64
import binascii
import posixpath
from typing import NamedTuple

import orjson

from apimachinery import errors
from apimachinery.errors import FieldError, StatusError

_TOKEN_VERSION = "meta.k8s.io/v1"
_INVALID_TOKEN = "invalid continue token: continue key is not valid"


def parse_resource_version(text: str, complaint: str = "") -> int | None:
    """None when it was not given. 400 for what is no version, also where upstream says 500 for want of a better code."""
    if not text:
        return None
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        if len(digits) <= 20 and int(digits) < 1 << 64:  # Python does not read a number of some thousand digits
            return int(digits)
        why = "value out of range"
    else:
        why = "invalid syntax"
    detail = f"strconv.ParseUint: parsing {errors.quote(text)}: {why}"
    raise errors.bad_request(f"{complaint}resourceVersion: Invalid value: {errors.quote(text)}: {detail}")


class Continue(NamedTuple):
    """Where the next page begins: in the state at ``revision`` (negative: the newest), at the key ``start`` below the prefix."""

    revision: int
    start: str

    def encode(self) -> str:
        token = {"v": _TOKEN_VERSION, "rv": self.revision, "start": self.start}
        return base64.urlsafe_b64encode(orjson.dumps(token)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "Continue":
        token = _document(text)
        version, revision, start = token.get("v", ""), token.get("rv", 0), token.get("start", "")
        if version != _TOKEN_VERSION:
            why = f": server does not recognize this encoded version {version}"
            raise errors.bad_request(_INVALID_TOKEN + why)
        if not isinstance(revision, int) or not isinstance(start, str) or not -(1 << 63) <= revision < 1 << 63:
            raise errors.bad_request(
                f"{_INVALID_TOKEN}: json: cannot unmarshal into Go value of type storage.continueToken"
            )
        if not revision:
            why = f": incorrect encoded start resourceVersion (version {_TOKEN_VERSION})"
            raise errors.bad_request(_INVALID_TOKEN + why)
        if not start:
            raise errors.bad_request(f"{_INVALID_TOKEN}: encoded start key empty (version {_TOKEN_VERSION})")
        rooted = start if start.startswith("/") else f"/{start}"
        if rooted.startswith("//") or posixpath.normpath(rooted) != rooted:
            raise errors.bad_request(f"{_INVALID_TOKEN}: {start}")  # nobody reads beyond the prefix
        return cls(revision, rooted[1:])


def _document(text: str) -> dict[str, object]:
    try:
        if not text.isascii() or len(text) % 4 == 1:
            raise ValueError
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise errors.bad_request(f"{_INVALID_TOKEN}: illegal base64 data at input byte {_illegal(text)}") from None
    try:
        token = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise errors.bad_request(f"{_INVALID_TOKEN}: {_go_complaint(raw)}") from None
    if not isinstance(token, dict):
        raise errors.bad_request(
            f"{_INVALID_TOKEN}: json: cannot unmarshal into Go value of type storage.continueToken"
        )
    return token


def _illegal(text: str) -> int:
    """Where Go's decoder stops."""
    for at, character in enumerate(text):
        if not (character.isascii() and (character.isalnum() or character in "-_")):
            return at
    return len(text) - 1


def _go_complaint(raw: bytes) -> str:
    from apimachinery.schema import DecodeError, parse_json

    try:
        parse_json(raw)
    except DecodeError as error:
        return str(error).removeprefix("json parse error: ")
    raise AssertionError("orjson has refused it")


def check_list_options(query: dict[str, str], *, watch: bool) -> None:
    """The combinations that upstream refuses (``ValidateListOptions``), as a 422 on ``ListOptions``."""
    match, initial = query.get("resourceVersionMatch", ""), query.get("sendInitialEvents")
    found: list[FieldError] = []
    if watch:
        found += _check_watch(match, initial, query.get("continue", ""))
    else:
        if match:
            found += _check_match(match, query.get("resourceVersion", ""), query.get("continue", ""))
        if initial is not None:
            found.append(errors.forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if found:
        raise _invalid_options(found)


def _check_watch(match: str, initial: str | None, token: str) -> list[FieldError]:
    field = "resourceVersionMatch"
    found: list[FieldError] = []
    if initial is not None and match != "NotOlderThan":
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        found.append(errors.forbidden_field(field, text))
    if not match:
        return found
    if initial is None:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(errors.forbidden_field(field, text))
    if match != "NotOlderThan":
        found.append(errors.not_supported(field, match, ["NotOlderThan"]))
    if token:
        found.append(errors.forbidden_field(field, "resourceVersionMatch is forbidden when continue is provided"))
    return found


def _check_match(match: str, version: str, token: str) -> list[FieldError]:
    field = "resourceVersionMatch"
    found: list[FieldError] = []
    if not version:
        text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(errors.forbidden_field(field, text))
    if token:
        found.append(errors.forbidden_field(field, "resourceVersionMatch is forbidden when continue is provided"))
    if match not in ("Exact", "NotOlderThan"):
        found.append(errors.not_supported(field, match, ["Exact", "NotOlderThan", ""]))
    if match == "Exact" and version == "0":
        text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(errors.forbidden_field(field, text))
    return found


def _invalid_options(found: list[FieldError]) -> StatusError:
    text = 'ListOptions.meta.k8s.io "" is invalid: ' + errors.aggregate(map(str, found))
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [e.cause() for e in found]}
    return StatusError(422, "Invalid", text, details)
