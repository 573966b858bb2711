"""Bad input is the client's error: never a 5xx, never a dead process."""

import random
import socket
import ssl
from typing import Any

import orjson

from tests.apiserver.conftest import Api
from tests.apiserver.harness import ApiServer
from tests.apiserver.manifests import config_map, deployment, pod, service

SEED = 20260101
REQUESTS = 600
_JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    3.5,
    1 << 70,
    "",
    "x" * 300,
    "\u0000",
    "ä/..%2f",
    [],
    {},
    [None],
    {"": {}},
    [[]],
    {"a": {"b": []}},
]
_PATHS = (
    "/api/v1/namespaces/{ns}/pods", "/api/v1/namespaces/{ns}/services", "/api/v1/namespaces/{ns}/configmaps",
    "/apis/apps/v1/namespaces/{ns}/deployments", "/api/v1/nodes", "/api/v1/namespaces/{ns}/pods/p/binding",
    "/api/v1/namespaces/{ns}/serviceaccounts/x/token", "/apis/apps/v1/namespaces/{ns}/deployments/web/scale",
    "/api/v1/namespaces/{ns}/configmaps/a", "/api/v1/namespaces/{ns}/pods/p/status", "/api/v1/namespaces/{ns}/pods/p",
    "/apis/apps/v1/namespaces/{ns}/deployments/web", "/api/v1/namespaces/{ns}/events", "/api/v1/namespaces/{ns}/endpoints",
    "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices", "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
    "/api/v1/namespaces/{ns}/finalize", "/api/v1/namespaces/{ns}/pods/p/log", "/api/v1/namespaces/{ns}/pods/p/eviction",
)  # fmt: skip
_TYPES = (
    "application/json", "application/yaml", "application/merge-patch+json", "application/json-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf",
    "application/cbor", "text/plain", "", "application/json; charset=\"",
)  # fmt: skip
_QUERIES = (
    "", "limit=-1", "limit=x", "watch=1&timeoutSeconds=1", "watch=1&resourceVersion=zz", "resourceVersion=-5", "continue=%00",
    "labelSelector=a%20in%20(", "labelSelector=%F0%9F", "fieldSelector=a", "fieldSelector=metadata.name%3D", "dryRun=x",
    "fieldValidation=x", "gracePeriodSeconds=x", "propagationPolicy=x", "pretty=1", "includeObject=x", "dryRun=All",
    "tailLines=-1", "sinceTime=x", "timeoutSeconds=99999999999999999999", "resourceVersionMatch=Exact", "force=maybe",
)  # fmt: skip
_ACCEPTS = (
    "",
    "*/*",
    "application/json;as=Table;g=meta.k8s.io;v=v1",
    "text/html",
    ";;;",
    "application/json;as=Table;q=x",
)


def damage(random_: random.Random, node: Any, depth: int = 0) -> Any:
    """The value with something in it that does not belong there."""
    if random_.random() < 0.12 + depth * 0.05:
        return random_.choice(_JUNK)
    if isinstance(node, dict):
        out = {k: damage(random_, v, depth + 1) for k, v in node.items()}
        if random_.random() < 0.1:
            out[random_.choice(["", "x", "metadata", "spec", "kind", "status"])] = random_.choice(_JUNK)
        return out
    if isinstance(node, list):
        return [damage(random_, v, depth + 1) for v in node] * random_.choice([1, 1, 2])
    return node


def body(random_: random.Random) -> bytes:
    kind = random_.random()
    base = random_.choice(
        [
            config_map("a", x="1"),
            deployment("web"),
            pod("p", nodeName="n"),
            service("s", type="NodePort"),
            {"spec": {"replicas": 1}},
            [{"op": "replace", "path": "/spec", "value": {}}],
            {"gracePeriodSeconds": 0},
        ]
    )
    if kind < 0.1:
        return random_.choice(
            [b"", b"{", b"kind: [", b"null", b"[]", b'"x"', b"\xff\xfe", b"k8s\0\x0a\xff", b"[" * 5000, b"&a [*a]"]
        )
    try:
        data = orjson.dumps(damage(random_, base))
    except TypeError:
        data = b"1" + b"0" * 400  # a number that no type holds
    if kind < 0.25:
        at = random_.randrange(len(data) + 1)
        data = data[:at] + bytes([random_.randrange(256)]) + data[at + random_.randrange(3) :]
    return data


async def test_malformed_requests_never_get_a_server_error(api: Api, namespace: str) -> None:
    random_ = random.Random(SEED)
    await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web"))
    await api.create(f"/api/v1/namespaces/{namespace}/configmaps", config_map("a"))
    await api.create(f"/api/v1/namespaces/{namespace}/pods", pod("p"))
    await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "x"}})
    for i in range(REQUESTS):
        method = random_.choice(["GET", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"])
        path = random_.choice(_PATHS).replace(
            "{ns}", random_.choice([namespace, namespace, namespace, "%00", "a/b", "..", "Ä"])
        )
        url = f"{path}?{random_.choice(_QUERIES)}"
        headers = {"content-type": random_.choice(_TYPES), "accept": random_.choice(_ACCEPTS)}
        if random_.random() < 0.1:
            headers["connection"], headers["upgrade"] = "Upgrade", random_.choice(["websocket", "SPDY/3.1", "x"])
        sent = body(random_)
        response = await api.http.request(method, url, content=sent, headers=headers)
        about = f"request {i} of seed {SEED}: {method} {url} {headers} {sent[:300]!r}: {response.status_code} {response.text[:500]}"
        assert response.status_code < 500 or response.status_code in (501, 504), about
    assert (await api.http.get("/readyz")).status_code == 200


async def test_what_is_no_http_closes_the_connection_and_nothing_else(api: Api, server: ApiServer) -> None:
    context = ssl.create_default_context(cafile=str(server.pki.ca))
    for raw in (
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            tls.sendall(raw)
            tls.recv(1000)
    assert (await api.http.get("/readyz")).status_code == 200


async def test_limits_hold_for_bodies_and_headers(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    huge = orjson.dumps(config_map("a", x="y" * (3 * 1024 * 1024)))
    status = await api.call("POST", path, huge, 413)
    assert status["reason"] == "RequestEntityTooLarge"
    too_long = {"x-long": "y" * (1 << 20)}
    response = await api.http.get(path, headers=too_long)
    assert response.status_code == 431
    deep = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":' + b'{"a":' * 3000 + b"1" + b"}" * 3001
    assert (await api.http.post(path, content=deep, headers={"content-type": "application/json"})).status_code == 400


async def test_the_bad_manifests_of_a_first_hour_are_refused_with_the_field_that_is_wrong(
    api: Api, namespace: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    wrong_type = deployment("bad")
    wrong_type["spec"]["replicas"] = "three"
    status = await api.create(path, wrong_type, code=400)
    assert status["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field '
        "DeploymentSpec.spec.replicas of type int32"
    )
    selector = deployment("bad")
    selector["spec"]["selector"]["matchLabels"] = {"app": "other"}
    status = await api.create(path, selector, code=422)
    assert "`selector` does not match template `labels`" in status["message"]
    bad_name = deployment("Bad_Name")
    status = await api.create(path, bad_name, code=422)
    assert status["details"]["causes"][0]["field"] == "metadata.name"
    status = await api.call("POST", path, b"{", 400)
    assert status["reason"] == "BadRequest"
    other_kind = await api.create(path, pod("p"), code=400)
    assert other_kind["reason"] == "BadRequest"
