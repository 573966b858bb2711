"""The keys of service-account tokens: RSA or ECDSA, named by the hash of their public half.

PyJWT does the format and the signatures, and is imported with the first token, because a cluster's own components use
certificates.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
#: The signature only: times and audiences are held against each request, but a signature is checked once.
_SIGNATURE_ONLY = {
    "verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_iss": False,
    "verify_sub": False, "verify_jti": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the id that tokens name it by. ``private`` is None for one that only verifies."""

    id: str
    algorithm: str
    public: Any
    private: Any

    def sign(self, claims: Object) -> str:
        import jwt

        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers={"kid": self.id})

    def claims(self, token: str) -> Object | None:
        """What a token says, when it carries this key's signature."""
        import jwt

        try:
            claims: Object = jwt.decode(token, self.public, algorithms=[self.algorithm], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]
        except jwt.InvalidTokenError:
            return None
        return claims

    def jwk(self) -> Object:
        """The public half as a JSON Web Key."""
        from jwt.algorithms import get_default_algorithms

        made: Object = get_default_algorithms()[self.algorithm].to_jwk(self.public, as_dict=True)
        made.pop("key_ops", None)
        return {"use": "sig", "kid": self.id, "alg": self.algorithm, **made}


class Keys:
    """The files are read with the first use: OSError or ValueError when one of them cannot be used."""

    def __init__(self, signing_file: str, verifying_files: Sequence[str]) -> None:
        self._signing_file = signing_file
        self._files = [f for f in (signing_file, *verifying_files) if f]
        self._keys: dict[str, Key] | None = None

    def __bool__(self) -> bool:
        return bool(self._files)

    def by_id(self) -> dict[str, Key]:
        if self._keys is None:
            self._keys = {}
            for path in self._files:
                key = _load(path, private=path == self._signing_file)
                known = self._keys.get(key.id)
                if known is None or known.private is None:
                    self._keys[key.id] = key
        return self._keys

    def signing(self) -> Key | None:
        return next((key for key in self.by_id().values() if key.private is not None), None)

    def claims(self, token: str) -> Object | None:
        """What a token says that one of the keys has signed."""
        import jwt

        try:
            named = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            return None
        keys = self.by_id()
        candidates = [keys[named]] if named in keys else list(keys.values())
        return next((found for key in candidates if (found := key.claims(token)) is not None), None)

    def jwks(self) -> Object:
        """The public keys as a JSON Web Key Set."""
        return {"keys": [key.jwk() for key in self.by_id().values()]}


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
    named = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=")
    return Key(named.decode(), algorithm, public, secret if private else None)
