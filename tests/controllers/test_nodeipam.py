import ipaddress

import pytest

from controllers.nodeipam import CidrSet, pod_cidrs
from tests.controllers.objects import node


def cidrs(network: str = "10.244.0.0/22", prefix: int = 24) -> CidrSet:
    return CidrSet(ipaddress.ip_network(network), prefix)


def test_pieces_are_given_out_once_until_none_is_left() -> None:
    pool = cidrs()
    assert [pool.allocate() for _ in range(5)] == [
        "10.244.0.0/24",
        "10.244.1.0/24",
        "10.244.2.0/24",
        "10.244.3.0/24",
        None,
    ]


def test_what_nodes_have_is_not_given_away_after_a_restart() -> None:
    pool = cidrs()
    pool.occupy("10.244.0.0/24")
    pool.occupy("10.244.2.128/25")
    assert [pool.allocate(), pool.allocate(), pool.allocate()] == ["10.244.1.0/24", "10.244.3.0/24", None]


def test_a_released_piece_is_used_again_but_not_at_once() -> None:
    pool = cidrs()
    first = pool.allocate()
    assert first
    pool.release(first)
    assert pool.allocate() == "10.244.1.0/24"
    assert [pool.allocate() for _ in range(3)] == ["10.244.2.0/24", "10.244.3.0/24", first]


def test_the_service_network_is_left_out_when_it_overlaps() -> None:
    pool = cidrs("10.0.0.0/8", 24)
    pool.occupy("10.0.0.0/16")
    assert pool.allocate() == "10.1.0.0/24"


def test_a_foreign_network_occupies_nothing() -> None:
    pool = cidrs()
    pool.occupy("192.168.0.0/16")
    pool.occupy("fd00::/64")
    assert pool.allocate() == "10.244.0.0/24"


def test_an_ipv6_network_is_cut_into_64s() -> None:
    pool = cidrs("fd00:10::/56", 64)
    assert [pool.allocate(), pool.allocate()] == ["fd00:10::/64", "fd00:10:0:1::/64"]


def test_a_mask_bigger_than_the_network_is_refused() -> None:
    with pytest.raises(ValueError, match="node-cidr-mask-size 16"):
        cidrs("10.244.0.0/22", 16)


def test_a_nodes_pieces_are_read_in_both_spellings() -> None:
    assert pod_cidrs(node(podCIDR="10.0.0.0/24")) == ["10.0.0.0/24"]
    assert pod_cidrs(node(podCIDR="a", podCIDRs=["a", "b"])) == ["a", "b"]
    assert pod_cidrs(node()) == []
