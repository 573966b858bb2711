"""Real iptables and real sockets in network namespaces of our own: Services lead where they should."""

import asyncio
import collections
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from proxy.conntrack import Conntrack
from proxy.iptables import Iptables, IptablesError, allow_localhost_node_ports
from proxy.rules import Settings
from proxy.syncer import Syncer
from proxy.tracker import Tracker
from tests.proxy.netns import CLIENT_IP, NODE_IP, POD_IPS, Network, ask_udp
from tests.proxy.objects import endpoint_slice, service

pytestmark = [pytest.mark.root, pytest.mark.binary("iptables"), pytest.mark.binary("ip")]

CLUSTER_IP = "10.96.0.10"
A, B = POD_IPS["pod-a"], POD_IPS["pod-b"]
LEAVING = {"ready": False, "serving": True, "terminating": True}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


class Node:
    """A syncer for the node's namespace, with one Service ``web``."""

    def __init__(self, network: Network) -> None:
        self.network, self.tracker = network, Tracker("node")
        self.iptables = Iptables(network.command_prefix)
        settings = Settings(cluster_cidr="10.244.0.0/16", node_ip=NODE_IP)
        self.syncer = Syncer(self.tracker, settings, tables=self.iptables, open_conntrack=self._conntrack)

    def _conntrack(self) -> Conntrack:
        with self.network.inside("node"):
            return Conntrack()

    async def serve(self, *endpoints: Any, ports: Any = None, **spec: Any) -> None:
        self.tracker.service_changed(service(ports=ports, **spec))
        await self.endpoints(*endpoints, protocol=ports[0].get("protocol", "TCP") if ports else "TCP")

    async def endpoints(self, *endpoints: Any, protocol: str = "TCP") -> None:
        self.tracker.slice_changed(endpoint_slice("web", {"": (8080, protocol)}, list(endpoints)))
        await self.syncer.sync()

    def run(self, *command: str) -> str:
        argv = [*self.network.command_prefix, *command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    async def spread(self, caller: str, address: str, port: int, calls: int = 24) -> collections.Counter[str]:
        answers = [await self.network.ask(caller, address, port) for _ in range(calls)]
        return collections.Counter(who for who, _ in answers)


@pytest.fixture
async def node(network: Network) -> AsyncIterator[Node]:
    with network.inside("node"):
        assert allow_localhost_node_ports() is None
    made = Node(network)
    async with network.tcp_server("pod-a", 8080), network.tcp_server("pod-b", 8080):
        yield made
    await made.iptables.clean_up()
    assert "KUBE-" not in made.run("iptables-save")


NODE_PORT = [{"port": 80, "nodePort": 30080}]


async def test_a_cluster_ip_reaches_every_endpoint_from_pods_from_the_node_and_from_outside(node: Node) -> None:
    await node.serve(A, B)
    for caller in ("pod-a", "node", "client"):
        assert set(await node.spread(caller, CLUSTER_IP, 80)) == {"pod-a", "pod-b"}


async def test_a_node_port_answers_on_every_address_of_the_node(node: Node) -> None:
    await node.serve(A, B, ports=NODE_PORT, type="NodePort")
    assert set(await node.spread("client", NODE_IP, 30080)) == {"pod-a", "pod-b"}
    assert set(await node.spread("pod-a", NODE_IP, 30080)) == {"pod-a", "pod-b"}
    assert set(await node.spread("node", "127.0.0.1", 30080)) == {"pod-a", "pod-b"}


async def test_endpoints_are_followed(node: Node) -> None:
    await node.serve(A)
    assert set(await node.spread("node", CLUSTER_IP, 80, calls=8)) == {"pod-a"}
    await node.endpoints(A, B)
    assert set(await node.spread("node", CLUSTER_IP, 80)) == {"pod-a", "pod-b"}
    await node.endpoints(B)
    assert set(await node.spread("node", CLUSTER_IP, 80, calls=8)) == {"pod-b"}
    assert f"--to-destination {A}:8080" not in node.run("iptables-save", "-t", "nat")


async def test_a_service_without_endpoints_refuses_at_once(node: Node) -> None:
    await node.serve(ports=NODE_PORT, type="NodePort")
    for caller, address, port in (("pod-a", CLUSTER_IP, 80), ("node", CLUSTER_IP, 80), ("client", NODE_IP, 30080)):
        with pytest.raises(ConnectionRefusedError):
            await node.network.ask(caller, address, port)


async def test_an_endpoint_that_ends_still_serves_while_there_is_no_other(node: Node) -> None:
    await node.serve({"addresses": [A], "conditions": LEAVING})
    assert set(await node.spread("node", CLUSTER_IP, 80, calls=4)) == {"pod-a"}
    await node.endpoints({"addresses": [A], "conditions": LEAVING}, B)
    assert set(await node.spread("node", CLUSTER_IP, 80, calls=8)) == {"pod-b"}


async def test_pods_are_seen_as_themselves_and_outsiders_as_the_node(node: Node) -> None:
    await node.serve(B, ports=NODE_PORT, type="NodePort")
    assert await node.network.ask("pod-a", CLUSTER_IP, 80) == ("pod-b", A)
    who, seen = await node.network.ask("client", CLUSTER_IP, 80)
    assert (who, seen) == ("pod-b", "10.244.0.5")
    assert (await node.network.ask("client", NODE_IP, 30080))[1] == "10.244.0.5"


async def test_a_pod_reaches_itself_through_its_service(node: Node) -> None:
    await node.serve(A)
    assert await node.network.ask("pod-a", CLUSTER_IP, 80) == ("pod-a", "10.244.0.1")


async def test_external_policy_local_keeps_the_clients_address(node: Node) -> None:
    local = {"addresses": [A], "nodeName": "node"}
    elsewhere = {"addresses": [B], "nodeName": "other"}
    await node.serve(local, elsewhere, ports=NODE_PORT, type="NodePort", externalTrafficPolicy="Local")
    assert {await node.network.ask("client", NODE_IP, 30080) for _ in range(8)} == {("pod-a", CLIENT_IP)}
    assert set(await node.spread("client", CLUSTER_IP, 80)) == {"pod-a", "pod-b"}
    await node.endpoints(elsewhere)
    with pytest.raises(TimeoutError):
        await node.network.ask("client", NODE_IP, 30080, patience=0.3)
    assert set(await node.spread("node", NODE_IP, 30080, calls=4)) == {"pod-b"}


async def test_internal_policy_local_uses_this_nodes_endpoints_only(node: Node) -> None:
    local = {"addresses": [A], "nodeName": "node"}
    await node.serve(local, B, internalTrafficPolicy="Local")
    assert set(await node.spread("pod-b", CLUSTER_IP, 80, calls=12)) == {"pod-a"}


async def test_external_addresses_lead_to_the_service(node: Node) -> None:
    await node.serve(A, externalIPs=["203.0.113.9"])
    assert (await node.network.ask("client", "203.0.113.9", 80))[0] == "pod-a"


async def test_session_affinity_keeps_a_client_at_its_endpoint(node: Node) -> None:
    await node.serve(A, B, sessionAffinity="ClientIP")
    for caller in ("pod-a", "node"):
        assert len(await node.spread(caller, CLUSTER_IP, 80)) == 1


async def test_source_ranges_of_a_load_balancer_keep_others_out(node: Node) -> None:
    balancer = service(type="LoadBalancer", loadBalancerSourceRanges=["198.51.100.0/24"])
    balancer["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
    node.tracker.service_changed(balancer)
    await node.endpoints(A)
    with pytest.raises(TimeoutError):
        await node.network.ask("client", "203.0.113.9", 80, patience=0.3)
    balancer["spec"]["loadBalancerSourceRanges"] = ["192.168.77.0/24"]
    node.tracker.service_changed(balancer)
    await node.syncer.sync()
    assert (await node.network.ask("client", "203.0.113.9", 80))[0] == "pod-a"


async def test_a_udp_flow_moves_on_when_its_endpoint_is_gone(node: Node) -> None:
    network, port = node.network, [{"port": 53, "protocol": "UDP"}]
    async with network.udp_server("pod-a", 8080), network.udp_server("pod-b", 8080):
        await node.serve(A, ports=port)
        with network.udp_socket("pod-b", CLUSTER_IP, 53) as flow:
            assert await ask_udp(flow) == "pod-a"
            await node.endpoints(B, protocol="UDP")
            assert await ask_udp(flow) == "pod-b"


async def test_a_udp_client_that_came_too_early_is_not_lost_for_good(node: Node) -> None:
    network, port = node.network, [{"port": 53, "protocol": "UDP", "nodePort": 30053}]
    async with network.udp_server("pod-a", 8080):
        with network.udp_socket("client", NODE_IP, 30053) as flow:
            await asyncio.get_running_loop().sock_sendall(flow, b"nobody listens yet")
            with pytest.raises(ConnectionRefusedError):
                await ask_udp(flow)
            await node.serve(A, ports=port, type="NodePort")
            assert await ask_udp(flow) == "pod-a"


async def test_a_removed_service_leaves_no_chains(node: Node) -> None:
    await node.serve(A, B, ports=NODE_PORT, type="NodePort")
    node.tracker.service_deleted(service())
    await node.syncer.sync()
    saved = node.run("iptables-save")
    assert not any(prefix in saved for prefix in ("KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-"))


async def test_chains_of_an_earlier_run_are_removed_and_other_peoples_stay(node: Node) -> None:
    node.run("iptables", "-t", "nat", "-N", "KUBE-SVC-AAAAAAAAAAAAAAAA")
    node.run("iptables", "-t", "nat", "-N", "SOMEBODY-ELSE")
    await node.serve(A)
    saved = node.run("iptables-save", "-t", "nat")
    assert "KUBE-SVC-AAAAAAAAAAAAAAAA" not in saved
    assert ":SOMEBODY-ELSE" in saved
    await node.iptables.clean_up()
    saved = node.run("iptables-save", "-t", "nat")
    assert "KUBE-" not in saved
    assert ":SOMEBODY-ELSE" in saved
    node.run("iptables", "-t", "nat", "-X", "SOMEBODY-ELSE")


async def test_a_second_full_sync_changes_nothing(node: Node) -> None:
    def rules() -> list[str]:
        lines = node.run("iptables-save").splitlines()
        return [line for line in lines if not line.startswith(("#", ":"))]

    await node.serve(A, B, ports=NODE_PORT, type="NodePort")
    before = rules()
    node.syncer.trigger_full()
    await node.syncer.sync()
    assert rules() == before


async def test_flushed_tables_are_noticed_and_written_again(node: Node) -> None:
    await node.serve(A)
    assert await node.iptables.canary_alive()
    node.run("iptables", "-t", "nat", "-F")
    node.run("iptables", "-t", "nat", "-X")
    assert not await node.iptables.canary_alive()
    node.syncer.trigger_full()
    await node.syncer.sync()
    assert (await node.network.ask("node", CLUSTER_IP, 80))[0] == "pod-a"


async def test_a_failed_write_is_made_good_by_the_next_full_one(node: Node) -> None:
    await node.serve(A)
    node.run("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    node.tracker.service_changed(service("other", "999.1.1.1"))
    with pytest.raises(IptablesError, match="iptables-restore"):
        await node.syncer.sync()
    node.tracker.service_deleted(service("other", "999.1.1.1"))
    node.syncer.trigger_full()
    await node.syncer.sync()
    assert (await node.network.ask("node", CLUSTER_IP, 80))[0] == "pod-a"


async def test_the_loop_writes_soon_after_a_trigger(node: Node) -> None:
    node.tracker.service_changed(service())
    node.tracker.slice_changed(endpoint_slice("web", {"": 8080}, [A]))
    running = asyncio.ensure_future(node.syncer.run())
    try:
        node.syncer.trigger()
        async with asyncio.timeout(10):
            # The kernel shows the rules a moment before the loop knows that they are written.
            while not node.syncer.synced or f"{B}:8080" not in node.run("iptables-save", "-t", "nat"):
                if node.tracker.slice_changed(endpoint_slice("web", {"": 8080}, [A, B])):
                    node.syncer.trigger()
                await asyncio.sleep(0.02)
        assert node.syncer.unhealthy() is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
