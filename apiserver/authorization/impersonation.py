"""Acting as somebody else: the ``Impersonate-*`` headers, each of which has to be allowed by the verb ``impersonate``."""

from urllib.parse import unquote

from apimachinery.errors import StatusError, quote
from apiserver.authentication.user import ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP, User
from apiserver.authorization.action import Action, forbidden
from apiserver.authorization.authorizer import Authorizer
from apiserver.request import Request

_AUTHENTICATION = "authentication.k8s.io"
_ACCOUNT = "system:serviceaccount:"
_EXTRA = b"impersonate-extra-"


def wanted(request: Request) -> bool:
    """Whether a request has any of the headers; cheap, for it is asked of every request."""
    return any(name.startswith(b"impersonate-") for name, _ in request.scope["headers"])


def impersonated(request: Request, authorizer: Authorizer) -> User:
    """Who the request acts as. Raises 403 for what the real user may not impersonate, 500 (as upstream) for nonsense."""
    name, uid, groups, extra = "", "", list[str](), dict[str, list[str]]()
    for header, raw in request.scope["headers"]:
        value = raw.decode("utf-8", "replace")
        if header == b"impersonate-user":
            name = name or value
        elif header == b"impersonate-uid":
            uid = uid or value
        elif header == b"impersonate-group":
            groups.append(value)
        elif header.startswith(_EXTRA):
            extra.setdefault(unquote(header[len(_EXTRA) :].decode("latin-1")).lower(), []).append(value)
    if not name:
        if not (uid or groups or extra):
            return request.user
        asked = [*([f"uid {uid}"] if uid else []), *(f"group {g}" for g in groups), *(f"extra {e}" for e in extra)]
        text = f"Internal Server Error: {quote(request.info.path)}: requested {asked} without impersonating a user"
        raise StatusError(500, "InternalError", text)
    for action in _actions(name, uid, groups, extra):
        if not authorizer.allows(request.user, action):
            raise forbidden(request.user, action, authorizer.decide(request.user, action)[1])
    return User(name, _groups(name, groups), uid, extra)


def _actions(name: str, uid: str, groups: list[str], extra: dict[str, list[str]]) -> list[Action]:
    namespace, account = account_of(name)
    who = Action("impersonate", resource="users", name=name)
    if account:
        who = Action("impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    found = [who, *(Action("impersonate", resource="groups", name=group) for group in groups)]
    found += [
        Action("impersonate", _AUTHENTICATION, "userextras", key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        found.append(Action("impersonate", _AUTHENTICATION, "uids", name=uid))
    return found


def account_of(name: str) -> tuple[str, str]:
    """Namespace and name of the service account that a user name stands for; empty for any other user."""
    namespace, colon, account = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not colon or not namespace or not account or ":" in account:
        return "", ""
    return namespace, account


def _groups(name: str, given: list[str]) -> list[str]:
    """The groups asked for; without any, those that a service account always has. And whether one is somebody at all."""
    namespace, account = account_of(name)
    groups = list(given)
    if account and not given:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    if name == ANONYMOUS:
        return groups if UNAUTHENTICATED_GROUP in groups else [*groups, UNAUTHENTICATED_GROUP]
    if AUTHENTICATED_GROUP not in groups and UNAUTHENTICATED_GROUP not in groups:
        groups.append(AUTHENTICATED_GROUP)
    return groups
