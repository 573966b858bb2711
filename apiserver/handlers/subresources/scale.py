"""``/scale``: an autoscaling/v1 ``Scale`` as a view of a workload's replicas, read, written, patched and applied.

Whoever writes a Scale owns ``spec.replicas`` of the workload: owners are translated to the Scale and back.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from apimachinery import errors
from apimachinery.apply import FieldManager
from apimachinery.apply.managed import ManagedFieldsError
from apimachinery.apply.scale import to_object, to_scale
from apimachinery.schema import Schema, decode_object, schema_of_kind
from apiserver.context import Context
from apiserver.handlers import commit, decode
from apiserver.handlers.decode import Options
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.patch import applies, read_patch
from apiserver.handlers.update import admitted_update, check_name, check_uid
from apiserver.registry.scale import apply_scale, scale_of, validate_scale
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
_SCALE = ("autoscaling", "v1", "Scale")
#: From the Scale that is to the one that is wanted, with its owners.
Wanted = Callable[[Object], Object]


def _schema() -> Schema:
    schema = schema_of_kind(*_SCALE)
    assert schema is not None, "Scale is part of the schema data"
    return schema


@cache
def _fields() -> FieldManager:
    group, version, kind = _SCALE
    return FieldManager(_schema(), group, version, kind, subresource="scale")


async def get(request: Request, endpoint: Endpoint, context: Context) -> Response:
    info = request.info
    await endpoint.cacher.consistent()
    entry = endpoint.cache.get(endpoint.key(info.namespace, info.name))
    if entry is None:
        raise endpoint.not_found(info.name)
    return json_response(scale_of(endpoint.decode_entry(entry)), request)


async def update(request: Request, endpoint: Endpoint, context: Context) -> Response:
    options = decode.options(request)
    sent = await decode.read(request, endpoint.resource, options.validation, kind=_SCALE)
    sent.setdefault("metadata", {})
    check_name(sent, request.info.name)

    def wanted(current: Object) -> Object:
        check_uid(endpoint, sent, current)
        return _fields().update(current, sent, options.manager)

    return await _write(request, endpoint, context, wanted, options)


async def patch(request: Request, endpoint: Endpoint, context: Context) -> Response:
    if applies(request):
        return await _apply(request, endpoint, context)
    options = decode.options(request)
    sent = await read_patch(request, _schema(), options)

    def wanted(current: Object) -> Object:
        patched = sent.patched(request, current, endpoint.resource, _SCALE)
        return _fields().update(current, patched, options.manager)

    return await _write(request, endpoint, context, wanted, options)


async def _apply(request: Request, endpoint: Endpoint, context: Context) -> Response:
    from apiserver.handlers.apply import read_configuration

    options = decode.options(request, applying=True)
    config = await read_configuration(request, options)

    def wanted(current: Object) -> Object:
        applied = _fields().apply(current, config, options.manager, force=options.force)
        return decode_object(applied, endpoint.resource, kind=_SCALE).obj

    return await _write(request, endpoint, context, wanted, options)


async def _write(request: Request, endpoint: Endpoint, context: Context, wanted: Wanted, options: Options) -> Response:
    info = request.info
    before = len(request.warnings)

    async def modify(current: Object) -> Object:
        del request.warnings[before:]  # of an attempt that lost a race
        owners = current["metadata"].get("managedFields") or []
        new = copy_of(current)
        metadata = new["metadata"]
        try:
            shown = scale_of(current)
            shown["metadata"]["managedFields"] = to_scale(owners, endpoint.resource.api_version)
            scale = wanted(shown)
            left = to_object(owners, scale["metadata"].get("managedFields") or [], endpoint.resource.api_version)
            metadata["managedFields"] = left
        except ManagedFieldsError as error:
            raise errors.StatusError(500, "", f"failed to decode managed fields: {error}") from None
        if not left:
            del metadata["managedFields"]
        if found := validate_scale(scale):
            raise errors.invalid(endpoint.resource, info.name, found, kind="Scale")
        apply_scale(new, scale)
        metadata["resourceVersion"] = scale["metadata"].get("resourceVersion") or ""
        return await admitted_update(request, endpoint, context.admission, new, current, None, options, owned=True)

    key = endpoint.key(info.namespace, info.name)
    updated = await commit.update(endpoint, key, info.name, modify, dry_run=options.dry_run)
    return json_response(scale_of(updated), request)
