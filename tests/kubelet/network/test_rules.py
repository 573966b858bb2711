"""What is decided before the kernel is asked: routes and iptables rules are functions of their input."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubelet.cri.api import PortMapping
from kubelet.network import hostports, masquerade
from kubelet.network.routes import PROTOCOL, changes, pod_cidrs
from kubelet.network.rtnetlink import Route


def node(ip: str, cidr: str, **spec: Any) -> dict[str, Any]:
    addresses = [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": ip}] if ip else []
    return {"spec": {"podCIDR": cidr, **spec}, "status": {"addresses": addresses}}


def test_nodes_without_an_address_or_a_range_have_no_route() -> None:
    nodes = [node("10.0.0.1", "10.1.1.0/24"), node("", "10.1.2.0/24"), node("10.0.0.3", ""), {"metadata": {}}]
    assert pod_cidrs(nodes) == {IPv4Network("10.1.1.0/24"): IPv4Address("10.0.0.1")}


def test_of_a_dual_stack_node_the_ipv4_range_counts() -> None:
    dual = node("10.0.0.1", "fd00::/64", podCIDRs=["fd00::/64", "10.1.1.0/24"])
    assert list(pod_cidrs([dual])) == [IPv4Network("10.1.1.0/24")]


def test_routes_follow_the_nodes_and_leave_those_of_others_alone() -> None:
    def ours(cidr: str, gateway: str) -> Route:
        return Route(IPv4Network(cidr), IPv4Address(gateway), 2, PROTOCOL)

    own, one, two, gone = (IPv4Network(f"10.1.{n}.0/24") for n in (0, 1, 2, 3))
    wanted = {own: IPv4Address("10.0.0.1"), one: IPv4Address("10.0.0.2"), two: IPv4Address("10.0.0.3")}
    kernels = Route(IPv4Network("10.0.0.0/24"), None, 2, 2)
    present = [
        kernels,
        ours("10.1.1.0/24", "10.0.0.2"),
        ours("10.1.2.0/24", "10.0.0.99"),
        ours("10.1.3.0/24", "10.0.0.4"),
    ]
    put, delete = changes(wanted, present, {IPv4Address("10.0.0.1")})
    assert put == [Route(two, IPv4Address("10.0.0.3"), 0, PROTOCOL)]
    assert [route.network for route in delete] == [gone]
    settled = [kernels, ours("10.1.1.0/24", "10.0.0.2"), ours("10.1.2.0/24", "10.0.0.3")]
    assert changes(wanted, settled, {IPv4Address("10.0.0.1")}) == ([], [])


def test_only_what_leaves_the_pods_networks_is_masqueraded() -> None:
    assert masquerade.rules("10.1.0.0/24", ["10.1.1.0/24", "10.1.0.0/24"]) == [
        "-s 127.0.0.0/8 -o cbr0 -j MASQUERADE",
        "! -s 10.1.0.0/24 -j RETURN",
        "-d 10.1.0.0/24 -j RETURN",
        "-d 10.1.1.0/24 -j RETURN",
        "-d 224.0.0.0/4 -j RETURN",
        "-j MASQUERADE",
    ]


def test_host_ports_become_one_rule_each() -> None:
    ports = [
        PortMapping(80, 8080),
        PortMapping(53, 53, "UDP", "10.0.0.1"),
        PortMapping(9, 0),
        PortMapping(1, 2, host_ip="0.0.0.0"),
    ]
    assert hostports.rules({"s" * 64: ("10.1.0.2", ports)}) == [
        "-p tcp -m tcp --dport 8080 -m comment --comment ssssssssssss -j DNAT --to-destination 10.1.0.2:80",
        "-d 10.0.0.1 -p udp -m udp --dport 53 -m comment --comment ssssssssssss -j DNAT --to-destination 10.1.0.2:53",
        "-p tcp -m tcp --dport 2 -m comment --comment ssssssssssss -j DNAT --to-destination 10.1.0.2:1",
    ]
