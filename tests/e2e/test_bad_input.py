"""Bad input never gets a 500, never kills a process, and gets one ``error:`` line from the command line."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e.running import Running, deployment

pytestmark = [pytest.mark.cluster, pytest.mark.root]

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON = "application/json"


def call(
    cluster: Running,
    method: str,
    path: str,
    body: bytes | None = None,
    content_type: str = JSON,
    *,
    credentials: bool = True,
) -> tuple[int, dict[str, Any]]:
    """Code and Status of one request, made without any client library that would correct it."""
    pki = cluster.home.pki
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    if credentials:
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    server = json.loads(cluster.home.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    request = urllib.request.Request(server + path, body, {"Content-Type": content_type}, method=method)
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        content = error.read()
        is_json = error.headers.get_content_type() == JSON
        return error.code, json.loads(content) if is_json else {"text": content.decode().strip()}


def changed(**spec: Any) -> bytes:
    made = deployment("bad")
    made["spec"].update(spec)
    return json.dumps(made).encode()


CASES: list[tuple[str, str, str, bytes | None, str, set[int], str]] = [
    ("broken JSON", "POST", DEPLOYMENTS, b'{"kind": ', JSON, {400}, ""),
    ("broken YAML", "POST", DEPLOYMENTS, b"kind: [", "application/yaml", {400}, ""),
    ("not an object", "POST", DEPLOYMENTS, b"[1, 2]", JSON, {400}, ""),
    (
        "unknown kind",
        "POST",
        DEPLOYMENTS,
        b'{"apiVersion": "apps/v1", "kind": "Deploymint"}',
        JSON,
        {400},
        "Deploymint",
    ),
    ("wrong type", "POST", DEPLOYMENTS, changed(replicas="three"), JSON, {400, 422}, "replicas"),
    (
        "unknown field",
        "POST",
        DEPLOYMENTS + "?fieldValidation=Strict",
        changed(replica=3),
        JSON,
        {400, 422},
        "spec.replica",
    ),
    ("rule broken", "POST", DEPLOYMENTS, changed(replicas=-1), JSON, {422}, "spec.replicas"),
    ("body of another format", "POST", DEPLOYMENTS, b"x", "text/plain", {415}, ""),
    ("method that is not there", "PUT", DEPLOYMENTS, b"{}", JSON, {405}, ""),
    (
        "broken patch",
        "PATCH",
        "/api/v1/namespaces/default",
        b'[{"op": "jump"}]',
        "application/json-patch+json",
        {400, 422},
        "",
    ),
    ("patch of unknown kind", "PATCH", "/api/v1/namespaces/default", b"{}", "application/nonsense", {415}, ""),
    ("bad selector", "GET", "/api/v1/pods?labelSelector=a%20b%20c", None, JSON, {400}, ""),
    ("bad resourceVersion", "GET", "/api/v1/pods?resourceVersion=x", None, JSON, {400}, ""),
    ("bad limit", "GET", "/api/v1/pods?limit=x", None, JSON, {400}, ""),
    ("deep nesting", "POST", DEPLOYMENTS, b'{"a":' * 5000 + b"1" + b"}" * 5000, JSON, {400}, ""),
    ("not UTF-8", "POST", DEPLOYMENTS, b'{"kind": "\xff\xfe"}', JSON, {400}, ""),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "codes", "mentions"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_server_refuses(
    two_nodes: Running, method: str, path: str, body: bytes | None, content_type: str, codes: set[int], mentions: str
) -> None:
    pid = two_nodes.record("apiserver-0").pid
    code, status = call(two_nodes, method, path, body, content_type)
    assert code in codes, status
    assert status.get("kind") == "Status"
    assert status["status"] == "Failure"
    assert status["code"] == code
    assert mentions in json.dumps(status)
    assert two_nodes.record("apiserver-0").pid == pid
    assert two_nodes.record("apiserver-0").alive


@pytest.mark.parametrize("path", ["/apis/nope.example/v1/things", "/api/v1/namespaces/default/nothings", "/nowhere"])
def test_a_path_that_leads_nowhere_is_404(two_nodes: Running, path: str) -> None:
    code, said = call(two_nodes, "GET", path)
    assert (code, said) == (404, {"text": "404 page not found"}), "upstream's own words, which are no Status"
    refused = two_nodes.kubectl_run("get", "--raw", path, check=False).stderr
    assert refused == "Error from server (NotFound): the server could not find the requested resource\n"


def test_a_conflict_is_409(two_nodes: Running) -> None:
    path = "/api/v1/namespaces/default"
    _, found = call(two_nodes, "GET", path)
    found["metadata"]["resourceVersion"] = "1"
    code, status = call(two_nodes, "PUT", path, json.dumps(found).encode())
    assert (code, status["reason"]) == (409, "Conflict")
    code, status = call(two_nodes, "POST", "/api/v1/namespaces", b'{"metadata": {"name": "default"}}')
    assert (code, status["reason"]) == (409, "AlreadyExists")


def test_without_credentials_it_is_401(two_nodes: Running) -> None:
    for path in ("/api/v1/pods", "/apis", DEPLOYMENTS):
        code, status = call(two_nodes, "GET", path, credentials=False)
        assert (code, status["reason"]) == (401, "Unauthorized"), path


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("get", "nothings"), ""),
        (("get", "pod", "absent"), ""),
        (("get", "pods", "-o", "nonsense"), ""),
        (("apply", "-f", "/does/not/exist.yaml"), ""),
        (("apply", "-f", "-"), "kind: ["),
        (("apply", "-f", "-"), "apiVersion: v1\nkind: Nothing\nmetadata: {name: x}\n"),
        (("apply", "-f", "-"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n"),
        (("scale", "deployment/absent", "--replicas=2"), ""),
        (("rollout", "status", "deployment/absent"), ""),
        (("nonsense",), ""),
        (("get", "--nonsense", "pods"), ""),
        (("up", "--nodes", "many"), ""),
        (("up", "--name", "Not/A/Name"), ""),
        (("up", "-f", "/does/not/exist.yaml"), ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_the_command_line_prints_one_error_line_and_ends_with_1(
    two_nodes: Running, arguments: tuple[str, ...], stdin: str
) -> None:
    import subprocess

    from tests.e2e.running import LAUNCHER

    environment = {**two_nodes.environment, "KUBECONFIG": str(two_nodes.home.kubeconfig)}
    done = subprocess.run(
        [str(LAUNCHER), *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
