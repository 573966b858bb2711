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
from componentbase.tokenkeys import Keys

Object = dict[str, Any]
ACCOUNT = {"kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "ns", "uid": "u1"}}
POD = {"kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u2"}}
SECRET = {"kind": "Secret", "metadata": {"name": "s", "namespace": "ns", "uid": "u3"}}
NODE = {"kind": "Node", "metadata": {"name": "n", "uid": "u4"}}


class FakeCache:
    def __init__(self, plural: str, *objects: Object) -> None:
        row = lookup("", "v1", plural)
        assert row is not None
        self.codec = Codec(row)
        keys = ("/".join(filter(None, (o["metadata"].get("namespace"), o["metadata"]["name"]))) for o in objects)
        self._bodies = {key: self.codec.body(self.codec.encode(o), 1) for key, o in zip(keys, objects, strict=True)}

    def get(self, key: str) -> Any:
        return type("Entry", (), {"body": self._bodies[key]}) if key in self._bodies else None


class FakeCacher:
    """``secrets=()`` and so on: what is not as usual."""

    def __init__(self, **changed: tuple[Object, ...]) -> None:
        usual = {"serviceaccounts": (ACCOUNT,), "pods": (POD,), "secrets": (SECRET,), "nodes": (NODE,)}
        made = {plural: FakeCache(plural, *objects) for plural, objects in {**usual, **changed}.items()}
        self.caches = {**made, "minions": made["nodes"]}
        self.asked = 0

    async def consistent(self) -> int:
        self.asked += 1
        return 1


def write_key(path: Path, key: Any) -> str:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem)
    return str(path)


def tokens(path: str, cacher: Any = None, **changes: Any) -> ServiceAccountTokens:
    issuers = changes.pop("issuers", ("https://issuer",))
    return ServiceAccountTokens(issuers, Keys(path, ()), cacher or FakeCacher(), **changes)


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
    user, meant = await tokens(key_file).authenticate(token)
    assert meant == ("https://issuer",)
    assert (user.name, user.uid) == ("system:serviceaccount:ns:robot", "u1")
    assert set(user.groups) == {"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}
    assert user.extra["authentication.kubernetes.io/pod-name"] == ["p"]


async def test_a_token_of_another_key_or_issuer_or_audience_is_refused(key_file: str, tmp_path: Path) -> None:
    signer = tokens(key_file)
    token, _ = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600)
    other = write_key(tmp_path / "other.key", ec.generate_private_key(ec.SECP256R1()))
    for verifier in (tokens(other), tokens(key_file, issuers=("https://elsewhere",))):
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
    monkeypatch.setattr(serviceaccount.time, "time", lambda: expires + 59.0)
    await signer.authenticate(token)  # clocks differ
    monkeypatch.setattr(serviceaccount.time, "time", lambda: expires + 60.0)
    with pytest.raises(InvalidToken, match="expired"):
        await signer.authenticate(token)


def changed(obj: Object, **metadata: Any) -> Object:
    return {**obj, "metadata": {**obj["metadata"], **metadata}}


LONG_AGO = "2020-01-01T00:00:00Z"
BOUND = {"secrets": SECRET, "pods": POD, "nodes": NODE}


@pytest.mark.parametrize("plural", [*BOUND, "serviceaccounts"])
async def test_a_token_dies_with_its_account_and_with_what_it_is_bound_to(key_file: str, plural: str) -> None:
    signer = tokens(key_file)
    token, _ = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600, bound=BOUND.get(plural))
    await signer.authenticate(token)
    there = BOUND.get(plural, ACCOUNT)
    for left in ((), (changed(there, uid="another"),), (changed(there, deletionTimestamp=LONG_AGO),)):
        cacher = FakeCacher(**{plural: left})
        with pytest.raises(InvalidToken, match=r"invalidated|not found|deleted|UID"):
            await tokens(key_file, cacher).authenticate(token)
        assert cacher.asked == (0 if left else 1), "what is missing may only not have been seen yet"


async def test_the_node_of_a_pods_token_only_says_where_it_runs(key_file: str) -> None:
    signer = tokens(key_file)
    token, _ = signer.sign(ACCOUNT, audiences=signer.audiences, seconds=600, bound=POD, node=NODE)
    user, _ = await tokens(key_file, FakeCacher(nodes=())).authenticate(token)
    assert user.extra["authentication.kubernetes.io/node-name"] == ["n"]


async def test_a_pods_usual_token_lives_for_a_year_unless_that_is_turned_off(key_file: str) -> None:
    def life(bound: Object | None, seconds: int = 3607, audience: str = "https://issuer", **options: Any) -> int:
        signer = tokens(key_file, **options)
        token, renew = signer.sign(ACCOUNT, audiences=[audience], seconds=seconds, bound=bound)
        claims = signer.keys.claims(token)
        assert claims is not None
        assert renew == claims["iat"] + seconds, "the kubelet renews it as if it were short"
        assert claims["kubernetes.io"].get("warnafter", renew) == renew
        return int(claims["exp"] - claims["iat"])

    assert life(POD) == 365 * 24 * 3600
    assert life(POD, extend=False) == 3607
    assert life(POD, seconds=3600) == 3600
    assert life(POD, audience="vault") == 3607
    assert life(None) == 3607


async def test_only_the_first_issuer_signs_and_all_are_accepted(key_file: str) -> None:
    old, new = tokens(key_file, issuers=("https://old",)), tokens(key_file, issuers=("https://new", "https://old"))
    for signer in (old, new):
        token, _ = signer.sign(ACCOUNT, audiences=["https://old"], seconds=600)
        assert (await new.authenticate(token))[1] == ("https://old",)
    with pytest.raises(InvalidToken):
        await old.authenticate(token)


async def test_a_token_for_several_audiences_is_good_for_those_asked_about(key_file: str) -> None:
    signer = tokens(key_file, audiences=("api",))
    token, _ = signer.sign(ACCOUNT, audiences=["vault", "mail"], seconds=600)
    assert (await signer.authenticate(token, ("mail", "other")))[1] == ("mail",)
    with pytest.raises(
        InvalidToken, match=r'token audiences \["vault" "mail"\] is invalid for the target audiences \["api"\]'
    ):
        await signer.authenticate(token)


def legacy(signer: ServiceAccountTokens, **changes: str) -> str:
    prefix = "kubernetes.io/serviceaccount/"
    key = signer.keys.signing()
    assert key is not None
    return key.sign(
        {
            "iss": "kubernetes/serviceaccount",
            "sub": "system:serviceaccount:ns:robot",
            f"{prefix}namespace": "ns",
            f"{prefix}secret.name": "s",
            f"{prefix}service-account.name": "robot",
            f"{prefix}service-account.uid": "u1",
            **changes,
        }
    )


async def test_the_token_of_a_secret_is_good_while_the_secret_holds_it(key_file: str) -> None:
    signer = tokens(key_file)
    token = legacy(signer)
    holding = {**SECRET, "data": {"token": base64.b64encode(token.encode()).decode()}}
    user, meant = await tokens(key_file, FakeCacher(secrets=(holding,))).authenticate(token)
    assert (user.name, user.uid, meant) == ("system:serviceaccount:ns:robot", "u1", ("https://issuer",))
    marked = changed(holding, labels={"kubernetes.io/legacy-token-invalid-since": "2026-01-01"})
    deleting = changed(holding, deletionTimestamp="2120-01-01T00:00:00Z")
    other = {**SECRET, "data": {"token": base64.b64encode(b"other").decode()}}
    for secret, why in ((marked, "marked invalid"), (deleting, "invalidated"), (other, "server's copy")):
        with pytest.raises(InvalidToken, match=why):
            await tokens(key_file, FakeCacher(secrets=(secret,))).authenticate(token)
    with pytest.raises(InvalidToken, match="sub claim"):
        await signer.authenticate(legacy(signer, sub="system:serviceaccount:ns:admin"))
