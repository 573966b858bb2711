"""What one Service takes and gives up when it is written: its ClusterIPs, NodePorts and health check port."""

import random
from typing import Any

import orjson

from apimachinery import errors
from apimachinery.errors import FieldError
from apimachinery.resources import Resource
from apiserver.allocators.addresses import AddressRange, NotInRange
from apiserver.cacher import ResourceCache
from apiserver.registry.service_rules import has_cluster_ip, wants_cluster_ip, wants_health_check_port, wants_node_ports
from apiserver.storage import Codec, Store
from apiserver.storage.store import Also

Object = dict[str, Any]
PORTS = "ranges/servicenodeports/"
_TRIES = 64


class ServiceAllocator:
    """``allocate`` and ``release`` are what the Service's endpoint calls around its writes."""

    def __init__(
        self, service: Resource, cidr: str, ports: tuple[int, int], addresses: ResourceCache, store: Store
    ) -> None:
        self._service = service
        self._range = AddressRange(cidr)
        self._ports = ports
        self._addresses = addresses
        self._store = store

    async def allocate(self, new: Object, old: Object | None) -> Also:
        """Fills in what the Service left open; the keys to take and to give up with the write. Raises 422."""
        had_addresses = _addresses_of(old["spec"]) if old is not None else []
        had_ports = _ports_of(old["spec"]) if old is not None else set()
        found: list[FieldError] = []
        also = Also()
        await self._take_addresses(new, had_addresses, also, found)
        if not found:
            await self._take_ports(new, had_ports, also, found)
        if found:
            raise errors.invalid(self._service, new["metadata"]["name"], found)
        keeps_addresses, keeps_ports = _addresses_of(new["spec"]), _ports_of(new["spec"])
        also.free += [self._address_key(a) for a in had_addresses if a not in keeps_addresses]
        also.free += [f"{PORTS}{p}" for p in sorted(had_ports - keeps_ports)]
        return also

    def release(self, obj: Object) -> list[str]:
        """The keys that go with the Service."""
        spec = obj["spec"]
        return [self._address_key(a) for a in _addresses_of(spec)] + [f"{PORTS}{p}" for p in sorted(_ports_of(spec))]

    # --- addresses

    def _address_key(self, address: str) -> str:
        return self._addresses.prefix + address

    async def _take_addresses(self, new: Object, had: list[str], also: Also, found: list[FieldError]) -> None:
        spec, metadata = new["spec"], new["metadata"]
        if not wants_cluster_ip(spec):
            if spec.get("clusterIP") == "None":
                spec["clusterIPs"] = ["None"]
            return
        if has_cluster_ip(spec):
            wanted = spec.get("clusterIPs") or [spec["clusterIP"]]
            for address in wanted:
                problem = None if address in had else await self._problem(address)
                if problem:
                    detail = f"failed to allocate IP {address}: {problem}"
                    found.append(errors.invalid_value("spec.clusterIPs", wanted, detail))
        else:
            chosen = self._range.choose(lambda a: self._addresses.get(a) is not None)
            if chosen is None:
                raise errors.internal("failed to allocate a serviceIP: range is full")
            wanted = [chosen]
        spec["clusterIP"], spec["clusterIPs"] = wanted[0], wanted
        codec = Codec(self._addresses.resource)
        for address in wanted:
            if address not in had:
                record = self._range.record(address, metadata["namespace"], metadata["name"])
                also.take[self._address_key(address)] = codec.encode(record)

    async def _problem(self, address: str) -> str | None:
        """Why an address that was asked for cannot be had."""
        try:
            self._range.check(address)
        except NotInRange as error:
            return str(error)
        if await self._store.get(self._address_key(address)) is not None:
            return "provided IP is already allocated"
        return None

    # --- ports

    async def _take_ports(self, new: Object, had: set[int], also: Also, found: list[FieldError]) -> None:
        spec, metadata = new["spec"], new["metadata"]
        owner = orjson.dumps({"namespace": metadata["namespace"], "name": metadata["name"]})
        asked = _ports_of(spec)
        for i, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort")
            if number and number not in had:
                problem = await self._port_problem(number)
                if problem:
                    found.append(errors.invalid_value(f"spec.ports[{i}].nodePort", number, problem))
        if wants_node_ports(spec):
            await self._fill_ports(spec, asked | had)
        if wants_health_check_port(spec):
            number = spec.get("healthCheckNodePort")
            if not number:
                spec["healthCheckNodePort"] = await self._free_port(_ports_of(spec) | had)
            elif number not in had and (problem := await self._port_problem(number)):
                found.append(errors.invalid_value("spec.healthCheckNodePort", number, problem))
        for number in sorted(_ports_of(spec) - had):
            also.take[f"{PORTS}{number}"] = owner

    async def _fill_ports(self, spec: Object, used: set[int]) -> None:
        """One number serves the same port under different protocols (DNS on TCP and UDP)."""
        by_port: dict[int, int] = {p["port"]: p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}
        pairs = {(p.get("protocol"), p.get("nodePort")) for p in spec.get("ports") or () if p.get("nodePort")}
        for port in spec.get("ports") or ():
            if port.get("nodePort"):
                continue
            shared = by_port.get(port["port"])
            if shared is None or (port.get("protocol"), shared) in pairs:
                shared = await self._free_port(used)
                used.add(shared)
                by_port[port["port"]] = shared
            port["nodePort"] = shared
            pairs.add((port.get("protocol"), shared))

    async def _port_problem(self, number: int) -> str | None:
        low, high = self._ports
        if not low <= number <= high:
            return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        if await self._store.get(f"{PORTS}{number}") is not None:
            return "provided port is already allocated"
        return None

    async def _free_port(self, used: set[int]) -> int:
        low, high = self._ports
        page = await self._store.range(PORTS)
        taken = used | {int(item.key.removeprefix(PORTS)) for item in page.items}
        for _ in range(_TRIES):
            number = random.randint(low, high)
            if number not in taken:
                return number
        free = [n for n in range(low, high + 1) if n not in taken]
        if not free:
            raise errors.internal("failed to allocate a nodePort: range is full")
        return random.choice(free)


def _addresses_of(spec: Object) -> list[str]:
    if not has_cluster_ip(spec) or spec.get("type") == "ExternalName":
        return []
    return list(spec.get("clusterIPs") or [spec["clusterIP"]])


def _ports_of(spec: Object) -> set[int]:
    numbers = {p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        numbers.add(spec["healthCheckNodePort"])
    return numbers
