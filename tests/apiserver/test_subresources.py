"""Evictions that respect budgets, reviews, other versions of one storage, approval."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.apiserver.conftest import Api, http_client
from tests.apiserver.harness import ApiServer
from tests.apiserver.manifests import pod

POLICY = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"


@pytest.fixture
async def running(api: Api, namespace: str) -> str:
    """A ready pod with a label, on a node."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    body = pod("p", nodeName="n1")
    body["metadata"]["labels"] = {"app": "web"}
    await api.create(path, body)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await api.patch(f"{path}/p/status", {"status": status})
    return f"{path}/p"


async def test_a_pod_without_budget_is_evicted(api: Api, running: str) -> None:
    answer = await api.create(f"{running}/eviction", {"metadata": {"name": "p"}})
    assert answer["status"] == "Success"
    assert (await api.get(running))["metadata"]["deletionTimestamp"]


async def test_an_exhausted_budget_refuses_and_a_rich_one_is_spent(api: Api, running: str, namespace: str) -> None:
    path = POLICY.format(namespace)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    await api.create(path, {"metadata": {"name": "b"}, "spec": spec})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    status = await api.create(f"{running}/eviction", eviction, code=429)
    assert "still being processed" in status["details"]["causes"][0]["message"]
    counts = {
        "observedGeneration": 1,
        "disruptionsAllowed": 0,
        "desiredHealthy": 1,
        "currentHealthy": 1,
        "expectedPods": 1,
    }
    await api.patch(f"{path}/b/status", {"status": counts})
    status = await api.create(f"{running}/eviction", eviction, code=429)
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert (
        status["details"]["causes"][0]["message"] == "The disruption budget b needs 1 healthy pods and has 1 currently"
    )
    await api.patch(f"{path}/b/status", {"status": {"disruptionsAllowed": 1}})
    await api.create(f"{running}/eviction", eviction, dryRun="All")
    assert (await api.get(f"{path}/b"))["status"]["disruptionsAllowed"] == 1
    await api.create(f"{running}/eviction", eviction)
    spent = (await api.get(f"{path}/b"))["status"]
    assert spent["disruptionsAllowed"] == 0
    assert list(spent["disruptedPods"]) == ["p"]


async def test_reviews_tell_who_and_whether(api: Api, server: ApiServer) -> None:
    review = await api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert review["status"]["userInfo"]["username"] == "admin"
    assert "system:masters" in review["status"]["userInfo"]["groups"]
    access = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
    review = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", access)
    assert review["status"]["allowed"] is True
    await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}}, code=422)
    tokens = "/apis/authentication.k8s.io/v1/tokenreviews"
    good = await api.create(tokens, {"spec": {"token": "plain-token"}})
    assert good["status"]["user"]["username"] == "plain"
    bad = await api.create(tokens, {"spec": {"token": "nonsense"}})
    assert "authenticated" not in bad["status"]
    async with http_client(server) as anonymous:
        assert (await anonymous.post(tokens, json={})).status_code == 401


async def test_the_two_events_are_one(api: Api, namespace: str) -> None:
    regarding = {"kind": "Pod", "namespace": namespace, "name": "p"}
    event = {
        "metadata": {"name": "e", "namespace": namespace}, "eventTime": "2026-01-01T00:00:00.000000Z", "regarding": regarding,
        "reason": "Test", "note": "text", "type": "Normal", "action": "Act", "reportingController": "example.com/c",
        "reportingInstance": "c-1",
    }  # fmt: skip
    new = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    created = await api.create(new, event)
    assert (created["apiVersion"], created["note"]) == ("events.k8s.io/v1", "text")
    core = await api.get(f"/api/v1/namespaces/{namespace}/events/e")
    assert (core["apiVersion"], core["message"]) == ("v1", "text")
    assert core["involvedObject"] == regarding
    listed = await api.get(new)
    assert (listed["apiVersion"], listed["items"][0]["note"]) == ("events.k8s.io/v1", "text")


async def test_the_two_autoscalers_are_one(api: Api, namespace: str) -> None:
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    body = {
        "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
    }
    old = f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers"
    created = await api.create(old, body)
    assert (created["apiVersion"], created["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 50)
    new = await api.get(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/h")
    assert new["apiVersion"] == "autoscaling/v2"
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    patched = await api.patch(f"{old}/h", {"spec": {"targetCPUUtilizationPercentage": 70}})
    assert patched["spec"]["targetCPUUtilizationPercentage"] == 70
    again = await api.call("PUT", f"{old}/h", patched)
    assert again == patched


async def test_a_certificate_request_remembers_who_made_it_and_is_approved_apart(api: Api) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    spec = {
        "request": base64.b64encode(pem).decode(), "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"], "username": "somebody-else",
    }  # fmt: skip
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    await api.http.delete(f"{path}/c")
    created = await api.create(path, {"metadata": {"name": "c"}, "spec": spec})
    assert created["spec"]["username"] == "admin"
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "m"}
    created["status"] = {"conditions": [condition]}
    approved = await api.call("PUT", f"{path}/c/approval", created)
    assert approved["status"]["conditions"][0]["type"] == "Approved"
    assert (await api.get(f"{path}/c"))["status"]["conditions"][0]["status"] == "True"


async def test_an_ephemeral_container_is_added_to_a_pod(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(path, pod("p"))
    patch = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:1"}]}}
    changed = await api.patch(f"{path}/p/ephemeralcontainers", patch, "strategic")
    assert [c["name"] for c in changed["spec"]["ephemeralContainers"]] == ["debug"]
