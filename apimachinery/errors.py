"""Errors of the API: a ``Status`` with upstream's code, reason and text, and the field errors inside a 422.

Every component reads and writes these: the API server raises them, ``kubeclient`` turns an answer back into one.
The texts are upstream's (``k8s.io/apimachinery/pkg/api/errors`` and ``.../util/validation/field``), because
people search for them and scripts match them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apimachinery.resources import Resource


class StatusError(Exception):
    """An API call that failed: carries everything of the ``Status`` object that describes it."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The body that goes over the wire."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body

    @classmethod
    def from_status(cls, status: dict[str, Any], code: int = 500) -> "StatusError":
        """The error that a received ``Status`` describes; ``code`` when the body names none."""
        return cls(
            int(status.get("code") or code),
            status.get("reason") or "",
            status.get("message") or "",
            status.get("details"),
        )

    @property
    def causes(self) -> list[dict[str, Any]]:
        return (self.details or {}).get("causes") or []

    @property
    def retry_after_seconds(self) -> int:
        return int((self.details or {}).get("retryAfterSeconds") or 0)


# --- field errors -----------------------------------------------------------------------------------------------

_TITLES = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"}


class Literal(str):
    """A bad value that is printed as it stands, where upstream prints something other than a quoted string."""


#: The bad value of an error about a combination of fields: nothing is printed for it.
OMITTED = Literal("")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field. ``type`` is the reason that ``details.causes`` carries."""

    type: str
    field: str
    bad_value: Any = None
    detail: str = ""

    @property
    def body(self) -> str:
        """The message without the field's path."""
        text = _TITLES[self.type]
        if self.type not in _WITHOUT_VALUE and self.bad_value is not OMITTED:
            text += ": " + render_value(self.bad_value)
        if self.detail:
            text += ": " + self.detail
        return text

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"

    def cause(self) -> dict[str, Any]:
        return {"reason": self.type, "message": self.body, "field": self.field}


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "", detail)


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, value, detail)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    names = ", ".join(quote(s) for s in supported)
    return FieldError("FieldValueNotSupported", field, value, f"supported values: {names}" if names else "")


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, value)


def forbidden_field(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueForbidden", field, "", detail)


def not_found_value(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, value)


def too_long(field: str, limit: int) -> FieldError:
    detail = f"may not be more than {limit} bytes" if limit >= 0 else "value is too long"
    return FieldError("FieldValueTooLong", field, Literal("<value omitted>"), detail)


def too_many(field: str, actual: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", field, actual, f"must have at most {limit} items")


_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def quote(text: str) -> str:
    """A double-quoted string with the escapes of Go's ``%q``."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_quote_rune(c) for c in text) + '"'


def _quote_rune(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if c.isprintable():
        return c
    n = ord(c)
    return f"\\x{n:02x}" if n < 0x80 else f"\\u{n:04x}" if n < 0x10000 else f"\\U{n:08x}"


def render_value(value: Any) -> str:
    """A value as upstream prints it in an error. Maps and lists of strings look like Go literals."""
    if isinstance(value, Literal):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return "map[string]string{" + ", ".join(f"{quote(k)}:{quote(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return "[]string{" + ", ".join(map(quote, value)) + "}"
    if isinstance(value, dict | list | tuple):
        import orjson  # only ever needed for an error about a whole structure

        return orjson.dumps(value).decode()
    return str(value)


def aggregate(messages: Iterable[str]) -> str:
    """Several errors as one text: upstream drops repetitions and puts brackets round more than one."""
    distinct = list(dict.fromkeys(messages))
    return distinct[0] if len(distinct) == 1 else "[" + ", ".join(distinct) + "]"


# --- status errors ----------------------------------------------------------------------------------------------


def _details(resource: Resource | None, name: str = "", **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if resource is not None:
        if resource.group:
            details["group"] = resource.group
        details["kind"] = resource.plural
    details.update((k, v) for k, v in more.items() if v)
    return details


def not_found(resource: Resource, name: str) -> StatusError:
    text = f"{resource.group_resource} {quote(name)} not found"
    return StatusError(404, "NotFound", text, _details(resource, name))


def already_exists(resource: Resource, name: str) -> StatusError:
    text = f"{resource.group_resource} {quote(name)} already exists"
    return StatusError(409, "AlreadyExists", text, _details(resource, name))


def generate_name_conflict(resource: Resource, name: str) -> StatusError:
    text = (
        f"{resource.group_resource} {quote(name)} already exists, "
        "the server was not able to generate a unique name for the object"
    )
    return StatusError(409, "AlreadyExists", text, _details(resource, name, retryAfterSeconds=1))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> StatusError:
    text = f"Operation cannot be fulfilled on {resource.group_resource} {quote(name)}: {why}"
    return StatusError(409, "Conflict", text, _details(resource, name))


def apply_conflict(causes: Sequence[dict[str, Any]], message: str) -> StatusError:
    return StatusError(409, "Conflict", message, {"causes": list(causes)})


def invalid(resource: Resource, name: str, errors: Sequence[FieldError], kind: str = "") -> StatusError:
    """422 with one cause for each field error. ``kind`` is named where it is not the resource's own."""
    kind = kind or resource.kind
    qualified = f"{kind}.{resource.group}" if resource.group else kind
    text = f"{qualified} {quote(name)} is invalid"
    if errors:
        text += ": " + aggregate(map(str, errors))
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = kind
    if errors:
        details["causes"] = [e.cause() for e in errors]
    return StatusError(422, "Invalid", text, details)


def bad_request(why: str) -> StatusError:
    return StatusError(400, "BadRequest", why)


def unauthorized(why: str = "Unauthorized") -> StatusError:
    return StatusError(401, "Unauthorized", why)


def forbidden(resource: Resource | None, name: str, why: str) -> StatusError:
    if resource is None:
        text = f"forbidden: {why}"
    elif name:
        text = f"{resource.group_resource} {quote(name)} is forbidden: {why}"
    else:
        text = f"{resource.group_resource} is forbidden: {why}"
    return StatusError(403, "Forbidden", text, _details(resource, name))


def method_not_supported(resource: Resource, action: str) -> StatusError:
    text = f"{action} is not supported on resources of kind {quote(resource.group_resource)}"
    return StatusError(405, "MethodNotAllowed", text, _details(resource))


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    text = "only the following media types are accepted: " + ", ".join(accepted)
    return StatusError(406, "NotAcceptable", text)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    text = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return StatusError(415, "UnsupportedMediaType", text)


def gone(why: str) -> StatusError:
    return StatusError(410, "Gone", why)


def expired(why: str) -> StatusError:
    return StatusError(410, "Expired", why)


def timeout(why: str, retry_after_seconds: int = 0) -> StatusError:
    return StatusError(504, "Timeout", f"Timeout: {why}", _details(None, retryAfterSeconds=retry_after_seconds))


def server_timeout(resource: Resource, operation: str, retry_after_seconds: int = 0) -> StatusError:
    text = (
        f"The {operation} operation against {resource.group_resource} "
        "could not be completed at this time, please try again."
    )
    details = _details(resource, operation, retryAfterSeconds=retry_after_seconds)
    return StatusError(500, "ServerTimeout", text, details)


def too_many_requests(why: str, retry_after_seconds: int = 1) -> StatusError:
    return StatusError(429, "TooManyRequests", why, _details(None, retryAfterSeconds=retry_after_seconds))


def too_large(why: str) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {why}")


def service_unavailable(why: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", why)


def internal(why: str) -> StatusError:
    return StatusError(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})
