"""Reviews: questions that are POSTed like objects, answered, and never stored: who am I, may I, may they."""

from collections.abc import Awaitable, Callable
from typing import Any

from apimachinery import errors, meta
from apimachinery.errors import FieldError
from apiserver.authentication.serviceaccount import InvalidToken
from apiserver.authentication.user import User
from apiserver.authorization import Action
from apiserver.context import Context
from apiserver.handlers import decode
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
Answer = Callable[[Request, Context, Object], Awaitable[Object]]


async def create(request: Request, context: Context) -> Response:
    """The object that was POSTed, with its status filled in."""
    resource = request.info.resource
    assert resource is not None, "the caller has checked"
    answer = _ANSWERS.get(resource.kind)
    if answer is None:
        raise errors.method_not_supported(resource, "create")
    options = decode.options(request)
    review = await decode.read(request, resource, options.validation)
    review["status"] = await answer(request, context, review)
    metadata = review.setdefault("metadata", {})
    metadata.setdefault("creationTimestamp", None)
    return json_response(review, request, 201)


def _user_info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


async def _self_subject(request: Request, context: Context, review: Object) -> Object:
    review.setdefault("metadata", {})["creationTimestamp"] = meta.now_rfc3339()
    return {"userInfo": _user_info(request.user)}


async def _token(request: Request, context: Context, review: Object) -> Object:
    spec = review.get("spec") or {}
    token = spec.get("token") or ""
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    try:
        user, audiences = await context.authenticator.authenticate_token(token, tuple(spec.get("audiences") or ()))
    except InvalidToken as error:
        return {"user": {}, "error": str(error)}
    return {"authenticated": True, "user": _user_info(user), "audiences": list(audiences)}


async def _self_access(request: Request, context: Context, review: Object) -> Object:
    _check(request, review, _wrong_attributes(review), "must be empty")
    return _decide(context, review, request.user)


async def _access(request: Request, context: Context, review: Object) -> Object:
    _check(request, review, _wrong_attributes(review) + _wrong_user(review), "must be empty")
    return _decide(context, review, _asked_user(review))


async def _local_access(request: Request, context: Context, review: Object) -> Object:
    spec, namespace = review.get("spec") or {}, request.info.namespace
    found = _wrong_attributes(review) + _wrong_user(review)
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    metadata = review.setdefault("metadata", {})
    if metadata.pop("namespace", "") not in ("", namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if resource is not None and resource.get("namespace", "") != namespace:
        asked = resource.get("namespace", "")
        found.append(errors.invalid_value("spec.resourceAttributes.namespace", asked, "must match metadata.namespace"))
    if other is not None:
        found.append(errors.invalid_value("spec.nonResourceAttributes", other, "disallowed on this kind of request"))
    _check(request, review, found, "must be empty except for namespace")
    metadata["namespace"] = namespace
    return _decide(context, review, _asked_user(review))


def _wrong_attributes(review: Object) -> list[FieldError]:
    spec = review.get("spec") or {}
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        text = "cannot be specified in combination with resourceAttributes"
        return [errors.invalid_value("spec.nonResourceAttributes", other, text)]
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [errors.invalid_value("spec.resourceAttributes", None, text)]
    return []


def _wrong_user(review: Object) -> list[FieldError]:
    spec = review.get("spec") or {}
    if spec.get("user") or spec.get("groups"):
        return []
    return [errors.invalid_value("spec.user", "", "at least one of user or group must be specified")]


def _asked_user(review: Object) -> User:
    spec = review["spec"]
    return User(spec.get("user") or "", spec.get("groups") or (), spec.get("uid") or "", spec.get("extra"))


def _check(request: Request, review: Object, found: list[FieldError], empty: str) -> None:
    metadata = {k: v for k, v in (review.get("metadata") or {}).items() if k != "managedFields" and v}
    if metadata:
        found.append(errors.invalid_value("metadata", metadata, empty))
    if found:
        assert request.info.resource is not None, "reviews are resources"
        raise errors.invalid(request.info.resource, (review.get("metadata") or {}).get("name", ""), found)


def _decide(context: Context, review: Object, user: User) -> Object:
    resource, other = review["spec"].get("resourceAttributes"), review["spec"].get("nonResourceAttributes")
    if resource is not None:
        action = Action(
            verb=resource.get("verb", ""),
            group=resource.get("group", ""),
            resource=resource.get("resource", ""),
            subresource=resource.get("subresource", ""),
            namespace=resource.get("namespace", ""),
            name=resource.get("name", ""),
            field_selector=_field_selector(resource.get("fieldSelector") or {}),
        )
    else:
        action = Action(verb=other.get("verb", ""), path=other.get("path", ""))
    allowed, reason = context.authorizer.decide(user, action)
    return {"allowed": allowed, **({"reason": reason} if reason else {})}


def _field_selector(selector: Object) -> str:
    """As it would stand in a query; requirements are ``In`` one value or ``NotIn`` one, for fields know no others."""
    if "requirements" not in selector:
        return str(selector.get("rawSelector") or "")
    terms = []
    for requirement in selector["requirements"] or ():
        values: list[str] = requirement.get("values") or []
        if len(values) == 1 and requirement.get("operator") in ("In", "NotIn"):
            sign = "=" if requirement["operator"] == "In" else "!="
            terms.append(f"{requirement.get('key', '')}{sign}{values[0]}")
    return ",".join(terms)


async def _rules(request: Request, context: Context, review: Object) -> Object:
    namespace = (review.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise errors.bad_request("no namespace on request")
    return context.authorizer.rules(request.user, namespace)


_ANSWERS: dict[str, Answer] = {
    "SelfSubjectReview": _self_subject,
    "TokenReview": _token,
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _rules,
}
