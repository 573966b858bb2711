"""update: PUT of a whole object or of its status."""

from collections.abc import Callable
from typing import Any

from apimachinery import errors
from apimachinery.errors import Literal, StatusError
from apiserver.admission import Attributes, Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.create import create_object, dedup_owner_references, place, written
from apiserver.handlers.decode import Options
from apiserver.handlers.endpoint import Endpoint
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]
#: The strategy's word on an update, ``before_update`` unless a subresource has its own.
Prepare = Callable[[Object, Object], None]
#: Raises 403 unless the client may create what a PUT or an apply did not find.
CheckCreate = Callable[[Request], None]


async def update(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    prepare: Prepare | None = None,
    lease: int = 0,
    check_create: CheckCreate | None = None,
) -> Response:
    """``prepare`` is the subresource's own; without one this is an update of the object itself."""
    info = request.info
    negotiate(request.header(b"accept"), collection=False)
    options = decode.options(request)
    key = endpoint.key(info.namespace, info.name)

    async def read() -> Object:
        obj = endpoint.to_stored(await decode.read(request, endpoint.resource, options.validation))
        place(obj, endpoint, info.namespace)
        check_name(obj, info.name)
        dedup_owner_references(request, obj)
        return obj

    sent: Object | None = await read()

    async def modify(current: Object) -> Object:
        nonlocal sent
        # An attempt that has to be made again reads the body anew, which is rarer than a copy for every one is dear.
        new, sent = sent or await read(), None
        check_uid(endpoint, new, current)
        return await admitted_update(request, endpoint, chain, new, current, prepare, options)

    try:
        updated = await commit.update(endpoint, key, info.name, modify, dry_run=options.dry_run, lease=lease)
    except StatusError as error:
        if error.code != 404 or check_create is None or not endpoint.strategy.allow_create_on_update:
            raise
        new = sent or await read()
        if new["metadata"].get("uid") or new["metadata"].get("resourceVersion"):
            raise
        check_create(request)
        created = await create_object(request, endpoint, chain, new, options, lease=lease)
        return written(request, endpoint, created, 201)
    return written(request, endpoint, updated)


async def admitted_update(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    new: Object,
    current: Object,
    prepare: Prepare | None,
    options: Options,
    *,
    owned: bool = False,
) -> Object:
    """Defaults, owners, preconditions, admission and rules: what every kind of update goes through.

    ``owned``: who owns what after this change has been settled already (by an apply, or for a Scale).
    """
    strategy, info = endpoint.strategy, request.info
    _check_version(endpoint, new, current)
    strategy.default(new)
    if not owned:
        new = endpoint.owned(current, new, options.manager, info.subresource)
    attributes = Attributes(
        "UPDATE", endpoint.resource, new, current, request.user,
        namespace=info.namespace, name=info.name, subresource=info.subresource, dry_run=options.dry_run,
        warnings=request.warnings,
    )  # fmt: skip
    await chain.admit(attributes)
    dedup_owner_references(request, new, admitted=True)
    (prepare or strategy.before_update)(new, current)
    await chain.validate(attributes)
    return new


def check_name(obj: Object, name: str) -> None:
    given = obj["metadata"].get("name") or ""
    if not given:
        obj["metadata"]["name"] = name
    elif given != name:
        raise errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def check_uid(endpoint: Endpoint, new: Object, current: Object) -> None:
    """A PUT that carries a uid is about that incarnation of the object."""
    uid, now = new["metadata"].get("uid"), current["metadata"]
    if uid and uid != now.get("uid"):
        key = endpoint.store.prefix + endpoint.storage_key(endpoint.key(now.get("namespace", ""), now["name"]))
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {now.get('uid')}"
        )
        raise errors.conflict(endpoint.resource, now["name"], why)


def _check_version(endpoint: Endpoint, new: Object, current: Object) -> None:
    """A resourceVersion that the client sent must be the current one; an empty one is filled in where the kind allows it."""
    metadata, now = new["metadata"], current["metadata"]
    version = metadata.get("resourceVersion")
    if version:
        if version != now["resourceVersion"]:
            raise errors.conflict(endpoint.resource, now["name"])
    elif endpoint.strategy.allow_unconditional_update:
        metadata["resourceVersion"] = now["resourceVersion"]
    else:
        found = errors.invalid_value("metadata.resourceVersion", Literal("0x0"), "must be specified for an update")
        raise errors.invalid(endpoint.resource, now["name"], [found], kind=endpoint.resource.plural)
