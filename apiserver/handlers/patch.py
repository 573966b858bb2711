"""patch: JSON patch, JSON merge patch, strategic merge patch and apply, on an object or a subresource of it."""

from typing import Any

import orjson

from apimachinery import errors, patch
from apimachinery.errors import StatusError
from apimachinery.resources import Resource
from apimachinery.schema import DecodeError, Schema, decode_typed, parse_json, schema_for
from apiserver.admission import Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.create import place, written
from apiserver.handlers.decode import Options
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.update import CheckCreate, Prepare, admitted_update, check_name
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]
ACCEPTED = (patch.JSON_PATCH, patch.MERGE_PATCH, patch.STRATEGIC_MERGE_PATCH, patch.APPLY_PATCH)


async def patch_object(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    prepare: Prepare | None = None,
    lease: int = 0,
    check_create: CheckCreate | None = None,
) -> Response:
    """``prepare`` is the subresource's own; without one the object itself is patched."""
    info = request.info
    if applies(request):
        from apiserver.handlers import apply  # most servers of a cluster's life never see one

        return await apply.apply(request, endpoint, chain, prepare, lease, check_create)
    negotiate(request.header(b"accept"), collection=False)
    options = decode.options(request)
    sent = await read_patch(request, schema_for(endpoint.resource), options)
    key = endpoint.key(info.namespace, info.name)
    before = len(request.warnings)

    async def modify(current: Object) -> Object:
        del request.warnings[before:]  # of an attempt that lost a race
        new = endpoint.to_stored(sent.patched(request, endpoint.to_served(current), endpoint.resource))
        place(new, endpoint, info.namespace)
        check_name(new, info.name)
        return await admitted_update(request, endpoint, chain, new, current, prepare, options)

    updated = await commit.update(endpoint, key, info.name, modify, dry_run=options.dry_run, lease=lease)
    return written(request, endpoint, updated)


def applies(request: Request) -> bool:
    """Whether it is an apply patch. 415 for a media type that is no patch."""
    media = decode.media_type(request)
    if media not in ACCEPTED:
        raise errors.unsupported_media_type(ACCEPTED)
    return media == patch.APPLY_PATCH


class Patch:
    """A patch that could be read. ``strict``: what ``fieldValidation`` has to complain about in the patch itself."""

    def __init__(self, media: str, document: Any, schema: Schema, validation: str, strict: list[str]) -> None:
        self._media = media
        self._document = document
        self._schema = schema
        self._validation = validation
        self._strict = strict
        self._about_owners = media == patch.JSON_PATCH and _names_owners(document)

    def patched(self, request: Request, current: Object, resource: Resource, kind: decode.Kind | None = None) -> Object:
        """A new object; the current one stays as it is. 422 for what the patch has made of it when that is no such object."""
        if not self._about_owners:
            # To leave them out is to leave them alone, and they are half of many an object.
            metadata = {k: v for k, v in current["metadata"].items() if k != "managedFields"}
            current = {**current, "metadata": metadata}
        try:
            document = self._apply(current)
        except patch.PatchError as error:
            raise _refused(error) from None
        if not isinstance(document, dict):
            raise self._unfit(document, "json: cannot unmarshal into Go value: the patched document is not an object")
        try:
            decoded = decode_typed(document, resource, kind=kind)
        except DecodeError as error:
            strategic = self._media == patch.STRATEGIC_MERGE_PATCH
            raise self._unfit(document, error.converting if strategic else str(error)) from None
        except StatusError as error:
            raise self._unfit(document, error.message) from None
        strict = self._strict + decoded.strict
        if strict and self._validation == "Strict":
            raise self._unfit(document, "strict decoding error: " + ", ".join(strict))
        if self._validation == "Warn":
            request.warnings += strict
        decoded.obj.setdefault("metadata", {})
        return decoded.obj

    def _apply(self, current: Object) -> Any:
        # Imported here: most processes of a cluster's life see one or two of the three.
        from apimachinery.patch import json_merge, json_patch, strategic

        if self._media == patch.JSON_PATCH:
            return json_patch.apply(current, self._document)
        if self._media == patch.MERGE_PATCH:
            return json_merge.apply(copy_of(current), self._document)
        return strategic.apply(current, self._document, self._schema)

    def _unfit(self, document: Any, why: str) -> StatusError:
        """Upstream shows the patched document, or the patch where that is strategic."""
        if self._media == patch.STRATEGIC_MERGE_PATCH:
            from apimachinery.patch.strategic import go_map

            shown = go_map(self._document)
        else:
            shown = orjson.dumps(document).decode()
        found = errors.invalid_value("patch", shown, why)
        return StatusError(422, "Invalid", f' "" is invalid: {found}', {"causes": [found.cause()]})


async def read_patch(request: Request, schema: Schema, options: Options) -> Patch:
    """400 for a body that cannot be read."""
    media = decode.media_type(request)
    complaint = "" if media == patch.STRATEGIC_MERGE_PATCH else "error decoding patch: "
    try:
        document, twice = parse_json(await request.body())
    except DecodeError as error:
        raise errors.bad_request(complaint + str(error)) from None
    if media != patch.JSON_PATCH and not isinstance(document, dict):
        raise errors.bad_request(f"{complaint}the patch has to be an object")
    prefix = "json patch " if media == patch.JSON_PATCH else ""
    strict = [f"{prefix}duplicate field {errors.quote(path)}" for path in twice]
    return Patch(media, document, schema, options.validation, strict)


def _names_owners(operations: Any) -> bool:
    """Whether a JSON patch reads or writes managedFields."""
    if not isinstance(operations, list):
        return False
    pointers = [o.get(member) for o in operations if isinstance(o, dict) for member in ("path", "from")]
    return any(p in ("", "/metadata") or str(p).startswith("/metadata/managedFields") for p in pointers)


def _refused(error: patch.PatchError) -> StatusError:
    if error.code == 422:
        # Upstream keeps to itself what was wrong.
        return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    if error.code == 413:
        return StatusError(413, "RequestEntityTooLarge", str(error))
    return errors.bad_request(str(error))
