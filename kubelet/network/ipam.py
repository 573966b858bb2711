"""Which pod has which address of the node's podCIDR: CNI's ``host-local``, in one file that survives the kubelet."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import orjson


class AddressesExhausted(Exception):
    """Every address of the podCIDR is taken."""


class Ipam:
    """The network address, the gateway (the first) and the broadcast address are nobody's. Addresses are given out in
    turn, so that one just released is not at once another pod's."""

    def __init__(self, file: Path, pod_cidr: str) -> None:
        self._file = file
        self.network = IPv4Network(pod_cidr)
        if self.network.num_addresses < 4:
            raise ValueError(f"podCIDR {pod_cidr} has no room for pods")
        self.gateway = IPv4Interface((self.network.network_address + 1, self.network.prefixlen))

    @contextmanager
    def _locked(self) -> Iterator[dict[str, str]]:
        """The allocations ``{address: owner}`` and, under ``""``, the last given out; written back when changed."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                held: dict[str, str] = orjson.loads(self._file.read_bytes())
            except FileNotFoundError:
                held = {}
            before = dict(held)
            yield held
            if held != before:
                new = self._file.with_suffix(".new")
                new.write_bytes(orjson.dumps(held))
                os.replace(new, self._file)
        finally:
            os.close(lock)

    def allocate(self, owner: str) -> IPv4Address:
        """The owner's address; the same again when asked again."""
        with self._locked() as held:
            for address, holder in held.items():
                if holder == owner and address and IPv4Address(address) in self.network:
                    return IPv4Address(address)
            first, count = int(self.network.network_address) + 2, self.network.num_addresses - 3
            last = IPv4Address(held.get("", "0.0.0.0"))
            start = int(last) - first + 1 if last in self.network else 0
            for step in range(count):
                address = str(IPv4Address(first + (start + step) % count))
                if address not in held:
                    held[address] = owner
                    held[""] = address
                    return IPv4Address(address)
        raise AddressesExhausted(f"no address is free in the node's podCIDR {self.network}")

    def release(self, owner: str) -> None:
        with self._locked() as held:
            for address in [address for address, holder in held.items() if holder == owner and address]:
                del held[address]

    def owners(self) -> dict[str, str]:
        """``{owner: address}``"""
        with self._locked() as held:
            return {owner: address for address, owner in held.items() if address}
