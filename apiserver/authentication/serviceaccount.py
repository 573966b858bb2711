"""Service-account tokens: JWTs that this server signs (TokenRequest) and recognizes again.

A token is bound: it names the account's uid, and perhaps a pod, a secret or a node, and is worth nothing once one of them is
gone. Tokens of Secrets (the old kind, without an end) are the controller manager's; they are recognized here too.
"""

import base64
import hmac
import time
import uuid
from collections.abc import Sequence
from typing import Any

from apimachinery.errors import quote
from apimachinery.meta import parse_time
from apiserver.authentication.user import AUTHENTICATED_GROUP, User
from apiserver.cacher import Cacher
from componentbase.tokenkeys import Keys

Object = dict[str, Any]
_PREFIX = "system:serviceaccount:"
_LEGACY_ISSUER, _LEGACY = "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/"
_INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
#: Clocks differ: upstream's leeway for every time in a token, and for an object that is being deleted.
_LEEWAY_SECONDS = 60
_KNOWN_AT_MOST = 2048
#: The life of a pod's own token. Clients that never read the file again keep working: it lives for a year in fact.
WARN_AFTER_SECONDS, EXTENDED_SECONDS = 3607, 365 * 24 * 3600
_INVALIDATED = "service account token has been invalidated"


class InvalidToken(Exception):
    """The bearer token is not one of ours (then without a text), has expired or names something that is gone."""


def user_name(namespace: str, name: str) -> str:
    return f"{_PREFIX}{namespace}:{name}"


class ServiceAccountTokens:
    """Signs as the first of ``issuers``, accepts all of them. ``audiences`` are what the API server itself accepts."""

    def __init__(
        self,
        issuers: Sequence[str],
        keys: Keys,
        cacher: Cacher,
        *,
        audiences: Sequence[str] = (),
        extend: bool = True,
        most_seconds: float = 0,
    ) -> None:
        self.issuer, self._issuers = issuers[0], frozenset(issuers)
        self.audiences = tuple(audiences or issuers)
        self.extend, self.most_seconds = extend, most_seconds
        self.keys = keys
        self._cacher = cacher
        self._verified: dict[str, Object] = {}

    @property
    def enabled(self) -> bool:
        return bool(self.keys)

    # --- signing

    def sign(
        self,
        account: Object,
        *,
        audiences: Sequence[str],
        seconds: int,
        bound: Object | None = None,
        node: Object | None = None,
    ) -> tuple[str, int]:
        """A token for the account and when to have a new one. ``bound`` is the Pod, Secret or Node that it is tied to."""
        now = int(time.time())
        metadata = account["metadata"]
        private: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            private[bound["kind"].lower()] = {"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]}
        if node is not None:
            private["node"] = {"name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
        life = seconds
        if self._extends(audiences, seconds, bound):
            private["warnafter"], life = now + seconds, EXTENDED_SECONDS
        claims = {
            "aud": list(audiences),
            "exp": now + life,
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": user_name(metadata["namespace"], metadata["name"]),
        }
        key = self.keys.signing()
        if key is None:
            raise InvalidToken("no --service-account-signing-key-file was given")
        return key.sign(claims), now + seconds

    def _extends(self, audiences: Sequence[str], seconds: int, bound: Object | None) -> bool:
        is_pods = bound is not None and bound["kind"] == "Pod"
        return self.extend and is_pods and seconds == WARN_AFTER_SECONDS and set(audiences) <= set(self.audiences)

    # --- verifying

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """The account behind a token, and those of the audiences that it is for. Raises ``InvalidToken``."""
        claims = self._claims(token)
        wanted = audiences or self.audiences
        legacy = claims["iss"] == _LEGACY_ISSUER
        given = self.audiences if legacy else _list(claims.get("aud"))
        meant = tuple(audience for audience in wanted if audience in given)
        if not meant:
            shown = (
                f"[{' '.join(map(quote, given))}] is invalid for the target audiences [{' '.join(map(quote, wanted))}]"
            )
            raise InvalidToken(f"token audiences {shown}")
        if legacy:
            return await self._legacy_user(claims, token), meant
        now = time.time()
        if claims["exp"] + _LEEWAY_SECONDS <= now:
            raise InvalidToken("service account token has expired")
        if claims.get("nbf", 0) > now + _LEEWAY_SECONDS:
            raise InvalidToken("service account token is not valid yet")
        return await self._user(claims), meant

    def _claims(self, token: str) -> Object:
        """The claims of a token whose signature holds; remembered, for a signature costs more than the rest of a request."""
        claims = self._verified.get(token)
        if claims is not None:
            return claims
        claims = self.keys.claims(token)
        if claims is None:
            raise InvalidToken
        issuer = claims.get("iss")
        if issuer != _LEGACY_ISSUER and (issuer not in self._issuers or not isinstance(claims.get("exp"), int)):
            raise InvalidToken
        if len(self._verified) >= _KNOWN_AT_MOST:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    async def _user(self, claims: Object) -> User:
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        name, uid = account.get("name", ""), account.get("uid", "")
        if claims.get("sub") != user_name(namespace, name):
            raise InvalidToken("sub claim is invalid")
        await self._account(namespace, name, uid)
        extra: dict[str, list[str]] = {}
        if claims.get("jti"):
            extra["authentication.kubernetes.io/credential-id"] = [f"JTI={claims['jti']}"]
        secret, pod, node = private.get("secret"), private.get("pod"), private.get("node")
        if secret:
            await self._require("secrets", f"{namespace}/{secret.get('name')}", secret.get("uid", ""))
        if pod:
            await self._require("pods", f"{namespace}/{pod.get('name')}", pod.get("uid", ""))
            extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
        if node:
            if not pod:  # of a pod's token it only says where the pod runs
                await self._require("nodes", node.get("name", ""), node.get("uid", ""))
            extra["authentication.kubernetes.io/node-name"] = [node["name"]]
            extra["authentication.kubernetes.io/node-uid"] = [node["uid"]]
        return User(claims["sub"], _groups(namespace), uid, extra)

    async def _legacy_user(self, claims: Object, token: str) -> User:
        namespace, name = claims.get(f"{_LEGACY}namespace", ""), claims.get(f"{_LEGACY}service-account.name", "")
        uid, secret_name = claims.get(f"{_LEGACY}service-account.uid", ""), claims.get(f"{_LEGACY}secret.name", "")
        if claims.get("sub") != user_name(namespace, name):
            raise InvalidToken("sub claim is invalid")
        secret = await self._find("secrets", f"{namespace}/{secret_name}")
        if secret is None or "deletionTimestamp" in secret["metadata"]:
            raise InvalidToken(_INVALIDATED)
        held = base64.b64decode((secret.get("data") or {}).get("token") or "")
        if not hmac.compare_digest(held, token.encode()):
            raise InvalidToken("service account token does not match server's copy")
        if _INVALID_SINCE in (secret["metadata"].get("labels") or {}):
            held_by = f"secret {namespace}/{secret_name} for service account {namespace}/{name}"
            raise InvalidToken(f"the token in {held_by} has been marked invalid")
        await self._account(namespace, name, uid)
        return User(claims["sub"], _groups(namespace), uid)

    async def _account(self, namespace: str, name: str, uid: str) -> None:
        account = await self._find("serviceaccounts", f"{namespace}/{name}")
        if account is None:
            raise InvalidToken(f"serviceaccounts {quote(name)} not found")
        if _is_gone(account):
            raise InvalidToken(f"service account {namespace}/{name} has been deleted")
        if account["metadata"].get("uid") != uid:
            found = account["metadata"].get("uid")
            raise InvalidToken(f"service account UID ({found}) does not match claim ({uid})")

    async def _require(self, prefix: str, key: str, uid: str) -> None:
        """What a token is bound to is still there, and the same."""
        obj = await self._find(prefix, key)
        if obj is None or _is_gone(obj) or obj["metadata"].get("uid") != uid:
            raise InvalidToken(_INVALIDATED)

    async def _find(self, plural: str, key: str) -> Object | None:
        cache = self._cacher.caches["minions" if plural == "nodes" else plural]
        entry = cache.get(key)
        if entry is None:
            # A token may be used before this server has seen the account that another one has made it for.
            await self._cacher.consistent()
            entry = cache.get(key)
        return None if entry is None else cache.codec.decode_body(entry.body)


def _groups(namespace: str) -> tuple[str, ...]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED_GROUP)


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _is_gone(obj: Object) -> bool:
    deleted = obj["metadata"].get("deletionTimestamp")
    return deleted is not None and parse_time(deleted) < time.time() - _LEEWAY_SECONDS
