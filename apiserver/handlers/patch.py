"""patch: JSON patch, JSON merge patch and strategic merge patch, on an object or a subresource of it."""

from collections.abc import Callable
from typing import Any

from apimachinery import errors, patch
from apimachinery.errors import StatusError
from apimachinery.resources import Resource
from apimachinery.schema import DecodeError, Schema, decode_object, parse_json, schema_for
from apiserver.admission import Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.create import written
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.update import Prepare, admitted_update
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]
ACCEPTED = (patch.JSON_PATCH, patch.MERGE_PATCH, patch.STRATEGIC_MERGE_PATCH)

#: From the current document to the patched one; does not change its argument.
Patcher = Callable[[Object], Object]


async def patch_object(
    request: Request, endpoint: Endpoint, chain: Chain, prepare: Prepare | None = None, lease: int = 0
) -> Response:
    """``prepare`` is the subresource's own; without one the object itself is patched."""
    info = request.info
    negotiate(request.header(b"accept"), collection=False)
    dry_run = decode.dry_run(request)
    mode = decode.field_validation(request)
    patcher = await read_patch(request, schema_for(endpoint.resource))
    key = endpoint.key(info.namespace, info.name)
    before = len(request.warnings)

    async def modify(current: Object) -> Object:
        del request.warnings[before:]  # of an attempt that lost a race
        patched = patcher(endpoint.to_served(current))
        new = endpoint.to_stored(decode_patched(request, patched, endpoint.resource, mode))
        return await admitted_update(request, endpoint, chain, new, current, prepare, dry_run=dry_run)

    updated = await commit.update(endpoint, key, info.name, modify, dry_run=dry_run, lease=lease)
    return written(request, endpoint, updated)


def decode_patched(request: Request, patched: Object, resource: Resource, mode: str) -> Object:
    """The patched document as an object: a patch may have made anything of it."""
    if not isinstance(patched, dict):
        raise rejected("the patched document is not an object")
    try:
        decoded = decode_object(patched, resource)
    except StatusError as error:
        raise rejected(error.message) from None
    decode.judge(request, decoded, resource, mode)
    decoded.obj.setdefault("metadata", {})
    return decoded.obj


async def read_patch(request: Request, schema: Schema) -> Patcher:
    """The function that the body describes. 415 for a media type that is no patch, 400 for a body that cannot be read."""
    media = decode.media_type(request)
    if media not in ACCEPTED:
        raise errors.unsupported_media_type(ACCEPTED)
    try:
        document, twice = parse_json(await request.body())
    except DecodeError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None
    if media != patch.JSON_PATCH and not isinstance(document, dict):
        raise errors.bad_request("error decoding patch: the patch has to be an object")
    if twice:
        _judge_duplicates(request, twice)

    def patcher(current: Object) -> Object:
        try:
            return _apply(media, current, document, schema)
        except patch.PatchError as error:
            raise rejected(str(error)) if error.code == 422 else errors.bad_request(str(error)) from None

    return patcher


def _apply(media: str, current: Object, document: Any, schema: Schema) -> Object:
    # Imported here: most processes of a cluster's life see one or two of the three.
    from apimachinery.patch import json_merge, json_patch, strategic

    if media == patch.JSON_PATCH:
        patched: Object = json_patch.apply(copy_of(current), document)
    elif media == patch.MERGE_PATCH:
        patched = json_merge.apply(copy_of(current), document)
    else:
        patched = strategic.apply(current, document, schema)
    return patched


def _judge_duplicates(request: Request, paths: list[str]) -> None:
    found = [f"duplicate field {errors.quote(path)}" for path in paths]
    mode = decode.field_validation(request)
    if mode == "Strict":
        raise errors.bad_request("strict decoding error: " + ", ".join(found))
    if mode == "Warn":
        request.warnings += found


def rejected(why: str) -> StatusError:
    """Upstream's answer to a patch that can be read but not applied."""
    details = {"causes": [{"reason": "UnexpectedServerResponse", "message": why}]}
    text = f"the server rejected our request due to an error in our request: {why}"
    return StatusError(422, "Invalid", text, details)
