"""Tokens as clients meet them: asked for, shown to the server and to TokenReview, verified by others with the public keys."""

import base64
import json
import ssl
from typing import Any

import httpx
import jwt
import pytest

from tests.apiserver.conftest import Api, http_client
from tests.apiserver.harness import ApiServer
from tests.apiserver.manifests import pod

Object = dict[str, Any]
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"
ISSUER = "https://kubernetes.default.svc.cluster.local"


@pytest.fixture
async def accounts(api: Api, namespace: str) -> str:
    """The path of a namespace's accounts, with ``robot`` among them."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await api.create(path, {"metadata": {"name": "robot"}})
    return path


async def token_of(api: Api, accounts: str, code: int = 201, **spec: Any) -> Object:
    answer: Object = await api.create(f"{accounts}/robot/token", {"spec": spec}, code=code)
    return answer


async def works(server: ApiServer, token: str) -> bool:
    async with http_client(server, headers={"authorization": f"Bearer {token}"}) as client:
        answer = await client.get("/api")
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def test_others_verify_a_token_with_the_discovery_document_and_the_keys(api: Api, accounts: str) -> None:
    token = (await token_of(api, accounts, audiences=["vault"]))["status"]["token"]
    document = await api.http.get(DISCOVERY)
    assert document.headers["content-type"] == "application/json"
    assert document.headers["cache-control"] == "public, max-age=3600"
    told = document.json()
    assert told["issuer"] == ISSUER
    assert told["jwks_uri"].endswith(KEYS)
    assert told["response_types_supported"] == ["id_token"]
    assert told["subject_types_supported"] == ["public"]
    keys = await api.http.get(KEYS)
    assert keys.headers["content-type"] == "application/jwk-set+json"
    assert keys.headers["cache-control"] == "public, max-age=3600"
    key = jwt.PyJWKSet.from_dict(keys.json())[jwt.get_unverified_header(token)["kid"]]
    assert key.algorithm_name in told["id_token_signing_alg_values_supported"]
    claims = jwt.decode(token, key.key, [key.algorithm_name], audience="vault", issuer=told["issuer"])
    assert claims["sub"].endswith(":robot")
    assert "d" not in keys.json()["keys"][0], "the private half stays here"


async def test_a_review_tells_whose_token_it_is_and_for_whom(api: Api, accounts: str) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"

    async def status(token: str, *audiences: str) -> Object:
        return (await api.create(path, {"spec": {"token": token, "audiences": list(audiences)}}))["status"]

    token = (await token_of(api, accounts, audiences=["vault", "mail"]))["status"]["token"]
    seen = await status(token, "vault", "other")
    assert (seen["authenticated"], seen["audiences"]) == (True, ["vault"])
    assert seen["user"]["username"].endswith(":robot")
    assert seen["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    refused = f'token audiences ["vault" "mail"] is invalid for the target audiences ["{ISSUER}"]'
    assert await status(token) == {"user": {}, "error": f"[invalid bearer token, {refused}]"}
    assert await status("x") == {"user": {}, "error": "invalid bearer token"}
    plain = await status("plain-token")
    assert (plain["user"]["username"], plain["audiences"]) == ("plain", [ISSUER])
    assert "authenticated" not in await status("plain-token", "vault"), "a token of the file is for this server only"
    nothing = await api.create(path, {"spec": {}}, code=400)
    assert nothing["message"] == "token is required for TokenReview in authentication"


@pytest.mark.parametrize("kind", ["Pod", "Secret", "Node"])
async def test_a_bound_token_dies_with_its_object(
    server: ApiServer, api: Api, accounts: str, namespace: str, kind: str
) -> None:
    where = f"/api/v1/namespaces/{namespace}"
    manifest: Object = pod("it", serviceAccountName="robot") if kind == "Pod" else {"metadata": {"name": "it"}}
    path = f"{where}/{kind.lower()}s"
    if kind == "Node":
        path, manifest["metadata"]["name"] = "/api/v1/nodes", f"of-{namespace}"
    made = await api.create(path, manifest)
    name = made["metadata"]["name"]
    reference = {"kind": kind, "apiVersion": "v1", "name": name, "uid": made["metadata"]["uid"]}
    token = (await token_of(api, accounts, boundObjectRef=reference))["status"]["token"]
    assert await works(server, token)
    await api.call("DELETE", f"{path}/{name}", {"gracePeriodSeconds": 0})
    assert not await works(server, token)


async def test_what_cannot_be_bound_or_asked_for_is_refused(api: Api, accounts: str, namespace: str) -> None:
    async def message(code: int, **spec: Any) -> str:
        return str((await token_of(api, accounts, code, **spec))["message"])

    reference = {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}
    text = "cannot bind token to object of type /v1, Kind=ConfigMap"
    assert await message(400, boundObjectRef=reference) == text
    assert (
        await message(404, boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "x"})
        == 'secrets "x" not found'
    )
    await api.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "x"}})
    stale = {"kind": "Secret", "apiVersion": "v1", "name": "x", "uid": "old"}
    assert 'cannot be fulfilled on Secret "x": the UID in the bound object' in await message(409, boundObjectRef=stale)
    assert "may not specify a duration less than 10 minutes" in await message(422, expirationSeconds=0)
    assert "may not specify a duration larger than 2^32 seconds" in await message(422, expirationSeconds=(1 << 32) + 1)


async def test_a_websocket_brings_its_token_among_its_protocols(server: ApiServer, api: Api, accounts: str) -> None:
    token = (await token_of(api, accounts))["status"]["token"]
    encoded = base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
    offered = f"base64url.bearer.authorization.k8s.io.{encoded}, v4.channel.k8s.io"
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-protocol": offered}
    async with http_client(server) as client:
        assert (await client.get("/api", headers=headers)).status_code == 200
        headers["sec-websocket-protocol"] = "base64url.bearer.authorization.k8s.io.eHl6"
        assert (await client.get("/api", headers=headers)).status_code == 401


async def test_a_certificates_user_is_told_with_its_fingerprint(server: ApiServer) -> None:
    cert, key = server.pki.issue("jane", "jane", ["team-a", "team-b"])
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    context.load_cert_chain(cert, key)
    async with httpx.AsyncClient(base_url=server.url, verify=context, trust_env=False) as client:
        answer = await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})
    user = answer.json()["status"]["userInfo"]
    assert user["username"] == "jane"
    assert user["groups"] == ["team-a", "team-b", "system:authenticated"]
    assert user["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


async def test_access_reviews_that_make_no_sense_are_invalid(api: Api, namespace: str) -> None:
    group = "/apis/authorization.k8s.io/v1"
    resource = {"resource": "pods", "verb": "get"}

    async def refused(path: str, spec: Object, **metadata: str) -> str:
        return str((await api.create(path, {"metadata": metadata, "spec": spec}, code=422))["message"])

    reviews = f"{group}/subjectaccessreviews"
    assert "exactly one of nonResourceAttributes or resourceAttributes" in await refused(reviews, {"user": "x"})
    both = {"user": "x", "resourceAttributes": resource, "nonResourceAttributes": {"path": "/", "verb": "get"}}
    assert "cannot be specified in combination with resourceAttributes" in await refused(reviews, both)
    nobody = {"resourceAttributes": resource}
    assert 'spec.user: Invalid value: "": at least one of user or group' in await refused(reviews, nobody)
    asked = {"user": "x", "resourceAttributes": resource}
    assert "metadata: Invalid value: " in await refused(reviews, asked, name="mine")
    local = f"{group}/namespaces/{namespace}/localsubjectaccessreviews"
    assert "must match metadata.namespace" in await refused(local, asked)
    here = {"user": "x", "resourceAttributes": {**resource, "namespace": namespace}}
    answer = await api.create(local, {"spec": here})
    assert answer["status"] == {"allowed": True}
    assert answer["metadata"]["namespace"] == namespace


@pytest.mark.binary("kubectl")
async def test_kubectl_creates_tokens(kubectl: Any, api: Api, accounts: str, namespace: str) -> None:
    def claims(*flags: str) -> Object:
        token = kubectl("create", "token", "robot", "-n", namespace, *flags).strip()
        return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

    plain = claims()
    assert (plain["aud"], plain["exp"] - plain["iat"]) == ([ISSUER], 3600)
    assert claims("--audience=vault", "--audience=mail", "--duration=30m")["aud"] == ["vault", "mail"]
    secret = await api.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "s"}})
    uid = secret["metadata"]["uid"]
    bound = claims("--bound-object-kind=Secret", "--bound-object-name=s", f"--bound-object-uid={uid}")
    assert bound["kubernetes.io"]["secret"] == {"name": "s", "uid": uid}
    refused = kubectl("create", "token", "robot", "-n", namespace, "--duration=1m", code=1)
    assert "may not specify a duration less than 10 minutes" in refused
