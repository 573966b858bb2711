"""The range of ClusterIPs: what may be taken and what is drawn."""

import pytest

from apiserver.allocators.addresses import AddressRange, NotInRange


def test_random_addresses_leave_the_lower_part_to_people() -> None:
    addresses = AddressRange("10.96.0.0/24")
    drawn = {addresses.choose(lambda a: False) for _ in range(300)}
    assert all(int(str(a).rpartition(".")[2]) > 16 for a in drawn)


def test_the_lower_part_is_used_when_nothing_else_is_left() -> None:
    addresses = AddressRange("10.0.0.0/28")
    taken: set[str] = set()
    while (address := addresses.choose(taken.__contains__)) is not None:
        assert address not in taken
        taken.add(address)
    assert len(taken) == 14, "neither the network's own address nor broadcast"


@pytest.mark.parametrize("address", ["10.96.0.0", "10.96.0.255", "10.95.255.255", "::1"])
def test_addresses_outside_are_refused(address: str) -> None:
    with pytest.raises(NotInRange, match=r"The range of valid IPs is 10.96.0.0/24"):
        AddressRange("10.96.0.0/24").check(address)


def test_a_range_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        AddressRange("10.0.0.0/32")
