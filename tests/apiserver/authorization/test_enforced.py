"""A real API server with ``--authorization-mode=Node,RBAC``, driven by kubectl: everybody may do what roles say, no more."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apiserver.conftest import http_client, kubectl_binaries
from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store, eventually

Object = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MODE = "--authorization-mode=Node,RBAC"
needs_kubectl = pytest.mark.binary("kubectl")


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("rbac")
    store = Store(folder / "store", "etcd_raft")
    started = ApiServer(folder, store, pki, MODE, "--disable-admission-plugins=ServiceAccount")
    try:
        store.start()
        started.start()
        yield started
        log = started.process.log.read_text() if started.process else ""
        assert "Traceback" not in log, f"the API server logged a bug:\n{log[-4000:]}"
    finally:
        started.stop()
        store.stop()


class Caller:
    """Requests with a token, as somebody else when ``acting`` has the headers for it."""

    def __init__(self, server: ApiServer, token: str = TOKEN, **acting: str) -> None:
        self.server, self.token, self.acting = server, token, acting

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: list[tuple[str, str]] | None = None
    ) -> httpx.Response:
        sent = [("authorization", f"Bearer {self.token}")] if self.token else []
        sent += [*self.acting.items(), *(headers or [])]
        async with http_client(self.server) as client:
            return await client.request(method, path, json=body, headers=sent)


def acting(server: ApiServer, user: str) -> Caller:
    return Caller(server, **{"impersonate-user": user})


async def made(call: Caller, path: str, body: Object) -> Object:
    answer = await call("POST", path, body)
    assert answer.status_code == 201, answer.text
    found: Object = answer.json()
    return found


async def seen(admin: Caller, user: str, resource: Object) -> None:
    """Until the server's index holds what was just written: a write is answered before its event is back."""
    review = {"spec": {"user": user, "resourceAttributes": resource}}
    for _ in range(200):
        answer = await admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        if answer.json()["status"]["allowed"]:
            return
    raise AssertionError(f"{user} was never allowed {resource}")


def rule(verbs: str, resources: str, group: str = "") -> Object:
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}


def bind(name: str, role: str, user: str) -> Object:
    kind, _, target = role.partition("/")
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": target}
    return {"metadata": {"name": name}, "roleRef": reference, "subjects": [{"kind": "User", "name": user}]}


@pytest.fixture
def kubectl(enforcing: ApiServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    binary = (kubectl_binaries() or [shutil.which("kubectl") or "kubectl"])[-1]

    def run(*args: str, stdin: Object | None = None) -> subprocess.CompletedProcess[str]:
        command = [binary, "--kubeconfig", str(enforcing.kubeconfig), f"--cache-dir={tmp_path}", *args]
        text = json.dumps(stdin) if stdin is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)

    return run


# --- roles


@needs_kubectl
def test_a_service_account_may_do_exactly_what_its_role_binding_says(
    enforcing: ApiServer, kubectl: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    def ok(*args: str) -> str:
        done = kubectl(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ok("create", "namespace", "shop")
    ok("create", "namespace", "bank")
    ok("-n", "shop", "create", "serviceaccount", "robot")
    ok("-n", "shop", "create", "role", "reader", "--verb=get,list", "--resource=pods,configmaps")
    ok("-n", "shop", "create", "role", "one", "--verb=delete", "--resource=configmaps", "--resource-name=mine")
    ok("-n", "shop", "create", "rolebinding", "r", "--role=reader", "--serviceaccount=shop:robot")
    ok("-n", "shop", "create", "rolebinding", "o", "--role=one", "--serviceaccount=shop:robot")
    for name in ("mine", "yours"):
        ok("-n", "shop", "create", "configmap", name)
    robot = "--token=" + ok("-n", "shop", "create", "token", "robot").strip()
    # A client certificate would win over the token, so the robot gets a kubeconfig without one.
    bare = json.loads(enforcing.kubeconfig.read_text())
    bare["users"][0]["user"] = {}
    config = enforcing.folder / "robot.kubeconfig"
    config.write_text(json.dumps(bare))

    def as_robot(*args: str) -> subprocess.CompletedProcess[str]:
        return kubectl(f"--kubeconfig={config}", robot, *args)

    who = "system:serviceaccount:shop:robot"
    eventually("the bindings count", lambda: as_robot("-n", "shop", "get", "pods").returncode == 0)
    assert "mine" in as_robot("-n", "shop", "get", "configmaps", "-o", "name").stdout
    refused = as_robot("-n", "bank", "get", "pods")
    assert refused.returncode == 1
    assert refused.stderr == (
        f'Error from server (Forbidden): pods is forbidden: User "{who}" cannot list resource "pods" in API group "" '
        'in the namespace "bank"\n'
    )
    assert "cannot list" in as_robot("get", "pods", "-A").stderr
    assert "cannot create" in as_robot("-n", "shop", "create", "configmap", "new").stderr
    assert f'configmaps "yours" is forbidden: User "{who}" cannot delete' in (
        as_robot("-n", "shop", "delete", "configmap", "yours").stderr
    )
    assert as_robot("-n", "shop", "delete", "configmap", "mine").returncode == 0
    assert as_robot("auth", "can-i", "list", "pods", "-n", "shop").stdout == "yes\n"
    assert as_robot("auth", "can-i", "watch", "pods", "-n", "shop").stdout == "no\n"
    assert as_robot("auth", "can-i", "get", "pods", "--subresource=log", "-n", "shop").stdout == "no\n"
    assert who in as_robot("auth", "whoami").stdout
    assert "[mine]" in as_robot("auth", "can-i", "--list", "-n", "shop").stdout
    assert kubectl("auth", "can-i", "list", "pods", "-n", "shop", f"--as={who}").stdout == "yes\n"
    ok("-n", "shop", "delete", "rolebinding", "r")
    eventually("the binding is gone", lambda: as_robot("-n", "shop", "get", "pods").returncode == 1)


@needs_kubectl
def test_auth_reconcile_adds_what_a_role_lacks(kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reconciled"},
        "rules": [rule("get", "pods")],
    }
    for verbs in ("get", "get list"):
        role["rules"] = [rule(verbs, "pods")]
        done = kubectl("auth", "reconcile", "-f", "-", stdin=role)
        assert done.returncode == 0, done.stderr
    held = json.loads(kubectl("get", "clusterrole", "reconciled", "-o", "json").stdout)["rules"]
    assert {verb for r in held for verb in r["verbs"]} == {"get", "list"}


# --- escalation


async def test_nobody_hands_out_what_they_do_not_hold(enforcing: ApiServer) -> None:
    admin, jane = Caller(enforcing), acting(enforcing, "jane")
    await made(admin, "/api/v1/namespaces", {"metadata": {"name": "jane"}})
    everything = rule("create update patch get", "roles rolebindings", "rbac.authorization.k8s.io")
    roles, bindings = f"{RBAC}/namespaces/jane/roles", f"{RBAC}/namespaces/jane/rolebindings"
    await made(admin, roles, {"metadata": {"name": "keeper"}, "rules": [everything, rule("get", "pods")]})
    await made(admin, roles, {"metadata": {"name": "secretive"}, "rules": [rule("get", "secrets")]})
    await made(admin, bindings, bind("keeper", "Role/keeper", "jane"))
    asked = {"namespace": "jane", "verb": "create", "group": "rbac.authorization.k8s.io", "resource": "roles"}
    await seen(admin, "jane", asked)

    await made(jane, roles, {"metadata": {"name": "fine"}, "rules": [rule("get", "pods")]})
    answer = await jane("POST", roles, {"metadata": {"name": "more"}, "rules": [rule("list get", "pods secrets")]})
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["system:authenticated"]) is attempting '
        'to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["list" "get"]}'
    )
    more = [{"op": "replace", "path": "/rules", "value": [rule("*", "*", "*")]}]
    patched = await jane("PATCH", f"{roles}/fine", more, headers=[("content-type", "application/json-patch+json")])
    assert patched.status_code == 403, patched.text

    assert (await jane("POST", bindings, bind("f", "Role/fine", "john"))).status_code == 201
    for name, role in (("s", "Role/secretive"), ("a", "ClusterRole/cluster-admin")):
        answer = await jane("POST", bindings, bind(name, role, "jane"))
        assert answer.status_code == 403, answer.text
        assert "not currently held" in answer.json()["message"]
    answer = await jane("POST", bindings, bind("n", "Role/nowhere", "jane"))
    assert answer.status_code == 404
    assert answer.json()["message"] == 'roles.rbac.authorization.k8s.io "nowhere" not found'

    special = {**rule("bind", "clusterroles", "rbac.authorization.k8s.io"), "resourceNames": ["cluster-admin"]}
    await made(admin, roles, {"metadata": {"name": "binder"}, "rules": [special]})
    await made(admin, bindings, bind("binder", "Role/binder", "jane"))
    await seen(admin, "jane", {**asked, "verb": "bind", "resource": "clusterroles", "name": "cluster-admin"})
    assert (await jane("POST", bindings, bind("a", "ClusterRole/cluster-admin", "jane"))).status_code == 201


async def test_only_who_may_do_everything_writes_an_aggregation_rule(enforcing: ApiServer) -> None:
    admin, kim = Caller(enforcing), acting(enforcing, "kim")
    role = {"metadata": {"name": "writer"}, "rules": [rule("create", "clusterroles", "rbac.authorization.k8s.io")]}
    await made(admin, f"{RBAC}/clusterroles", role)
    await made(admin, f"{RBAC}/clusterrolebindings", bind("writer", "ClusterRole/writer", "kim"))
    await seen(admin, "kim", {"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "clusterroles"})
    gathers = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    body = {"metadata": {"name": "all"}, "aggregationRule": gathers, "rules": []}
    answer = await kim("POST", f"{RBAC}/clusterroles", body)
    assert answer.status_code == 403
    assert "must have cluster-admin privileges to use the aggregationRule" in answer.json()["message"]


# --- who


async def test_impersonation_has_to_be_allowed(enforcing: ApiServer) -> None:
    admin, plain = Caller(enforcing), Caller(enforcing, token="plain-token")
    answer = await plain("GET", "/api/v1/pods", headers=[("impersonate-user", "kubernetes-admin")])
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'users "kubernetes-admin" is forbidden: User "plain" cannot impersonate resource "users" in API group "" '
        "at the cluster scope"
    )
    answer = await plain("GET", "/api/v1/pods", headers=[("impersonate-group", "system:masters")])
    assert answer.status_code == 500
    role = {"metadata": {"name": "actor"}, "rules": [{**rule("impersonate", "users"), "resourceNames": ["lea"]}]}
    await made(admin, f"{RBAC}/clusterroles", role)
    await made(admin, f"{RBAC}/clusterrolebindings", bind("actor", "ClusterRole/actor", "plain"))
    await seen(admin, "plain", {"verb": "impersonate", "resource": "users", "name": "lea"})
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await plain("POST", review, {}, headers=[("impersonate-user", "lea")])
    assert answer.json()["status"]["userInfo"] == {"username": "lea", "groups": ["system:authenticated"]}
    for header, resource in (
        (("impersonate-group", "system:masters"), "groups"),
        (("impersonate-uid", "7"), "uids"),
        (("impersonate-extra-scopes", "all"), "userextras/scopes"),
    ):
        answer = await plain("POST", review, {}, headers=[("impersonate-user", "lea"), header])
        assert answer.status_code == 403, header
        assert f'cannot impersonate resource "{resource}"' in answer.json()["message"]


async def test_all_of_an_identity_can_be_taken(enforcing: ApiServer) -> None:
    headers = [
        ("impersonate-user", "lea"), ("impersonate-group", "a, b"), ("impersonate-group", "c"), ("impersonate-uid", "7"),
        ("impersonate-extra-Acme.com%2Fscopes", "x"), ("impersonate-extra-acme.com%2fscopes", "y"),
    ]  # fmt: skip
    answer = await Caller(enforcing)("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, headers=headers)
    assert answer.json()["status"]["userInfo"] == {
        "username": "lea", "uid": "7", "groups": ["a, b", "c", "system:authenticated"],
        "extra": {"acme.com/scopes": ["x", "y"]},
    }  # fmt: skip


async def test_nobody_sees_more_than_health_and_version(enforcing: ApiServer) -> None:
    nobody = Caller(enforcing, token="")
    assert (await nobody("GET", "/version")).status_code == 200
    assert (await nobody("GET", "/api")).status_code == 401
    assert (await nobody("GET", "/api/v1/secrets")).status_code == 401
    answer = await nobody("GET", "/api/v1/secrets", headers=[("impersonate-user", "kubernetes-admin")])
    assert answer.status_code in (401, 403)


async def test_what_is_not_there_is_forbidden_first_and_not_found_then(enforcing: ApiServer) -> None:
    plain, admin = Caller(enforcing, "plain-token"), Caller(enforcing)
    for method, path, text in (
        ("GET", "/nowhere", 'forbidden: User "plain" cannot get path "/nowhere"'),
        ("POST", "/version", 'forbidden: User "plain" cannot post path "/version"'),
        (
            "GET",
            "/api/v1/foos",
            'foos is forbidden: User "plain" cannot list resource "foos" in API group "" at the cluster scope',
        ),
        (
            "GET",
            "/apis/x.io/v1/namespaces/ns/foos/f/bar",
            'foos.x.io "f" is forbidden: User "plain" cannot get resource "foos/bar" in API group "x.io" in the namespace "ns"',
        ),
        (
            "PUT",
            "/api/v1/pods",
            'pods is forbidden: User "plain" cannot update resource "pods" in API group "" at the cluster scope',
        ),
    ):
        refused = await plain(method, path)
        assert (refused.status_code, refused.json()["message"]) == (403, text)
        if method == "GET":
            missing = await admin(method, path)
            assert (missing.status_code, missing.text) == (404, "404 page not found\n")
            assert missing.headers["content-type"] == "text/plain; charset=utf-8"


async def test_everybody_with_a_credential_discovers_but_reads_nothing(enforcing: ApiServer) -> None:
    plain = Caller(enforcing, token="plain-token")
    for path in ("/api", "/apis", "/openapi/v3", "/version"):
        assert (await plain("GET", path)).status_code == 200, path
    answer = await plain("GET", "/metrics")
    assert answer.json()["message"] == 'forbidden: User "plain" cannot get path "/metrics"'
    assert (await plain("GET", "/apis/nobody.example.com/v1/things")).status_code == 403


async def test_who_may_change_but_not_create_makes_nothing_by_put_or_apply(enforcing: ApiServer) -> None:
    admin = Caller(enforcing)
    await made(admin, "/api/v1/namespaces", {"metadata": {"name": "changes"}})
    rules = [rule("get update patch", "configmaps"), rule("get update patch", "leases", "coordination.k8s.io")]
    await made(admin, f"{RBAC}/namespaces/changes/roles", {"metadata": {"name": "editor"}, "rules": rules})
    await made(admin, f"{RBAC}/namespaces/changes/rolebindings", bind("editors", "Role/editor", "editor"))
    patching = {"verb": "patch", "resource": "configmaps", "namespace": "changes"}
    await seen(admin, "editor", patching)
    editor = acting(enforcing, "editor")
    apply = [("content-type", "application/apply-patch+yaml")]
    path = "/api/v1/namespaces/changes/configmaps"
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    refused = await editor("PATCH", f"{path}/a?fieldManager=editor", config, apply)
    assert refused.status_code == 403
    assert 'User "editor" cannot create resource "configmaps"' in refused.json()["message"]
    lease = {"metadata": {"name": "l"}, "spec": {}}
    refused = await editor("PUT", "/apis/coordination.k8s.io/v1/namespaces/changes/leases/l", lease)
    assert refused.status_code == 403
    assert 'cannot create resource "leases"' in refused.json()["message"]
    await made(admin, path, {"metadata": {"name": "a"}})
    assert (await editor("PATCH", f"{path}/a?fieldManager=editor", config, apply)).status_code == 200


async def test_watching_needs_the_right_to_watch(enforcing: ApiServer) -> None:
    admin, lister = Caller(enforcing), acting(enforcing, "lister")
    await made(admin, f"{RBAC}/clusterroles", {"metadata": {"name": "lister"}, "rules": [rule("list", "nodes")]})
    await made(admin, f"{RBAC}/clusterrolebindings", bind("lister", "ClusterRole/lister", "lister"))
    await seen(admin, "lister", {"verb": "list", "resource": "nodes"})
    assert (await lister("GET", "/api/v1/nodes")).status_code == 200
    answer = await lister("GET", "/api/v1/nodes?watch=1&timeoutSeconds=1")
    assert answer.status_code == 403
    assert "cannot watch" in answer.json()["message"]


# --- nodes


async def test_a_kubelet_reads_the_secrets_of_its_own_pods(enforcing: ApiServer) -> None:
    admin = Caller(enforcing)
    node = Caller(enforcing, **{"impersonate-user": "system:node:n1", "impersonate-group": "system:nodes"})
    await made(admin, "/api/v1/namespaces", {"metadata": {"name": "nodes"}})
    for name in ("used", "unused"):
        await made(admin, "/api/v1/namespaces/nodes/secrets", {"metadata": {"name": name}})
    volume = {"name": "v", "secret": {"secretName": "used"}}
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "x"}], "volumes": [volume]}
    await made(admin, "/api/v1/namespaces/nodes/pods", {"metadata": {"name": "p"}, "spec": spec})
    answer = await node("GET", "/api/v1/namespaces/nodes/secrets/used")
    assert answer.status_code == 200, answer.text
    answer = await node("GET", "/api/v1/namespaces/nodes/secrets/unused")
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'secrets "unused" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the '
        "namespace \"nodes\": no relationship found between node 'n1' and this object"
    )
    one = "/api/v1/namespaces/nodes/secrets?fieldSelector=metadata.name%3D"
    assert (await node("GET", f"{one}used")).status_code == 200
    assert (await node("GET", f"{one}unused")).status_code == 403
    assert (await node("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")).status_code == 200
    assert (await node("GET", "/api/v1/pods")).status_code == 403


async def test_a_kubelet_takes_no_identity_but_that_of_its_pods(enforcing: ApiServer) -> None:
    admin = Caller(enforcing)
    node = Caller(enforcing, **{"impersonate-user": "system:node:n3", "impersonate-group": "system:nodes"})
    await made(admin, "/api/v1/namespaces", {"metadata": {"name": "tokens"}})
    accounts, pods = "/api/v1/namespaces/tokens/serviceaccounts", "/api/v1/namespaces/tokens/pods"
    for name in ("mine", "admin"):
        await made(admin, accounts, {"metadata": {"name": name}})
    spec: Object = {"containers": [{"name": "c", "image": "x"}], "nodeName": "n3"}
    pod = await made(admin, pods, {"metadata": {"name": "p"}, "spec": {**spec, "serviceAccountName": "mine"}})
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    await made(node, f"{accounts}/mine/token", {"spec": {"boundObjectRef": reference}})
    answer = await node("POST", f"{accounts}/mine/token", {"spec": {}})
    assert answer.status_code == 403
    assert "not bound to a pod" in answer.json()["message"]
    answer = await node("POST", f"{accounts}/admin/token", {"spec": {"boundObjectRef": reference}})
    assert "no relationship found" in answer.json()["message"]
    answer = await node("POST", pods, {"metadata": {"name": "q"}, "spec": {**spec, "serviceAccountName": "admin"}})
    assert answer.status_code == 403
    assert "can only create mirror pods" in answer.json()["message"]


# --- the defaults


async def test_the_defaults_are_there_once_the_server_is_ready(enforcing: ApiServer, pki: Pki) -> None:
    admin = Caller(enforcing)
    found = (await admin("GET", f"{RBAC}/clusterroles")).json()["items"]
    names = {role["metadata"]["name"] for role in found}
    assert {"cluster-admin", "admin", "edit", "view", "system:discovery", "system:kube-scheduler"} <= names
    assert (await admin("GET", f"{RBAC}/namespaces/kube-system/roles")).json()["items"]


async def test_another_server_mends_the_defaults_and_writes_nothing_else(
    enforcing: ApiServer, pki: Pki, tmp_path: Path
) -> None:
    admin = Caller(enforcing)
    path = f"{RBAC}/clusterroles"
    before = {
        r["metadata"]["name"]: r["metadata"]["resourceVersion"] for r in (await admin("GET", path)).json()["items"]
    }
    headers = [("content-type", "application/merge-patch+json")]
    assert (await admin("PATCH", f"{path}/system:kube-dns", {"rules": []}, headers)).status_code == 200
    kept = {"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": []}
    assert (await admin("PATCH", f"{path}/system:heapster", kept, headers)).status_code == 200
    bindings = f"{RBAC}/clusterrolebindings"
    assert (await admin("DELETE", f"{bindings}/system:kube-dns")).status_code == 200
    other = bind("system:kube-dns", "ClusterRole/view", "jane")
    await made(admin, bindings, other)
    second = ApiServer(tmp_path, enforcing.store, pki, MODE)
    try:
        second.start()
    finally:
        second.stop()
    after = {r["metadata"]["name"]: r for r in (await admin("GET", path)).json()["items"]}
    assert after["system:kube-dns"]["rules"]
    assert not after["system:heapster"].get("rules")
    changed = {n for n, r in after.items() if before.get(n) != r["metadata"]["resourceVersion"]}
    assert changed == {"system:kube-dns", "system:heapster"}
    assert (await admin("GET", f"{bindings}/system:kube-dns")).json()["roleRef"]["name"] == "system:kube-dns"
