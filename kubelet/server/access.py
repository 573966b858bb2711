"""Who asks the kubelet, and may they: client certificates and tokens, and the API server's word on both.

As upstream with ``--authentication-token-webhook`` and ``--authorization-mode=Webhook``: a token is held against a TokenReview,
and what a request wants is a SubjectAccessReview about ``nodes/proxy``, ``nodes/log``, ``nodes/stats`` ... of this node. Answers
are remembered for upstream's times, so that an exec costs no second question.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeclient import ApiError, Client, TransportError

log = logging.getLogger(__name__)
Object = dict[str, Any]
_ANONYMOUS, _UNAUTHENTICATED, _AUTHENTICATED = "system:anonymous", "system:unauthenticated", "system:authenticated"
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TOKEN_SECONDS, _ALLOWED_SECONDS, _DENIED_SECONDS = 120.0, 300.0, 30.0
_REMEMBERED_AT_MOST = 1024
#: Paths, and the subresource of the node that somebody must have access to; any of several will do.
_CLOSER = {
    "/pods": "pods",
    "/runningpods": "pods",
    "/healthz": "healthz",
    "/configz": "configz",
}
_OTHER = {"/stats": "stats", "/metrics": "metrics", "/logs": "log", "/checkpoint": "checkpoint"}


class Denied(Exception):
    """``code`` and text of the answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Access:
    """``webhook`` False: whoever is known may do everything (upstream's ``--authorization-mode=AlwaysAllow``)."""

    def __init__(
        self, client: Client, node: str, *, anonymous: bool = False, tokens: bool = True, webhook: bool = True
    ) -> None:
        self._client, self._node = client, node
        self._anonymous, self._tokens, self._webhook = anonymous, tokens, webhook
        self._users = _Memory()
        self._decisions = _Memory()

    async def check(self, scope: Mapping[str, Any]) -> None:
        """Raises ``Denied`` unless the request of this ASGI scope may go on."""
        user = await self._user(scope)
        if user is None:
            raise Denied(401, "Unauthorized")
        if not self._webhook:
            return
        verb, wanted = _VERBS.get(scope["method"], ""), subresources(scope["path"])
        for subresource in wanted:
            try:
                if await self._may(user, verb, subresource):
                    return
            except (ApiError, TransportError) as error:
                what = f"user={user.name}, verb={verb}, resource=nodes, subresource={subresource}"
                log.error("authorization error (%s): %s", what, error or type(error).__name__)
                raise Denied(500, f"Authorization error ({what})") from None
        shown = " ".join(wanted)
        raise Denied(403, f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{shown}])\n")

    # --- who

    async def _user(self, scope: Mapping[str, Any]) -> User | None:
        subject = scope["connection"].subject()
        if subject is not None and subject.get("commonName"):
            groups = (*subject.get("organizationName", ()), _AUTHENTICATED)
            return User(subject["commonName"][0], groups)
        token = _bearer(scope["headers"])
        if token and self._tokens:
            return await self._of_token(token)
        return User(_ANONYMOUS, (_UNAUTHENTICATED,)) if self._anonymous and not token else None

    async def _of_token(self, token: str) -> User | None:
        known, user = self._users.get(token, self._now())
        if known:
            return user  # type: ignore[no-any-return]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        try:
            answer = await self._client.resource("authentication.k8s.io/v1", "tokenreviews").create(review)
        except (ApiError, TransportError) as error:
            log.error("unable to authenticate the request: %s", error or type(error).__name__)
            return None
        found, status = None, answer.get("status") or {}
        if status.get("authenticated"):
            info = status.get("user") or {}
            groups = tuple(info.get("groups") or ())
            found = User(info.get("username", ""), groups, info.get("uid", ""), info.get("extra") or {})
        self._users.put(token, found, self._now() + _TOKEN_SECONDS)
        return found

    # --- what

    async def _may(self, user: User, verb: str, subresource: str) -> bool:
        what = (user, verb, subresource)
        known, allowed = self._decisions.get(what, self._now())
        if known:
            return bool(allowed)
        attributes = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource}
        spec = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": dict(user.extra),
            "resourceAttributes": {**attributes, "name": self._node},
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self._client.resource("authorization.k8s.io/v1", "subjectaccessreviews").create(review)
        allowed = bool((answer.get("status") or {}).get("allowed"))
        self._decisions.put(what, allowed, self._now() + (_ALLOWED_SECONDS if allowed else _DENIED_SECONDS))
        return allowed

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class _Memory:
    """Answers by question until they are too old; so many at most."""

    def __init__(self) -> None:
        self._held: dict[Any, tuple[float, Any]] = {}

    def get(self, key: Any, now: float) -> tuple[bool, Any]:
        until, value = self._held.get(key, (now, None))
        return until > now, value

    def put(self, key: Any, value: Any, until: float) -> None:
        if len(self._held) >= _REMEMBERED_AT_MOST:
            del self._held[next(iter(self._held))]
        self._held[key] = (until, value)


def subresources(path: str) -> list[str]:
    """Of the node, for a path of the kubelet: upstream's ``GetRequestAttributes``."""
    found = [name for prefix, name in _CLOSER.items() if _below(path, prefix)]
    other = next((name for prefix, name in _OTHER.items() if _below(path, prefix)), "proxy")
    return [*found, other]


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _bearer(headers: Any) -> str:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return str(token.strip())
    return ""
