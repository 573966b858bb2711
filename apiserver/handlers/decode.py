"""From a request's body to an object: media type, ``fieldValidation`` (Strict, Warn, Ignore), options common to writes."""

from typing import Any

from apimachinery import errors
from apimachinery.errors import FieldError, StatusError
from apimachinery.resources import Resource
from apimachinery.schema import Decoded, decode_object, read_object, strict_error
from apiserver.request import Request

Object = dict[str, Any]
Kind = tuple[str, str, str]
JSON, YAML = "application/json", "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
WRITABLE = (JSON, YAML, PROTOBUF)


def media_type(request: Request) -> str:
    return request.header(b"content-type").partition(";")[0].strip().lower()


async def read(request: Request, resource: Resource, *, kind: Kind | None = None) -> Object:
    """The body as an object of the resource (``kind``: where a subresource takes another kind)."""
    media = media_type(request) or JSON
    if media not in WRITABLE:
        raise errors.unsupported_media_type(WRITABLE)
    mode = field_validation(request)
    body = await request.body()
    if media == PROTOBUF:
        decoded = decode_object(from_protobuf(body), resource, kind=kind)
    else:
        decoded = read_object(body, resource, yaml=media == YAML, kind=kind)
    judge(request, decoded, resource, mode)
    return decoded.obj


def from_protobuf(body: bytes) -> Object:
    from apiserver.protobuf import MalformedBody, decode_body  # hardly a client sends protobuf: loaded when one does

    try:
        return decode_body(body)
    except MalformedBody as error:
        raise errors.bad_request(str(error)) from None


def judge(request: Request, decoded: Decoded, resource: Resource, mode: str) -> None:
    """Unknown and duplicate fields: an error, a warning each, or nothing."""
    if not decoded.strict or mode == "Ignore":
        return
    if mode == "Strict":
        raise strict_error(decoded, decoded.obj["kind"], resource.version)
    request.warnings += decoded.strict


def field_validation(request: Request) -> str:
    mode = request.query.get("fieldValidation", "") or "Warn"
    if mode not in ("Ignore", "Warn", "Strict"):
        found = errors.not_supported("fieldValidation", mode, ["", "Ignore", "Strict", "Warn"])
        raise options_invalid(_options_kind(request), [found])
    return mode


def dry_run(request: Request, options: Object | None = None) -> bool:
    """``dryRun=All`` in the query or the options; anything else is refused."""
    if options is None and "dryRun" not in request.query:
        return False
    values = [*request.query_all("dryRun"), *((options or {}).get("dryRun") or ())]
    for value in values:
        if value not in ("", "All"):
            raise options_invalid(_options_kind(request), [errors.not_supported("dryRun", values, ["All"])])
    return "All" in values


def _options_kind(request: Request) -> str:
    return {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}.get(
        request.method, "DeleteOptions"
    )


def options_invalid(kind: str, found: list[FieldError]) -> StatusError:
    text = f'{kind}.meta.k8s.io "" is invalid: ' + errors.aggregate(map(str, found))
    details = {"group": "meta.k8s.io", "kind": kind, "causes": [e.cause() for e in found]}
    return StatusError(422, "Invalid", text, details)
