"""create: POST of a new object to a collection."""

from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver.admission import Attributes, Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.endpoint import Endpoint
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
#: A generated name that is taken is generated anew this often, as upstream.
_NAME_ATTEMPTS = 8


async def create(request: Request, endpoint: Endpoint, chain: Chain, lease: int = 0) -> Response:
    negotiate(request.header(b"accept"), collection=False)
    dry_run = decode.dry_run(request)
    obj = endpoint.to_stored(await decode.read(request, endpoint.resource))
    created = await create_object(request, endpoint, chain, obj, dry_run=dry_run, lease=lease)
    return written(request, endpoint, created, 201)


async def create_object(
    request: Request, endpoint: Endpoint, chain: Chain, obj: Object, *, dry_run: bool, lease: int = 0
) -> Object:
    """Defaults, admission, rules and the write, for an object that has been decoded."""
    strategy, info = endpoint.strategy, request.info
    place(obj, endpoint, info.namespace)
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    generated = bool(metadata.get("generateName")) and not metadata.get("name")
    strategy.default(obj)
    attributes = Attributes(
        "CREATE", endpoint.resource, obj, None, request.user,
        namespace=info.namespace, name=metadata.get("name") or "", dry_run=dry_run, warnings=request.warnings,
    )  # fmt: skip
    await chain.admit(attributes)
    for attempt in range(_NAME_ATTEMPTS):
        if generated and attempt:
            metadata.pop("name", None)
        strategy.before_create(obj)
        await chain.validate(attributes)
        name = metadata["name"]
        try:
            created = await commit.create(
                endpoint, endpoint.key(info.namespace, name), obj, lease=lease, dry_run=dry_run
            )
        except StatusError as error:
            if not generated or error.reason != "AlreadyExists":
                raise
            continue
        request.warnings += strategy.warnings(created)
        return created
    raise errors.generate_name_conflict(endpoint.resource, metadata["generateName"])


def place(obj: Object, endpoint: Endpoint, namespace: str) -> None:
    """The namespace of the URL is the object's; naming another one is an error."""
    metadata = obj.setdefault("metadata", {})
    if not endpoint.resource.namespaced:
        return
    given = metadata.get("namespace") or namespace
    if given != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


def written(request: Request, endpoint: Endpoint, obj: Object, status: int = 200) -> Response:
    """The answer to a write: the object, or the form that the client asked for."""
    form = negotiate(request.header(b"accept"), collection=False)
    if not form.as_kind:
        return json_response(endpoint.to_served(obj), request, status)
    shaped = endpoint.form(form, request.query.get("includeObject", ""))
    revision = int(obj["metadata"].get("resourceVersion") or 0)
    return Response(shaped.object(endpoint.codec.body(endpoint.encode(obj), revision)), status)
