"""A controller manager that is no master, on a server that enforces roles: every loop under its own account, and certificates
and tokens that it hands out are good.
"""

import base64
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from controllers import registry
from kubeclient import ApiError, Client, Config
from tests.apiserver.harness import ApiServer, Pki, Process, Store, _pem
from tests.controllers.certificates.made import asked, request
from tests.controllers.test_cluster import eventually, namespace, workload

Object = dict[str, Any]
CSR, CLIENT, KUBELET = (
    "certificates.k8s.io/v1",
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
)


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With the manager; at the end nobody was refused anything that a test did not mean."""
    folder = tmp_path_factory.mktemp("identities")
    store, pki = Store(folder / "store", "etcd_raft"), Pki(folder / "pki")
    server = ApiServer(folder, store, pki, "--authorization-mode=Node,RBAC")
    ca_key = folder / "ca.key"
    ca_key.write_bytes(_pem(pki._key))
    manager: Process | None = None
    try:
        store.start()
        server.start()
        kubeconfig = server.write_kubeconfig(folder / "manager-kubeconfig", "manager", "system:kube-controller-manager")
        command: list[str | Path] = [
            sys.executable, "-m", "controllers", f"--kubeconfig={kubeconfig}", "--secure-port=0",
            "--cluster-cidr=10.244.0.0/16", "--use-service-account-credentials",
            f"--service-account-private-key-file={pki.signing_key()}",
            f"--cluster-signing-cert-file={pki.ca}", f"--cluster-signing-key-file={ca_key}", "--cluster-signing-duration=1h",
        ]  # fmt: skip
        manager = Process("manager", command, folder)
        yield server
        assert server.process is not None
        log = server.process.log.read_text() + manager.log.read_text()
        refused = [line for line in log.splitlines() if "is forbidden" in line and "jane" not in line]
        assert not refused, "\n".join(refused)
        assert "Traceback" not in log, log[-4000:]
    finally:
        if manager is not None:
            manager.stop()
        server.stop()
        store.stop()


@pytest_asyncio.fixture
async def admin(enforcing: ApiServer) -> AsyncIterator[Client]:
    async with Client(Config.load(str(enforcing.kubeconfig))) as client:
        yield client


async def signed(client: Client, name: str) -> bytes:
    requests = client.resource(CSR, "certificatesigningrequests")

    async def certificate() -> str:
        return (await requests.get(name)).get("status", {}).get("certificate", "")

    return base64.b64decode(await eventually(f"certificate of {name}", certificate))


async def test_loops_work_as_their_own_accounts(admin: Client) -> None:
    where = await namespace(admin, "own-accounts")
    await admin.resource("apps/v1", "deployments").create(workload("Deployment", "web", where, replicas=2))
    pods = admin.resource("v1", "pods")

    async def two() -> bool:
        return len((await pods.list(where))["items"]) == 2

    await eventually("pods of the deployment", two)
    accounts = {
        a["metadata"]["name"] for a in (await admin.resource("v1", "serviceaccounts").list("kube-system"))["items"]
    }
    assert {"deployment-controller", "replicaset-controller", "root-ca-cert-publisher"} <= accounts
    await admin.resource("v1", "namespaces").delete(where)

    async def gone() -> bool:
        try:
            await admin.resource("v1", "namespaces").get(where)
        except ApiError as error:
            return error.not_found
        return False

    await eventually("namespace gone", gone)


async def test_an_account_that_is_made_anew_is_taken_up(admin: Client) -> None:
    accounts = admin.resource("v1", "serviceaccounts")
    await namespace(admin, "before")
    await eventually("the loop's account", lambda: accounts.get("service-account-controller", "kube-system"))
    await accounts.delete("service-account-controller", "kube-system")
    await namespace(admin, "after")
    await accounts.get("service-account-controller", "kube-system")


async def test_an_approved_certificate_opens_the_api(enforcing: ApiServer, admin: Client, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    requests = admin.resource(CSR, "certificatesigningrequests")
    made = await requests.create(request("jane", asked("jane", ["team"], key=key), CLIENT, "client auth"))
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"}
    await requests.update({**made, "status": {"conditions": [condition]}}, subresource="approval")
    (tmp_path / "jane.crt").write_bytes(await signed(admin, "jane"))
    (tmp_path / "jane.key").write_bytes(_pem(key))
    context = ssl.create_default_context(cafile=str(enforcing.pki.ca))
    context.load_cert_chain(tmp_path / "jane.crt", tmp_path / "jane.key")
    async with httpx.AsyncClient(base_url=enforcing.url, verify=context, trust_env=False) as client:
        review = await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})
        assert review.json()["status"]["userInfo"]["groups"] == ["team", "system:authenticated"]
        assert (await client.get("/api/v1/pods")).status_code == 403


@pytest.mark.binary("kubectl")
async def test_kubectl_approves_and_denies(enforcing: ApiServer, admin: Client, tmp_path: Path) -> None:
    def kubectl(*arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", str(enforcing.kubeconfig), f"--cache-dir={tmp_path}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    requests = admin.resource(CSR, "certificatesigningrequests")
    for name in ("good", "bad"):
        await requests.create(request(name, asked(name), CLIENT, "client auth"))
    assert kubectl("certificate", "approve", "good").endswith("/good approved\n")
    assert kubectl("certificate", "deny", "bad").endswith("/bad denied\n")
    assert b"BEGIN CERTIFICATE" in await signed(admin, "good")
    shown = kubectl("get", "csr").splitlines()
    assert any(line.startswith("good ") and line.endswith("Approved,Issued") for line in shown), shown
    assert any(line.startswith("bad ") and line.endswith("Denied") for line in shown), shown


async def test_what_a_signer_does_not_grant_fails_with_the_reason(admin: Client) -> None:
    requests = admin.resource(CSR, "certificatesigningrequests")
    made = await requests.create(request("wrong", asked("jane"), CLIENT, "client auth", "server auth"))
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"}
    await requests.update({**made, "status": {"conditions": [condition]}}, subresource="approval")

    async def failed() -> Object | None:
        conditions = (await requests.get("wrong"))["status"]["conditions"]
        return next((c for c in conditions if c["type"] == "Failed"), None)

    found = await eventually("failure", failed)
    assert (found["reason"], found["message"]) == (
        "SignerValidationFailure",
        "invalid usage for client certificate: server auth",
    )


async def test_a_kubelets_request_for_itself_is_approved_when_its_role_says_so(
    enforcing: ApiServer, admin: Client
) -> None:
    rbac = "rbac.authorization.k8s.io/v1"
    role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}
    bindings = admin.resource(rbac, "clusterrolebindings")
    await bindings.create({"metadata": {"name": "renewal"}, "roleRef": reference, "subjects": [subject]})
    path = enforcing.write_kubeconfig(enforcing.folder / "n1", "n1", "system:node:n1", ["system:nodes"])
    usages = ("digital signature", "client auth")
    async with Client(Config.load(str(path))) as kubelet:
        requests = kubelet.resource(CSR, "certificatesigningrequests")
        await requests.create(request("own", asked("system:node:n1", ["system:nodes"]), KUBELET, *usages))
        await requests.create(request("others", asked("system:node:n2", ["system:nodes"]), KUBELET, *usages))
        assert b"BEGIN CERTIFICATE" in await signed(kubelet, "own")
        own = (await requests.get("own"))["status"]["conditions"][0]
        assert own["message"] == "Auto approving self kubelet client certificate after SubjectAccessReview."
        # Asked after "own", by the same loop: it has been looked at by now, or is while this is signed.
        await requests.create(request("own-2", asked("system:node:n1", ["system:nodes"]), KUBELET, *usages))
        await signed(kubelet, "own-2")
        assert not ((await requests.get("others")).get("status") or {}).get("conditions")


async def test_a_secret_gets_its_accounts_token_and_goes_with_the_account(enforcing: ApiServer, admin: Client) -> None:
    where = await namespace(admin, "token-secrets")
    secrets = admin.resource("v1", "secrets")
    metadata = {"name": "t", "namespace": where, "annotations": {"kubernetes.io/service-account.name": "default"}}
    await secrets.create({"metadata": metadata, "type": "kubernetes.io/service-account-token"})

    async def filled() -> Object | None:
        found = await secrets.get("t", where)
        return found if (found.get("data") or {}).get("token") else None

    secret = await eventually("token", filled)
    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    assert data["namespace"] == where.encode()
    assert b"BEGIN CERTIFICATE" in data["ca.crt"]
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"]

    async def asks() -> httpx.Response:
        context = ssl.create_default_context(cafile=str(enforcing.pki.ca))
        headers = {"authorization": f"Bearer {data['token'].decode()}"}
        async with httpx.AsyncClient(
            base_url=enforcing.url, verify=context, trust_env=False, headers=headers
        ) as client:
            return await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})

    user = (await asks()).json()["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{where}:default"
    await admin.resource("v1", "serviceaccounts").delete("default", where)
    assert (await asks()).status_code == 401

    async def gone() -> bool:
        try:
            await secrets.get("t", where)
        except ApiError as error:
            return error.not_found
        return False

    await eventually("secret gone", gone)


def test_every_loops_account_has_a_role_of_its_name() -> None:
    from apiserver.authorization.controllerroles import ROLES

    roles = {role.name for role in ROLES}
    for entry in registry.LOOPS:
        assert not entry.account or f"system:controller:{entry.account}" in roles, entry.name
