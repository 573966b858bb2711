"""Service-account tokens: JWTs that this server signs (TokenRequest) and recognizes again.

A token is bound: it names the account's uid, and perhaps a pod, and is worth nothing once either is gone. Signing keys
are RSA or ECDSA; PyJWT does the format and the signatures, and is imported with the first token, because a cluster's own
components use certificates.
"""

import base64
import hashlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apiserver.authentication.user import AUTHENTICATED_GROUP, User
from apiserver.cacher import Cacher

Object = dict[str, Any]
_PREFIX = "system:serviceaccount:"
_NBF_LEEWAY_SECONDS = 10
_KNOWN_AT_MOST = 2048


class InvalidToken(Exception):
    """The bearer token is not one of ours, has expired or names something that is gone."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the id that tokens name it by. ``private`` is None for one that only verifies."""

    id: str
    algorithm: str
    public: Any
    private: Any


def user_name(namespace: str, name: str) -> str:
    return f"{_PREFIX}{namespace}:{name}"


class ServiceAccountTokens:
    """Signs and verifies. ``issuer`` is also the audience that the API server itself accepts."""

    def __init__(self, issuer: str, signing_key_file: str, verifying_key_files: Sequence[str], cacher: Cacher) -> None:
        self.issuer = issuer
        self.audiences = (issuer,)
        self._signing_file = signing_key_file
        self._files = [f for f in (signing_key_file, *verifying_key_files) if f]
        self._cacher = cacher
        self._keys: dict[str, Key] | None = None
        self._verified: dict[str, Object] = {}

    @property
    def enabled(self) -> bool:
        return bool(self._files)

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
        """A token for the account and when it ends. ``bound`` is the Pod, Secret or Node that it is tied to."""
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
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": user_name(metadata["namespace"], metadata["name"]),
        }
        import jwt

        key = self._signing_key()
        return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.id}), now + seconds

    def _signing_key(self) -> Key:
        if not self._signing_file:
            raise InvalidToken("no --service-account-signing-key-file was given")
        return next(key for key in self.keys().values() if key.private is not None)

    # --- verifying

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> User:
        """The account behind a token. Raises ``InvalidToken``."""
        claims = self._claims(token)
        now = time.time()
        if claims["exp"] <= now:
            raise InvalidToken("service account token has expired")
        if claims.get("nbf", 0) > now + _NBF_LEEWAY_SECONDS:
            raise InvalidToken("service account token is not valid yet")
        given = claims.get("aud") or []
        if isinstance(given, str):
            given = [given]
        if not set(given) & set(audiences or self.audiences):
            raise InvalidToken(
                f"token audiences {given} is invalid for the target audiences {list(audiences or self.audiences)}"
            )
        return self._user(claims)

    def _claims(self, token: str) -> Object:
        """The claims of a token whose signature holds; remembered, for a signature costs more than the rest of a request."""
        claims = self._verified.get(token)
        if claims is not None:
            return claims
        import jwt

        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise InvalidToken("not a JWT") from None
        keys = self.keys()
        candidates = [keys[header["kid"]]] if header.get("kid") in keys else list(keys.values())
        claims = next((found for key in candidates if (found := _verified(token, key)) is not None), None)
        if claims is None:
            raise InvalidToken("signature is not valid")
        if claims.get("iss") != self.issuer:
            raise InvalidToken("not issued by this cluster")
        if not isinstance(claims.get("exp"), int):
            raise InvalidToken("token has no expiry")
        if len(self._verified) >= _KNOWN_AT_MOST:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def _user(self, claims: Object) -> User:
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        name, uid = account.get("name", ""), account.get("uid", "")
        if claims.get("sub") != user_name(namespace, name):
            raise InvalidToken("subject does not match the service account")
        self._require("serviceaccounts", f"{namespace}/{name}", uid)
        extra: dict[str, list[str]] = {}
        if claims.get("jti"):
            extra["authentication.kubernetes.io/credential-id"] = [f"JTI={claims['jti']}"]
        pod = private.get("pod")
        if pod:
            self._require("pods", f"{namespace}/{pod.get('name')}", pod.get("uid", ""))
            extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
        node = private.get("node")
        if node:
            extra["authentication.kubernetes.io/node-name"] = [node["name"]]
            extra["authentication.kubernetes.io/node-uid"] = [node["uid"]]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED_GROUP)
        return User(claims["sub"], groups, uid, extra)

    def _require(self, prefix: str, key: str, uid: str) -> None:
        cache = self._cacher.caches[prefix]
        entry = cache.get(key)
        if entry is None or cache.codec.decode_body(entry.body)["metadata"].get("uid") != uid:
            raise InvalidToken(f"{prefix} {key} with uid {uid} is gone")

    # --- keys

    def keys(self) -> dict[str, Key]:
        """By id. Read from the files once; OSError or ValueError when one cannot be used."""
        if self._keys is None:
            self._keys = {}
            for path in self._files:
                key = _load(path, private=path == self._signing_file)
                known = self._keys.get(key.id)
                if known is None or known.private is None:
                    self._keys[key.id] = key
        return self._keys

    def jwks(self) -> Object:
        """The public keys as a JSON Web Key Set."""
        return {"keys": [_jwk(key) for key in self.keys().values()]}


def _load(path: str, *, private: bool) -> Key:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    with open(path, "rb") as file:
        pem = file.read()
    secret: Any = None
    if b"PRIVATE KEY" in pem:
        secret = serialization.load_pem_private_key(pem, None)
        public: Any = secret.public_key()
    else:
        public = serialization.load_pem_public_key(pem)
    if isinstance(public, rsa.RSAPublicKey):
        algorithm = "RS256"
    elif isinstance(public, ec.EllipticCurvePublicKey):
        algorithm = {256: "ES256", 384: "ES384", 521: "ES512"}[public.curve.key_size]
    else:
        raise ValueError(f"{path}: a service-account key has to be RSA or ECDSA")
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(_encode(hashlib.sha256(der).digest()).decode(), algorithm, public, secret if private else None)


#: The signature only: times and audiences are held against each request, but a signature is checked once.
_SIGNATURE_ONLY = {
    "verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_iss": False,
    "verify_sub": False, "verify_jti": False,
}  # fmt: skip


def _verified(token: str, key: Key) -> Object | None:
    """The claims, when the token carries this key's signature."""
    import jwt

    try:
        claims: Object = jwt.decode(token, key.public, algorithms=[key.algorithm], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        return None
    return claims


def _jwk(key: Key) -> Object:
    from jwt.algorithms import get_default_algorithms

    return {
        **get_default_algorithms()[key.algorithm].to_jwk(key.public, as_dict=True),
        "use": "sig",
        "kid": key.id,
        "alg": key.algorithm,
    }


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
