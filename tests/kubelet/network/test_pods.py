"""The pod network in a real network namespace; pods are namespaces without any runtime."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from kubelet.cri.api import PortMapping, RuntimeServiceError
from kubelet.cri.native.shim import syscalls
from kubelet.network import routes
from kubelet.network.masquerade import Masquerade
from kubelet.network.namespaces import entered
from kubelet.network.pods import BRIDGE, PodNetwork, link_name, purge
from kubelet.network.rtnetlink import Rtnetlink

pytestmark = [pytest.mark.root, pytest.mark.binary("iptables")]

CIDR = "10.97.5.0/24"


class Namespaces:
    """Network namespaces that last as long as the test."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def new(self) -> str:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        self._fds.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        syscalls.setns(before, syscalls.CLONE_NEWNET)
        os.close(before)
        return f"/proc/self/fd/{self._fds[-1]}"

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def namespaces(own_network: None) -> Iterator[Namespaces]:
    found = Namespaces()
    with Rtnetlink() as netlink:
        loopback = netlink.link("lo")
        assert loopback is not None
        netlink.set_up(loopback.index)
    yield found
    found.close()


@pytest.fixture
async def network(namespaces: Namespaces, tmp_path: Path) -> AsyncIterator[PodNetwork]:
    found = PodNetwork(tmp_path)
    await found.set_up(CIDR)
    yield found
    found.close()


def listen(namespace: str, address: str, port: int) -> socket.socket:
    with entered(namespace):
        server = socket.create_server((address, port))
    server.settimeout(5)
    return server


def talk(namespace: str, server: socket.socket, address: str, port: int) -> str:
    """Connects from ``namespace``; whom the server sees."""
    with entered(namespace):
        client = socket.socket()
    client.settimeout(5)
    with client:
        client.connect((address, port))
        accepted, peer = server.accept()
        accepted.close()
    return peer[0]


OWN = "/proc/thread-self/ns/net"


async def test_pods_reach_each_other_the_node_and_themselves(network: PodNetwork, namespaces: Namespaces) -> None:
    one, two = namespaces.new(), namespaces.new()
    first, second = await network.attach("one", one, []), await network.attach("two", two, [])
    assert (first, second) == ("10.97.5.2", "10.97.5.3")
    assert (network.address_of("one"), network.address_of("nobody")) == (first, "")
    with listen(one, first, 80) as server:
        assert talk(two, server, first, 80) == second
        assert talk(one, server, first, 80) == first
        assert talk(OWN, server, first, 80) == "10.97.5.1"
    with listen(OWN, "10.97.5.1", 81) as server:
        assert talk(one, server, "10.97.5.1", 81) == first


async def test_what_a_pod_sends_to_a_neighbour_passes_the_nodes_rules(
    network: PodNetwork, namespaces: Namespaces
) -> None:
    """Without that, an answer would go straight back over the bridge and a Service on this node would not work."""
    one, two = namespaces.new(), namespaces.new()
    await network.attach("one", one, [])
    second = await network.attach("two", two, [])
    rule = f"-d 10.96.0.99 -p tcp --dport 80 -j DNAT --to-destination {second}:8080".split()
    change_nat("-A", "PREROUTING", *rule)
    with listen(two, second, 8080) as server:
        assert talk(one, server, "10.96.0.99", 80) == "10.97.5.2"


async def test_a_pod_that_left_has_no_link_and_no_address(network: PodNetwork, namespaces: Namespaces) -> None:
    await network.attach("pod", namespaces.new(), [PortMapping(80, 8080)])
    for _ in range(2):
        await network.detach("pod")
    assert network.address_of("pod") == ""
    with Rtnetlink() as netlink:
        assert netlink.link(link_name("pod")) is None
    assert "8080" not in iptables("nat")


def change_nat(*arguments: str) -> None:
    subprocess.run(["iptables", "-t", "nat", *arguments], check=True)


def iptables(table: str) -> str:
    return subprocess.run(["iptables-save", "-t", table], check=True, capture_output=True, text=True).stdout


async def test_a_host_port_leads_to_the_pod_from_the_node_and_from_outside(
    network: PodNetwork, namespaces: Namespaces
) -> None:
    pod, outside = namespaces.new(), namespaces.new()
    ip = await network.attach("pod", pod, [PortMapping(8080, 80)])
    await Masquerade().sync(CIDR, [])
    node_address = wire_up(outside)
    with listen(pod, ip, 8080) as server:
        assert talk(outside, server, node_address, 80) == "192.0.2.2"
        assert talk(OWN, server, node_address, 80) == node_address
        assert talk(OWN, server, "127.0.0.1", 80) == "10.97.5.1"
    assert iptables("nat").count("--to-destination") == 1


def wire_up(outside: str) -> str:
    """A machine at 192.0.2.2, which does not know the pods' network, on a link of the node at 192.0.2.1."""
    fd = os.open(outside, os.O_RDONLY)
    with Rtnetlink() as netlink:
        bridge = netlink.add_bridge("uplink0")
        netlink.set_up(bridge.index)
        netlink.add_address(bridge.index, IPv4Interface("192.0.2.1/24"))
        netlink.add_veth("out0", "eth0", fd, mtu=1500, master=bridge.index)
    os.close(fd)
    with entered(outside):
        inside = Rtnetlink()
    with inside:
        link = inside.link("eth0")
        assert link is not None
        inside.set_up(link.index)
        inside.add_address(link.index, IPv4Interface("192.0.2.2/24"))
    return "192.0.2.1"


async def test_what_leaves_the_cluster_has_the_nodes_address(network: PodNetwork, namespaces: Namespaces) -> None:
    pod, outside = namespaces.new(), namespaces.new()
    await network.attach("pod", pod, [])
    wire_up(outside)
    nodes = [node("192.0.2.1", CIDR)]
    await routes.sync(nodes)
    with listen(outside, "192.0.2.2", 80) as server:
        assert talk(pod, server, "192.0.2.2", 80) == "192.0.2.1"
    before = iptables("nat")
    await routes.sync(nodes)
    assert iptables("nat") == before


def node(ip: str, cidr: str) -> dict[str, Any]:
    return {"spec": {"podCIDR": cidr}, "status": {"addresses": [{"type": "InternalIP", "address": ip}]}}


async def test_routes_to_other_nodes_come_change_and_go(network: PodNetwork, namespaces: Namespaces) -> None:
    wire_up(namespaces.new())
    other = IPv4Network("10.97.6.0/24")

    def gateway() -> str | None:
        with Rtnetlink() as netlink:
            return next((str(route.gateway) for route in netlink.routes() if route.network == other), None)

    own = node("192.0.2.1", CIDR)
    await routes.sync([own, node("192.0.2.2", str(other))])
    assert gateway() == "192.0.2.2"
    await routes.sync([own, node("192.0.2.3", str(other))])
    assert gateway() == "192.0.2.3"
    await routes.sync([own, node("198.51.100.1", str(other))])  # not on the link: said, and the rest goes on
    await routes.sync([own])
    assert gateway() is None


async def test_a_kubelet_that_restarts_finds_the_network_as_it_was(
    network: PodNetwork, namespaces: Namespaces, tmp_path: Path
) -> None:
    pod = namespaces.new()
    ip = await network.attach("pod", pod, [PortMapping(8080, 80)])
    await network.attach("died", namespaces.new(), [PortMapping(8080, 81)])
    network.close()
    change_nat("-F")
    again = PodNetwork(tmp_path)
    await again.set_up(CIDR)
    await again.reconcile({"pod"})
    assert again.address_of("pod") == ip
    assert again.address_of("died") == ""
    rules = iptables("nat")
    assert f"--to-destination {ip}:8080" in rules
    assert "--dport 81" not in rules
    with Rtnetlink() as netlink:
        assert netlink.link(link_name("pod")) is not None
        assert netlink.link(link_name("died")) is None
    with listen(pod, ip, 8080) as server:
        assert talk(OWN, server, ip, 8080) == "10.97.5.1"
    again.close()


async def test_another_pod_cidr_moves_the_gateway(network: PodNetwork) -> None:
    await network.set_up("10.97.8.0/24")
    with Rtnetlink() as netlink:
        bridge = netlink.link(BRIDGE)
        assert bridge is not None
        assert [str(a) for index, a in netlink.addresses() if index == bridge.index] == ["10.97.8.1/24"]


async def test_purge_takes_bridge_links_and_routes_away(network: PodNetwork, namespaces: Namespaces) -> None:
    await network.attach("pod", namespaces.new(), [])
    purge()
    with Rtnetlink() as netlink:
        assert [link.name for link in netlink.links()] == ["lo"]


async def test_without_a_pod_cidr_the_network_is_not_ready(namespaces: Namespaces, tmp_path: Path) -> None:
    network = PodNetwork(tmp_path)
    assert network.ready == (False, "the node has no podCIDR yet")
    with pytest.raises(RuntimeServiceError, match="no podCIDR"):
        await network.attach("pod", namespaces.new(), [])
    await network.detach("pod")


async def test_many_pods_join_at_once(network: PodNetwork, namespaces: Namespaces) -> None:
    places = [namespaces.new() for _ in range(20)]
    ips = await asyncio.gather(*(network.attach(f"pod-{n}", place, []) for n, place in enumerate(places)))
    assert len(set(ips)) == 20
    with listen(places[7], ips[7], 80) as server:
        assert talk(places[19], server, ips[7], 80) == ips[19]
