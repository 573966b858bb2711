"""The endpoints of a Service port, and which of them traffic of each policy may go to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.service import ServicePort

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    ip: str
    port: int
    local: bool
    ready: bool
    serving: bool
    terminating: bool
    zones: frozenset[str] = frozenset()
    """Zones whose clients should use it; empty when it carries no hints."""

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"


PortKey = tuple[str, str]  # (port name, protocol)


def slice_endpoints(endpoint_slice: Object, node_name: str) -> dict[PortKey, list[Endpoint]]:
    """The endpoints of one EndpointSlice by the port they serve."""
    found: dict[PortKey, list[Endpoint]] = {}
    if endpoint_slice.get("addressType") != "IPv4":
        return found
    for port in endpoint_slice.get("ports") or ():
        if not port.get("port"):
            continue
        key = (port.get("name") or "", (port.get("protocol") or "TCP").lower())
        found.setdefault(key, []).extend(
            _endpoint(entry, port["port"], node_name)
            for entry in endpoint_slice.get("endpoints") or ()
            if entry.get("addresses")
        )
    return found


def _endpoint(entry: Object, port: int, node_name: str) -> Endpoint:
    conditions = entry.get("conditions") or {}
    # Unset means unknown, which is to be taken as yes for readiness; serving follows it when it is unset.
    ready = conditions.get("ready") is not False
    serving = conditions["serving"] if isinstance(conditions.get("serving"), bool) else ready
    hints = (entry.get("hints") or {}).get("forZones") or ()
    return Endpoint(
        ip=entry["addresses"][0],
        port=port,
        local=bool(entry.get("nodeName")) and entry["nodeName"] == node_name,
        ready=ready,
        serving=serving,
        terminating=bool(conditions.get("terminating")),
        zones=frozenset(hint["name"] for hint in hints),
    )


def merged(parts: Iterable[Sequence[Endpoint]]) -> list[Endpoint]:
    """One entry an address, sorted: slices may overlap for a moment; then the entry that is ready counts."""
    best: dict[str, Endpoint] = {}
    for part in parts:
        for endpoint in part:
            known = best.get(endpoint.address)
            if known is None or (endpoint.ready and not known.ready):
                best[endpoint.address] = endpoint
    return sorted(best.values(), key=lambda e: ([int(n) for n in e.ip.split(".")], e.port))


@dataclass(frozen=True, slots=True)
class Categories:
    """``cluster`` for traffic of policy Cluster, ``local`` for policy Local, ``reachable`` all of them together.

    ``any``: is there an endpoint at all, on whichever node? If not, traffic is rejected rather than dropped.
    """

    cluster: list[Endpoint]
    local: list[Endpoint]
    reachable: list[Endpoint]
    any: bool


def categorize(endpoints: Sequence[Endpoint], port: ServicePort, zone: str = "") -> Categories:
    """Ready endpoints; those that end but still serve when there is no ready one left."""
    ready = [e for e in endpoints if e.ready]
    leaving = [e for e in endpoints if e.serving and e.terminating and not e.ready]
    cluster: list[Endpoint] = []
    local: list[Endpoint] = []
    found = False
    if port.uses_cluster_endpoints:
        cluster = _in_zone(ready, zone) or leaving
        found = bool(cluster)
    if port.uses_local_endpoints:
        found = found or bool(ready or leaving)
        local = [e for e in ready if e.local] or [e for e in leaving if e.local]
    addresses = {e.address for e in cluster}
    return Categories(cluster, local, cluster + [e for e in local if e.address not in addresses], found)


def _in_zone(ready: list[Endpoint], zone: str) -> list[Endpoint]:
    """Those hinted for our zone, when every endpoint carries hints and at least one is for us."""
    if not zone or not all(e.zones for e in ready):
        return ready
    return [e for e in ready if zone in e.zones] or ready
