"""From a request's body to an object: media type, ``fieldValidation`` (Strict, Warn, Ignore), options common to writes."""

from functools import lru_cache
from typing import Any, NamedTuple

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


async def read(request: Request, resource: Resource, validation: str, *, kind: Kind | None = None) -> Object:
    """The body as an object of the resource (``kind``: where a subresource takes another kind)."""
    media = media_type(request) or JSON
    if media not in WRITABLE:
        raise errors.unsupported_media_type(WRITABLE)
    body = await request.body()
    if media == PROTOBUF:
        decoded = decode_object(from_protobuf(body), resource, kind=kind)
    else:
        decoded = read_object(body, resource, yaml=media == YAML, kind=kind)
    judge(request, decoded, resource, validation)
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


class Options(NamedTuple):
    """What the query of a write says besides the body."""

    dry_run: bool = False
    validation: str = "Warn"
    """``fieldValidation``: Strict, Warn or Ignore."""
    manager: str = ""
    """Who is to own what is written: ``fieldManager``, or what the client calls itself."""
    force: bool = False
    """An apply may take fields from their owners."""


def options(request: Request, *, applying: bool = False) -> Options:
    """Raises upstream's 422 with everything that is wrong with them."""
    agent = request.header(b"user-agent")
    if not request.scope["query_string"] and not applying:
        return Options(manager=manager_from_agent(agent))
    query, found = request.query, []
    if not applying and request.method == "PATCH" and "force" in query:
        found.append(errors.forbidden_field("force", "may not be specified for non-apply patch"))
    manager = query.get("fieldManager", "")
    if applying and not manager:
        found.append(errors.required("fieldManager", "is required for apply patch"))
    found += _manager_errors(manager)
    dry_run = request.query_all("dryRun")
    if any(value not in ("", "All") for value in dry_run):
        found.append(errors.not_supported("dryRun", dry_run, ["All"]))
    validation = query.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Warn", "Strict"):
        found.append(errors.not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    if found:
        raise options_invalid(_options_kind(request), found)
    return Options(
        "All" in dry_run, validation or "Warn", manager or manager_from_agent(agent), applying and request.flag("force")
    )


#: Upstream's limit for a manager's name, in bytes.
_MANAGER_LIMIT = 128


def _manager_errors(manager: str) -> list[FieldError]:
    found = []
    if len(manager.encode()) > _MANAGER_LIMIT:
        found.append(errors.too_long("fieldManager", _MANAGER_LIMIT))
    for i, character in enumerate(manager):
        if not character.isprintable():
            at = len(manager[:i].encode())
            why = f"invalid character U+{ord(character):04X} (at position {at})"
            found.append(errors.invalid_value("fieldManager", manager, why))
    return found


@lru_cache(maxsize=256)
def manager_from_agent(agent: str) -> str:
    """The manager's name of a client that gives none: its ``User-Agent`` up to the first slash."""
    printable = "".join(filter(str.isprintable, agent.partition("/")[0]))
    return printable.encode()[:_MANAGER_LIMIT].decode(errors="ignore")


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
