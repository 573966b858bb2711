"""``serviceaccounts/NAME/token``: a TokenRequest is answered with a signed, bound token."""

from typing import Any

from apimachinery import errors, meta
from apimachinery.errors import FieldError, StatusError
from apiserver.admission.noderestriction import check_token
from apiserver.context import Context
from apiserver.handlers import decode
from apiserver.handlers.endpoint import Endpoint
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
_KIND = ("authentication.k8s.io", "v1", "TokenRequest")
_LEAST_SECONDS, _MOST_SECONDS, _DEFAULT_SECONDS = 600, 1 << 32, 3600
_BOUND = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


async def create(request: Request, endpoint: Endpoint, context: Context) -> Response:
    info = request.info
    asked = await decode.read(request, endpoint.resource, decode.options(request).validation, kind=_KIND)
    account = await _object(endpoint, endpoint.key(info.namespace, info.name))
    if account is None:
        raise endpoint.not_found(info.name)
    spec = asked.setdefault("spec", {})
    audiences = spec.get("audiences") or list(context.tokens.audiences)
    seconds = spec["expirationSeconds"] if spec.get("expirationSeconds") is not None else _DEFAULT_SECONDS
    _check(endpoint, info.name, seconds)
    most = int(context.tokens.most_seconds)
    if most and seconds > most:
        request.warnings.append(f"requested expiration of {seconds} seconds shortened to {most} seconds")
        seconds = most
    bound, node = await _bound(context, account, spec.get("boundObjectRef"))
    if context.authorizer.restricts_nodes:
        check_token(request.user, endpoint.resource, info.name, spec.get("boundObjectRef"), bound)
    if not context.tokens.enabled:
        raise errors.not_found(endpoint.resource, info.name)
    token, expires = context.tokens.sign(account, audiences=audiences, seconds=seconds, bound=bound, node=node)
    spec["audiences"], spec["expirationSeconds"] = audiences, seconds
    metadata = {"name": info.name, "namespace": info.namespace, "creationTimestamp": meta.now_rfc3339()}
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": metadata,
        "spec": {"boundObjectRef": None, **spec},
        "status": {"token": token, "expirationTimestamp": meta.format_time(expires)},
    }
    return json_response(answer, request, 201)


def _check(endpoint: Endpoint, name: str, seconds: int) -> None:
    found: list[FieldError] = []
    field = "spec.expirationSeconds"
    if seconds < _LEAST_SECONDS:
        found.append(errors.invalid_value(field, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > _MOST_SECONDS:
        found.append(errors.invalid_value(field, seconds, "may not specify a duration larger than 2^32 seconds"))
    if found:
        error = errors.invalid(endpoint.resource, "", found, kind="TokenRequest")
        error.message = error.message.replace("TokenRequest ", "TokenRequest.authentication.k8s.io ", 1)
        raise error


async def _bound(context: Context, account: Object, reference: Object | None) -> tuple[Object | None, Object | None]:
    """The object that the token is tied to, and the node of a pod. Raises 404, 409 or 400."""
    if not reference:
        return None, None
    kind, name = reference.get("kind", ""), reference.get("name", "")
    plural = _BOUND.get(kind)
    if plural is None or reference.get("apiVersion") not in ("v1", "", None):
        raise errors.bad_request(
            f"cannot bind token to object of type /{reference.get('apiVersion') or ''}, Kind={kind}"
        )
    endpoint = context.endpoint("", plural)
    namespace = account["metadata"]["namespace"]
    key = endpoint.key(namespace if endpoint.resource.namespaced else "", name)
    found = await _object(endpoint, key)
    if found is None:
        raise errors.not_found(endpoint.resource, name)
    uid = found["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        text = (
            f"Operation cannot be fulfilled on {kind} {errors.quote(name)}: the UID in the bound object reference "
            f"({reference['uid']}) does not match the UID in record. The object might have been deleted and then recreated"
        )
        raise StatusError(409, "Conflict", text, {"name": name, "kind": kind})
    found["kind"] = kind
    if kind != "Pod":
        return found, None
    owner = found["spec"].get("serviceAccountName", "")
    if owner != account["metadata"]["name"]:
        text = (
            f"cannot bind token for serviceaccount {errors.quote(account['metadata']['name'])} to pod running with "
            "different serviceaccount name."
        )
        raise errors.bad_request(text)
    node_name = found["spec"].get("nodeName")
    node = await _object(context.endpoint("", "nodes"), node_name) if node_name else None
    return found, node


async def _object(endpoint: Endpoint, key: str) -> Object | None:
    """From the cache, or from the store when the cache does not have it yet."""
    entry = endpoint.cache.get(key)
    if entry is not None:
        return endpoint.decode_entry(entry)
    live = await endpoint.live(key)
    return live[0] if live is not None else None
