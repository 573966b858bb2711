"""Service-account tokens: JWTs that this server signs (TokenRequest) and recognizes again.

A token is bound: it names the account's uid, and perhaps a pod, and is worth nothing once either is gone. Signing keys
are RSA or ECDSA; ``cryptography`` is imported with the first token, because a cluster's own components use certificates.
"""

import base64
import hashlib
import json
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
        key = self._signing_key()
        head = _encode(json.dumps({"alg": key.algorithm, "kid": key.id}, separators=(",", ":")).encode())
        body = _encode(json.dumps(claims, separators=(",", ":")).encode())
        signed = head + b"." + body
        return (signed + b"." + _encode(_sign(key, signed))).decode(), now + seconds

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
        parts = token.encode().split(b".")
        if len(parts) != 3:
            raise InvalidToken("not a JWT")
        try:
            header, claims = json.loads(_decode(parts[0])), json.loads(_decode(parts[1]))
            signature = _decode(parts[2])
        except ValueError:
            raise InvalidToken("not a JWT") from None
        if not isinstance(header, dict) or not isinstance(claims, dict) or claims.get("iss") != self.issuer:
            raise InvalidToken("not issued by this cluster")
        if not isinstance(claims.get("exp"), int):
            raise InvalidToken("token has no expiry")
        keys = self.keys()
        candidates = [keys[header["kid"]]] if header.get("kid") in keys else list(keys.values())
        if not any(
            k.algorithm == header.get("alg") and _holds(k, parts[0] + b"." + parts[1], signature) for k in candidates
        ):
            raise InvalidToken("signature is not valid")
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


def _sign(key: Key, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if key.algorithm == "RS256":
        signature: bytes = key.private.sign(data, padding.PKCS1v15(), _hash(key))
        return signature
    r, s = decode_dss_signature(key.private.sign(data, ec.ECDSA(_hash(key))))
    size = (key.public.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _holds(key: Key, data: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        if key.algorithm == "RS256":
            key.public.verify(signature, data, padding.PKCS1v15(), _hash(key))
        else:
            half = len(signature) // 2
            r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
            key.public.verify(encode_dss_signature(r, s), data, ec.ECDSA(_hash(key)))
    except InvalidSignature:
        return False
    return True


def _hash(key: Key) -> Any:
    from cryptography.hazmat.primitives import hashes

    return {"384": hashes.SHA384, "512": hashes.SHA512}.get(key.algorithm[2:], hashes.SHA256)()


def _jwk(key: Key) -> Object:
    numbers = key.public.public_numbers()
    common = {"use": "sig", "kid": key.id, "alg": key.algorithm}
    if key.algorithm == "RS256":
        return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    size = (key.public.curve.key_size + 7) // 8
    curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[key.algorithm]
    return {**common, "kty": "EC", "crv": curve, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}


def _number(number: int, size: int | None = None) -> str:
    return _encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big")).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(data: bytes) -> bytes:
    return base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
