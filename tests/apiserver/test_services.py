"""Addresses and ports of Services: given once, given back, also with two API servers at work."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.conftest import Api, http_client
from tests.apiserver.harness import TOKEN, ApiServer
from tests.apiserver.manifests import service

Object = dict[str, Any]


@pytest.fixture
def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/services"


async def test_a_service_gets_an_address_and_fields_that_go_with_it(api: Api, path: str) -> None:
    spec = (await api.create(path, service("web")))["spec"]
    assert spec["clusterIP"].startswith("10.96.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert (spec["type"], spec["internalTrafficPolicy"], spec["sessionAffinity"]) == ("ClusterIP", "Cluster", "None")
    record = await api.get(f"/apis/networking.k8s.io/v1/ipaddresses/{spec['clusterIP']}")
    assert record["spec"]["parentRef"]["name"] == "web"
    await api.call("DELETE", f"{path}/web")
    await api.get(f"/apis/networking.k8s.io/v1/ipaddresses/{spec['clusterIP']}", code=404)


async def test_an_address_is_given_once(api: Api, path: str) -> None:
    await api.create(path, service("a", clusterIP="10.96.0.77"))
    status = await api.create(path, service("b", clusterIP="10.96.0.77"), code=422)
    assert "failed to allocate IP 10.96.0.77: provided IP is already allocated" in status["message"]
    status = await api.create(path, service("b", clusterIP="192.168.1.1"), code=422)
    assert "is not in the valid range. The range of valid IPs is 10.96.0.0/16" in status["message"]
    await api.call("DELETE", f"{path}/a")
    await api.create(path, service("b", clusterIP="10.96.0.77"))
    await api.call("DELETE", f"{path}/b")


async def test_headless_services_have_no_address(api: Api, path: str) -> None:
    spec = (await api.create(path, service("h", clusterIP="None")))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


async def test_node_ports_follow_the_type(api: Api, path: str) -> None:
    created = await api.create(path, service("web", type="NodePort"))
    number = created["spec"]["ports"][0]["nodePort"]
    assert 30000 <= number <= 32767
    taken = service("other", type="NodePort")
    taken["spec"]["ports"][0]["nodePort"] = number
    status = await api.create(path, taken, code=422)
    assert f"spec.ports[0].nodePort: Invalid value: {number}: provided port is already allocated" in status["message"]
    back = await api.patch(f"{path}/web", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in back["spec"]["ports"][0]
    assert back["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    await api.create(path, taken)
    status = await api.create(
        path,
        {**taken, "metadata": {"name": "x"}, "spec": {**taken["spec"], "ports": [{"port": 1, "nodePort": 80}]}},
        code=422,
    )
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in status["message"]


async def test_both_protocols_of_a_port_share_one_node_port(api: Api, path: str) -> None:
    ports = [{"name": "tcp", "port": 53, "protocol": "TCP"}, {"name": "udp", "port": 53, "protocol": "UDP"}]
    spec = (await api.create(path, service("dns", type="NodePort", ports=ports)))["spec"]
    assert spec["ports"][0]["nodePort"] == spec["ports"][1]["nodePort"]


async def test_an_update_that_leaves_the_address_out_keeps_it(api: Api, path: str) -> None:
    created = await api.create(path, service("web", type="NodePort"))
    updated = await api.call("PUT", f"{path}/web", service("web", type="NodePort"))
    assert updated["spec"] == created["spec"]


async def test_becoming_an_alias_gives_the_address_back(api: Api, path: str) -> None:
    created = await api.create(path, service("web"))
    change = {"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": None, "clusterIPs": None}}
    await api.patch(f"{path}/web", change)
    await api.get(f"/apis/networking.k8s.io/v1/ipaddresses/{created['spec']['clusterIP']}", code=404)


@pytest.fixture
async def second(server: ApiServer, tmp_path: Path) -> AsyncIterator[Api]:
    """Another API server on the same store."""
    other = ApiServer(tmp_path, server.store, server.pki, *server.flags)
    try:
        other.start()
        async with http_client(other, headers={"authorization": f"Bearer {TOKEN}"}) as client:
            yield Api(client)
    finally:
        other.stop()


async def test_two_servers_never_hand_out_the_same(api: Api, second: Api, path: str) -> None:
    created = await asyncio.gather(
        *((api, second)[i % 2].create(path, service(f"s{i}", type="NodePort")) for i in range(40))
    )
    assert len({s["spec"]["clusterIP"] for s in created}) == 40
    assert len({s["spec"]["ports"][0]["nodePort"] for s in created}) == 40
    explicit = [(api, second)[i % 2].http.post(path, json=service(f"e{i}", clusterIP="10.96.0.99")) for i in range(6)]
    codes = sorted(r.status_code for r in await asyncio.gather(*explicit))
    assert codes == [201, 422, 422, 422, 422, 422]
    for name in ("e0", "e1", "e2", "e3", "e4", "e5"):
        await api.http.delete(f"{path}/{name}")


async def test_what_one_server_writes_the_other_reads_at_once(api: Api, second: Api, path: str) -> None:
    for i in range(10):
        await api.create(path, service(f"s{i}", clusterIP="None"))
        assert (await second.get(f"{path}/s{i}"))["metadata"]["name"] == f"s{i}"
        changed = await second.patch(f"{path}/s{i}", {"metadata": {"labels": {"i": str(i)}}})
        assert await api.get(f"{path}/s{i}") == changed


async def test_the_kubernetes_service_points_at_every_server(api: Api, second: Api) -> None:
    spec = (await api.get("/api/v1/namespaces/default/services/kubernetes"))["spec"]
    assert (spec["clusterIP"], spec["ports"][0]["port"]) == ("10.96.0.1", 443)
    endpoints = await second.get("/api/v1/namespaces/default/endpoints/kubernetes")
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "127.0.0.1"}]
    endpoint_slice = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert endpoint_slice["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes"
