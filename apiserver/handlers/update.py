"""update: PUT of a whole object or of its status."""

from collections.abc import Callable
from typing import Any

from apimachinery import errors
from apiserver.admission import Attributes, Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.create import create_object, place, written
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]
#: The strategy's word on an update, ``before_update`` unless a subresource has its own.
Prepare = Callable[[Object, Object], None]


async def update(
    request: Request, endpoint: Endpoint, chain: Chain, prepare: Prepare | None = None, lease: int = 0
) -> Response:
    """``prepare`` is the subresource's own; without one this is an update of the object itself."""
    info = request.info
    negotiate(request.header(b"accept"), collection=False)
    dry_run = decode.dry_run(request)
    obj = endpoint.to_stored(await decode.read(request, endpoint.resource))
    obj.setdefault("metadata", {})
    place(obj, endpoint, info.namespace)
    check_name(obj, info.name)
    key = endpoint.key(info.namespace, info.name)

    async def modify(current: Object) -> Object:
        new = copy_of(obj)
        return await admitted_update(request, endpoint, chain, new, current, prepare, dry_run=dry_run)

    try:
        updated = await commit.update(endpoint, key, info.name, modify, dry_run=dry_run, lease=lease)
    except errors.StatusError as error:
        if error.code != 404 or prepare is not None or not endpoint.strategy.allow_create_on_update:
            raise
        if obj["metadata"].get("uid") or obj["metadata"].get("resourceVersion"):
            raise
        created = await create_object(request, endpoint, chain, obj, dry_run=dry_run, lease=lease)
        return written(request, endpoint, created, 201)
    return written(request, endpoint, updated)


async def admitted_update(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    new: Object,
    current: Object,
    prepare: Prepare | None,
    *,
    dry_run: bool,
) -> Object:
    """Defaults, preconditions, admission and rules: what every kind of update goes through."""
    strategy, info = endpoint.strategy, request.info
    check_preconditions(endpoint, new, current)
    strategy.default(new)
    attributes = Attributes(
        "UPDATE", endpoint.resource, new, current, request.user,
        namespace=info.namespace, name=info.name, subresource=info.subresource, dry_run=dry_run,
        warnings=request.warnings,
    )  # fmt: skip
    await chain.admit(attributes)
    (prepare or strategy.before_update)(new, current)
    await chain.validate(attributes)
    return new


def check_name(obj: Object, name: str) -> None:
    given = obj["metadata"].get("name") or ""
    if not given:
        obj["metadata"]["name"] = name
    elif given != name:
        raise errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def check_preconditions(endpoint: Endpoint, new: Object, current: Object) -> None:
    """A resourceVersion or uid that the client sent must be the current one; an empty one is filled in."""
    metadata, now = new["metadata"], current["metadata"]
    name = now["name"]
    uid = metadata.get("uid")
    if uid and uid != now.get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {now.get('uid')}"
        raise errors.conflict(endpoint.resource, name, why)
    version = metadata.get("resourceVersion")
    if version:
        if version != now["resourceVersion"]:
            raise errors.conflict(endpoint.resource, name)
    elif endpoint.strategy.allow_unconditional_update:
        metadata["resourceVersion"] = now["resourceVersion"]
