from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubelet.network.ipam import AddressesExhausted, Ipam


def test_addresses_are_given_in_turn_and_not_at_once_again(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path / "ipam.json", "10.1.2.0/29")
    assert [str(ipam.allocate(owner)) for owner in "abc"] == ["10.1.2.2", "10.1.2.3", "10.1.2.4"]
    ipam.release("a")
    assert [str(ipam.allocate(owner)) for owner in "de"] == ["10.1.2.5", "10.1.2.6"]
    assert str(ipam.allocate("f")) == "10.1.2.2"
    with pytest.raises(AddressesExhausted, match=r"10\.1\.2\.0/29"):
        ipam.allocate("g")


def test_an_owner_keeps_its_address_also_over_a_restart(tmp_path: Path) -> None:
    first = Ipam(tmp_path / "ipam.json", "10.1.2.0/24").allocate("pod")
    again = Ipam(tmp_path / "ipam.json", "10.1.2.0/24")
    assert again.allocate("pod") == first
    assert again.owners() == {"pod": str(first)}
    assert again.allocate("other") != first


def test_another_range_does_not_give_out_the_old_ones_addresses(tmp_path: Path) -> None:
    Ipam(tmp_path / "ipam.json", "10.1.2.0/24").allocate("pod")
    moved = Ipam(tmp_path / "ipam.json", "10.9.9.0/24")
    assert moved.allocate("pod") == IPv4Address("10.9.9.2")
    moved.release("pod")
    assert moved.owners() == {}


def test_network_gateway_and_broadcast_belong_to_nobody(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path / "ipam.json", "10.1.2.0/30")
    assert str(ipam.gateway) == "10.1.2.1/30"
    assert str(ipam.allocate("only")) == "10.1.2.2"
    with pytest.raises(AddressesExhausted):
        ipam.allocate("second")
    with pytest.raises(ValueError, match="no room"):
        Ipam(tmp_path / "ipam.json", "10.1.2.0/31")
