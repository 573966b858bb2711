"""``/scale``: an autoscaling/v1 ``Scale`` as a view of a workload's replicas, read, written and patched."""

from typing import Any

from apimachinery import errors
from apimachinery.schema import decode_object, schema_of_kind
from apiserver.context import Context
from apiserver.handlers import commit, decode
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.patch import read_patch, rejected
from apiserver.handlers.update import admitted_update
from apiserver.registry.scale import apply_scale, scale_of, validate_scale
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
_SCALE = ("autoscaling", "v1", "Scale")


async def get(request: Request, endpoint: Endpoint, context: Context) -> Response:
    info = request.info
    await endpoint.cacher.consistent()
    entry = endpoint.cache.get(endpoint.key(info.namespace, info.name))
    if entry is None:
        raise endpoint.not_found(info.name)
    return json_response(scale_of(endpoint.decode_entry(entry)), request)


async def update(request: Request, endpoint: Endpoint, context: Context) -> Response:
    scale = await decode.read(request, endpoint.resource, kind=_SCALE)
    name = (scale.get("metadata") or {}).get("name") or request.info.name
    if name != request.info.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({request.info.name})"
        )
    return await _write(request, endpoint, context, lambda current: scale)


async def patch(request: Request, endpoint: Endpoint, context: Context) -> Response:
    schema = schema_of_kind(*_SCALE)
    assert schema is not None, "Scale is part of the schema data"
    patcher = await read_patch(request, schema)

    def patched(current: Object) -> Object:
        document = patcher(scale_of(current))
        if not isinstance(document, dict):
            raise rejected("the patched document is not an object")
        return decode_object(document, endpoint.resource, kind=_SCALE).obj

    return await _write(request, endpoint, context, patched)


async def _write(request: Request, endpoint: Endpoint, context: Context, wanted: Any) -> Response:
    info = request.info
    dry_run = decode.dry_run(request)

    async def modify(current: Object) -> Object:
        scale = wanted(current)
        if found := validate_scale(scale):
            raise errors.invalid(endpoint.resource, info.name, found, kind="Scale")
        new = copy_of(current)
        apply_scale(new, scale)
        metadata = scale.get("metadata") or {}
        new["metadata"]["resourceVersion"] = metadata.get("resourceVersion") or ""
        if metadata.get("uid"):
            new["metadata"]["uid"] = metadata["uid"]
        return await admitted_update(request, endpoint, context.admission, new, current, None, dry_run=dry_run)

    key = endpoint.key(info.namespace, info.name)
    updated = await commit.update(endpoint, key, info.name, modify, dry_run=dry_run)
    return json_response(scale_of(updated), request)
