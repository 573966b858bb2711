"""Service-account tokens: what is signed is recognized, what was changed, has expired or lost its object is not."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apimachinery.resources import lookup
from apiserver.authentication import serviceaccount
from apiserver.authentication.serviceaccount import InvalidToken, ServiceAccountTokens
from apiserver.storage.codec import Codec

ACCOUNT = {"kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "ns", "uid": "u1"}}
POD = {"kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u2"}}


class FakeCache:
    def __init__(self, plural: str, *objects: dict[str, Any]) -> None:
        row = lookup("", "v1", plural)
        assert row is not None
        self.codec = Codec(row)
        self._bodies = {f"ns/{o['metadata']['name']}": self.codec.body(self.codec.encode(o), 1) for o in objects}

    def get(self, key: str) -> Any:
        return type("Entry", (), {"body": self._bodies[key]}) if key in self._bodies else None


class FakeCacher:
    def __init__(self, accounts: tuple[dict, ...] = (ACCOUNT,), pods: tuple[dict, ...] = (POD,)) -> None:
        self.caches = {"serviceaccounts": FakeCache("serviceaccounts", *accounts), "pods": FakeCache("pods", *pods)}


def write_key(path: Path, key: Any) -> str:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem)
    return str(path)


def tokens(path: str, cacher: Any = None, **changes: Any) -> ServiceAccountTokens:
    return ServiceAccountTokens(changes.get("issuer", "https://issuer"), path, (), cacher or FakeCacher())


@pytest.fixture(params=["P-256", "P-384", "rsa"])
def key_file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    curves = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}
    key = (
        rsa.generate_private_key(65537, 2048)
        if request.param == "rsa"
        else ec.generate_private_key(curves[request.param]())
    )
    return write_key(tmp_path / "sa.key", key)


async def test_a_signed_token_names_its_account_groups_and_pod(key_file: str) -> None:
    signer = tokens(key_file)
    token, expires = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600, bound=POD)
    assert expires > time.time()
    user = await tokens(key_file).authenticate(token)
    assert (user.name, user.uid) == ("system:serviceaccount:ns:robot", "u1")
    assert set(user.groups) == {"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}
    assert user.extra["authentication.kubernetes.io/pod-name"] == ["p"]


async def test_a_token_of_another_key_or_issuer_or_audience_is_refused(key_file: str, tmp_path: Path) -> None:
    signer = tokens(key_file)
    token, _ = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600)
    other = write_key(tmp_path / "other.key", ec.generate_private_key(ec.SECP256R1()))
    for verifier in (tokens(other), tokens(key_file, issuer="https://elsewhere")):
        with pytest.raises(InvalidToken):
            await verifier.authenticate(token)
    with pytest.raises(InvalidToken, match="audiences"):
        await signer.authenticate(token, ("vault",))


async def test_a_changed_token_is_refused(key_file: str) -> None:
    signer = tokens(key_file)
    token, _ = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600)
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["kubernetes.io"]["serviceaccount"]["name"] = "admin"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for wrong in (f"{head}.{forged}.{signature}", f"{none}.{body}.", f"{head}.{body}.", "a.b.c", "....", "x", "é.é.é"):
        with pytest.raises(InvalidToken):
            await signer.authenticate(wrong)


async def test_an_expired_token_is_refused(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = tokens(key_file)
    token, expires = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600)
    monkeypatch.setattr(serviceaccount.time, "time", lambda: float(expires))
    with pytest.raises(InvalidToken, match="expired"):
        await signer.authenticate(token)


async def test_a_token_dies_with_its_account_and_with_its_pod(key_file: str) -> None:
    signer = tokens(key_file)
    token, _ = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600, bound=POD)
    reborn = {**ACCOUNT, "metadata": {**ACCOUNT["metadata"], "uid": "another"}}
    for cacher in (FakeCacher(accounts=()), FakeCacher(accounts=(reborn,)), FakeCacher(pods=())):
        with pytest.raises(InvalidToken, match="is gone"):
            await tokens(key_file, cacher).authenticate(token)
