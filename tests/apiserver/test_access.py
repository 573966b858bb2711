"""Who gets in, and what everybody may see."""

import httpx

from tests.apiserver.conftest import Api, http_client
from tests.apiserver.harness import ApiServer


async def test_nobody_gets_in_without_credentials_except_to_health_and_version(server: ApiServer) -> None:
    async with http_client(server) as client:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await client.get(path)).status_code == 200, path
        for path in ("/api", "/apis", "/api/v1/pods", "/metrics", "/openapi/v2", "/nowhere"):
            response = await client.get(path)
            assert response.status_code == 401, path
            assert response.json()["reason"] == "Unauthorized"
        assert (await client.post("/api/v1/namespaces", json={})).status_code == 401
        assert (await client.post("/version")).status_code == 401
        assert (await client.get("/readyz/etcd")).status_code == 401, (
            "what a check says is for those who run the cluster"
        )


async def test_a_wrong_token_is_unauthorized_even_for_health(server: ApiServer) -> None:
    async with http_client(server, headers={"authorization": "Bearer wrong"}) as client:
        assert (await client.get("/api/v1/pods")).status_code == 401


async def test_a_client_certificate_names_its_user(server: ApiServer) -> None:
    cert, key = server.pki.issue("admin", "kubernetes-admin", ["system:masters"])
    import ssl

    context = ssl.create_default_context(cafile=str(server.pki.ca))
    context.load_cert_chain(cert, key)
    async with httpx.AsyncClient(base_url=server.url, verify=context, trust_env=False) as client:
        assert (await client.get("/api/v1/namespaces")).status_code == 200


async def test_service_account_tokens_work_until_their_account_is_gone(
    server: ApiServer, api: Api, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await api.create(path, {"metadata": {"name": "robot"}})
    answer = await api.create(f"{path}/robot/token", {"spec": {"expirationSeconds": 600}})
    token = answer["status"]["token"]
    assert answer["status"]["expirationTimestamp"]
    async with http_client(server, headers={"authorization": f"Bearer {token}"}) as client:
        assert (await client.get("/api")).status_code == 200
        await api.call("DELETE", f"{path}/robot")
        assert (await client.get("/api")).status_code == 401


async def test_a_token_for_another_audience_is_not_for_us(server: ApiServer, api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await api.create(path, {"metadata": {"name": "robot"}})
    answer = await api.create(f"{path}/robot/token", {"spec": {"audiences": ["vault"]}})
    async with http_client(server, headers={"authorization": f"Bearer {answer['status']['token']}"}) as client:
        assert (await client.get("/api")).status_code == 401


async def test_a_token_is_bound_to_a_pod_of_its_account(api: Api, namespace: str) -> None:
    accounts, pods = f"/api/v1/namespaces/{namespace}/serviceaccounts", f"/api/v1/namespaces/{namespace}/pods"
    await api.create(accounts, {"metadata": {"name": "robot"}})
    spec = {"containers": [{"name": "c", "image": "x"}], "serviceAccountName": "other"}
    created = await api.create(pods, {"metadata": {"name": "p"}, "spec": spec})
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": created["metadata"]["uid"]}
    status = await api.create(f"{accounts}/robot/token", {"spec": {"boundObjectRef": reference}}, code=400)
    assert "different serviceaccount name" in status["message"]
    status = await api.create(f"{accounts}/robot/token", {"spec": {"expirationSeconds": 5}}, code=422)
    assert "may not specify a duration less than 10 minutes" in status["message"]


async def test_readiness_lists_its_checks(server: ApiServer) -> None:
    async with http_client(server) as client:
        text = (await client.get("/readyz?verbose")).text
    assert "[+]etcd ok" in text
    assert text.endswith("readyz check passed\n")


async def test_metrics_count_requests_by_upstreams_names(api: Api, namespace: str) -> None:
    await api.get(f"/api/v1/namespaces/{namespace}/pods")
    text = (await api.http.get("/metrics")).text
    assert (
        'apiserver_request_total{code="200",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"}'
        in text
    )
    assert "apiserver_request_duration_seconds_bucket{" in text
    assert 'apiserver_storage_objects{resource="namespaces"}' in text
