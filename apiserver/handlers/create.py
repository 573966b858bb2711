"""create: POST of a new object to a collection."""

from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver.admission import Attributes, Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.decode import Options
from apiserver.handlers.endpoint import Endpoint
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
#: A generated name that is taken is generated anew this often, as upstream.
_NAME_ATTEMPTS = 8
_SYSTEM_FIELDS = ("creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


async def create(request: Request, endpoint: Endpoint, chain: Chain, lease: int = 0) -> Response:
    negotiate(request.header(b"accept"), collection=False)
    options = decode.options(request)
    obj = endpoint.to_stored(await decode.read(request, endpoint.resource, options.validation))
    created = await create_object(request, endpoint, chain, obj, options, lease=lease)
    return written(request, endpoint, created, 201)


async def create_object(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    obj: Object,
    options: Options,
    *,
    lease: int = 0,
    applied: bool = False,
) -> Object:
    """Defaults, owners, admission, rules and the write, for an object that has been decoded.

    ``applied``: it comes from an apply, which has settled who owns it.
    """
    strategy, info = endpoint.strategy, request.info
    place(obj, endpoint, info.namespace)
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    for field in _SYSTEM_FIELDS:
        metadata.pop(field, None)
    generated = bool(metadata.get("generateName")) and not metadata.get("name")
    strategy.default(obj)
    dedup_owner_references(request, obj)
    if not applied:
        obj = endpoint.owned(None, obj, options.manager)
        metadata = obj["metadata"]
    attributes = Attributes(
        "CREATE", endpoint.resource, obj, None, request.user,
        namespace=info.namespace, name=metadata.get("name") or "", dry_run=options.dry_run, warnings=request.warnings,
    )  # fmt: skip
    await chain.admit(attributes)
    dedup_owner_references(request, obj, admitted=True)
    for attempt in range(_NAME_ATTEMPTS):
        if generated and attempt:
            metadata.pop("name", None)
        strategy.before_create(obj)
        await chain.validate(attributes)
        name = metadata["name"]
        key = endpoint.key(info.namespace, name)
        try:
            created = await commit.create(endpoint, key, obj, lease=lease, dry_run=options.dry_run)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            if generated:
                continue
            raise await _taken(endpoint, key, error) from None
        request.warnings += strategy.warnings(created)
        return created
    raise errors.generate_name_conflict(endpoint.resource, metadata["name"])


async def _taken(endpoint: Endpoint, key: str, error: StatusError) -> StatusError:
    found = await endpoint.live(key)
    if found is not None and found[0]["metadata"].get("deletionTimestamp"):
        error.message = f"object is being deleted: {error.message}"
    return error


def place(obj: Object, endpoint: Endpoint, namespace: str) -> None:
    """The namespace of the URL is the object's; naming another one is an error."""
    metadata = obj.setdefault("metadata", {})
    if not endpoint.resource.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.get("namespace") or namespace
    if given != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


def dedup_owner_references(request: Request, obj: Object, *, admitted: bool = False) -> None:
    """Owners that are named twice are named once, and the client hears of it. ``admitted``: admission added them."""
    owners = obj["metadata"].get("ownerReferences")
    if not owners or len(owners) == 1:
        return
    kept: list[Object] = []
    twice = []
    for owner in owners:
        if owner in kept:
            twice.append(owner.get("uid", ""))
        else:
            kept.append(owner)
    if not twice:
        return
    obj["metadata"]["ownerReferences"] = kept
    when = " after mutating admission happens" if admitted else ""
    request.warnings.append(
        f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, "
        f"and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        f"{', '.join(twice)}"
    )


def written(request: Request, endpoint: Endpoint, obj: Object, status: int = 200) -> Response:
    """The answer to a write: the object, or the form that the client asked for."""
    form = negotiate(request.header(b"accept"), collection=False)
    if not form.as_kind:
        return json_response(endpoint.to_served(obj), request, status)
    shaped = endpoint.form(form, request.query.get("includeObject", ""))
    revision = int(obj["metadata"].get("resourceVersion") or 0)
    return Response(shaped.object(endpoint.codec.body(endpoint.encode(obj), revision)), status)
