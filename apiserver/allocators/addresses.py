"""ClusterIPs: one ``IPAddress`` object (networking.k8s.io/v1) for each address in use, as upstream does since v1.33."""

import ipaddress
import random
from collections.abc import Callable
from typing import Any

from apimachinery import meta

Object = dict[str, Any]
_TRIES = 64


class NotInRange(Exception):
    """The address does not belong to the Services' range."""


class AddressRange:
    """One CIDR. The lower part is left for addresses that people choose; the upper part is drawn from at random."""

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.ip_network(cidr)
        self._first = 1
        self._last = self.network.num_addresses - 2
        if self._last < self._first:
            raise ValueError(f"--service-cluster-ip-range: {cidr} is too small")
        # Upstream's formula for the part that is kept free of random addresses.
        offset = min(max(16, self.network.num_addresses // 16), 256)
        self._dynamic = self._first + offset if offset < self._last else self._first

    @property
    def family(self) -> str:
        return f"IPv{self.network.version}"

    def check(self, address: str) -> None:
        """Raises ``NotInRange``."""
        ip = ipaddress.ip_address(address)
        inside = ip in self.network and self._first <= int(ip) - int(self.network[0]) <= self._last
        if not inside:
            raise NotInRange(
                f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {self.network}"
            )

    def choose(self, taken: Callable[[str], bool]) -> str | None:
        """A free address, or None when all are taken; ``taken`` may be a little behind."""
        for _ in range(_TRIES):
            address = str(self.network[random.randint(self._dynamic, self._last)])
            if not taken(address):
                return address
        for number in (*range(self._dynamic, self._last + 1), *range(self._first, self._dynamic)):
            address = str(self.network[number])
            if not taken(address):
                return address
        return None

    def record(self, address: str, namespace: str, name: str) -> Object:
        """The object that says who has the address."""
        labels = {
            "ipaddress.kubernetes.io/ip-family": self.family,
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        metadata = {
            "name": address,
            "uid": meta.new_uid(),
            "creationTimestamp": meta.now_rfc3339(),
            "labels": labels,
        }
        parent = {"group": "", "resource": "services", "namespace": namespace, "name": name}
        return {
            "kind": "IPAddress",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": metadata,
            "spec": {"parentRef": parent},
        }
