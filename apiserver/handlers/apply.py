"""apply: a configuration in YAML or JSON that says what its manager wants, and nothing else (server-side apply).

What is not there is created. The configuration is looked at as it came, before any decoding: the merged object is what
gets decoded, defaulted and checked.
"""

from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError
from apimachinery.schema import DecodeError, decode_typed, parse_json, parse_yaml
from apiserver.admission import Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.create import create_object, place, written
from apiserver.handlers.decode import Options
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.update import CheckCreate, Prepare, admitted_update, check_name
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]
#: How often an object is looked for again that is created, or goes away, meanwhile.
_ATTEMPTS = 5


async def apply(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    prepare: Prepare | None,
    lease: int,
    check_create: CheckCreate | None,
) -> Response:
    """``prepare`` is the subresource's own; what has a ``check_create`` may be created."""
    info = request.info
    negotiate(request.header(b"accept"), collection=False)
    options = decode.options(request, applying=True)
    config = await read_configuration(request, options)
    key = endpoint.key(info.namespace, info.name)
    before = len(request.warnings)

    async def modify(current: Object) -> Object:
        del request.warnings[before:]  # of an attempt that lost a race
        new = _merged(request, endpoint, current, config, options)
        return await admitted_update(request, endpoint, chain, new, current, prepare, options, owned=True)

    for attempt in range(_ATTEMPTS):
        try:
            updated = await commit.update(
                endpoint, key, info.name, modify, dry_run=options.dry_run, lease=lease, shed=False
            )
            return written(request, endpoint, updated)
        except StatusError as error:
            if error.code != 404 or check_create is None:
                raise
        new = _merged(request, endpoint, None, config, options)
        if uid := new["metadata"].get("uid"):
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise errors.conflict(endpoint.resource, info.name, why)
        check_create(request)
        new["metadata"].pop("resourceVersion", None)
        try:
            created = await create_object(request, endpoint, chain, new, options, lease=lease, applied=True)
            return written(request, endpoint, created, 201)
        except StatusError as error:
            if error.reason != "AlreadyExists" or attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


async def read_configuration(request: Request, options: Options) -> Object:
    """The body, as it is. Keys that are given twice are what ``fieldValidation`` complains about."""
    body = await request.body()
    try:
        # kubectl sends JSON, for which there is a faster parser.
        config, twice = parse_json(body) if body.startswith(b"{") else (None, ["not JSON"])
    except DecodeError:
        twice = ["not JSON either"]
    try:
        if twice:
            config, twice = parse_yaml(body)
    except DecodeError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(config, dict):
        kind = "array" if isinstance(config, list) else "string" if isinstance(config, str) else "number"
        text = f"error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type "
        raise errors.bad_request(f"error decoding YAML: {text}map[string]interface {{}}")
    if twice and options.validation == "Strict":
        raise errors.bad_request("error strict decoding YAML: error converting YAML to JSON: " + ", ".join(twice))
    if options.validation == "Warn":
        request.warnings += [f"error converting YAML to JSON: {text}" for text in twice]
    return config


def _merged(request: Request, endpoint: Endpoint, live: Object | None, config: Object, options: Options) -> Object:
    """The object that the configuration makes of the live one, with its owners, in the stored version."""
    fields = endpoint.fields(request.info.subresource)
    if live is not None:
        live = copy_of(endpoint.to_served(live))  # the merged object shares parts with it
    merged = fields.apply(live, config, options.manager, force=options.force)
    try:
        new = decode_typed(merged, endpoint.resource).obj
    except DecodeError as error:
        metadata = config.get("metadata") or {}
        what = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; {fields.gvk}"
        why = f"failed to convert new object ({what}) to proper version ({fields.api_version}): {error.converting}"
        raise StatusError(500, "", why) from None
    new = endpoint.to_stored(new)
    place(new, endpoint, request.info.namespace)
    check_name(new, request.info.name)
    return new
