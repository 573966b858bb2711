"""Where there is no right to iptables: listens on the Services' addresses itself and carries the bytes.

NodePorts are bound on the host's addresses. A ClusterIP can only be bound when it is an address of this host, which
root can make it (on the loopback interface); a plain user's Services are reached through their NodePorts.
"""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.balancer import Balancer
from proxy.endpoint import Endpoint, categorize
from proxy.relay import TcpRelay, UdpRelay
from proxy.service import ServicePort
from proxy.tracker import PortId, Tracker

log = logging.getLogger(__name__)

_LOOPBACK = "lo"
Listener = tuple[str, int]  # (address, port)


@dataclass(slots=True)
class _Forward:
    """One Service port: who listens for it, and a balancer for each traffic policy."""

    service: str
    protocol: str
    internal: Balancer
    external: Balancer
    relays: dict[Listener, TcpRelay | UdpRelay]
    addresses: set[str]


class UserspaceProxy:
    """``node_port_addresses``: where NodePorts listen. ``claim_cluster_ips``: put ClusterIPs on the loopback interface."""

    def __init__(
        self,
        tracker: Tracker,
        *,
        node_port_addresses: Sequence[str] = ("0.0.0.0",),
        claim_cluster_ips: bool | None = None,
    ) -> None:
        self._tracker = tracker
        self._node_port_addresses = tuple(node_port_addresses)
        self._claim = os.geteuid() == 0 if claim_cluster_ips is None else claim_cluster_ips
        self._forwards: dict[PortId, _Forward] = {}
        self._claimed: dict[str, int] = {}
        self._wanted = asyncio.Event()
        self._first = True
        self._failed: dict[PortId, set[Listener]] = {}
        self.synced = False

    @property
    def cluster_ips_explained(self) -> str:
        if self._claim:
            return f"ClusterIPs on the interface {_LOOPBACK}"
        return "ClusterIPs are not reachable, since only root can put them on this host"

    def trigger(self) -> None:
        self._wanted.set()

    def unhealthy(self) -> str | None:
        return None

    async def run(self) -> None:
        """Never returns; on cancellation stops listening and gives the addresses back."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self.sync()
        finally:
            for port_id in list(self._forwards):
                await self._remove(port_id)

    async def sync(self) -> None:
        changed = self._tracker.take_changes()
        if self._first:
            changed |= self._tracker.services()
            self._first = False
        for key in sorted(changed):
            ports = {(port.name, port.protocol): port for port in self._tracker.ports(key)}
            for port_id in [i for i, f in self._forwards.items() if f.service == key and i not in ports]:
                await self._remove(port_id)
            for port_id, port in ports.items():
                if port.protocol == "sctp":
                    log.warning("%s: SCTP is not forwarded in userspace", port.name)
                    continue
                await self._update(key, port_id, port)
        self.synced = True

    async def _update(self, key: str, port_id: PortId, port: ServicePort) -> None:
        forward = self._forwards.get(port_id)
        if forward is None:
            balancers = Balancer(time.monotonic), Balancer(time.monotonic)
            forward = self._forwards[port_id] = _Forward(key, port.protocol, *balancers, {}, set())
        self._balance(forward, port, self._tracker.endpoints(key, port))
        wanted = self._listeners(port)
        for listener in [one for one in forward.relays if one not in wanted]:
            await self._stop(forward, listener)
        for listener, external in wanted.items():
            if listener not in forward.relays and listener not in self._failed.get(port_id, ()):
                await self._listen(port_id, port, forward, listener, external=external)

    def _balance(self, forward: _Forward, port: ServicePort, endpoints: list[Endpoint]) -> None:
        found = categorize(endpoints, port)
        internal = found.local if port.internal_local else found.cluster
        external = found.local if port.external_local else found.cluster
        forward.internal.update(internal, port.affinity_seconds)
        forward.external.update(external, port.affinity_seconds)
        reachable = {e.address for e in found.reachable}
        for relay in forward.relays.values():
            if isinstance(relay, UdpRelay):
                relay.drop_flows_to_others(reachable)

    def _listeners(self, port: ServicePort) -> dict[Listener, bool]:
        """Addresses to listen on, and whether what comes there is external traffic."""
        wanted: dict[Listener, bool] = {}
        if self._claim:
            wanted[port.cluster_ip, port.port] = False
        if port.node_port:
            wanted |= {(address, port.node_port): True for address in self._node_port_addresses}
        return wanted

    async def _listen(
        self, port_id: PortId, port: ServicePort, forward: _Forward, listener: Listener, *, external: bool
    ) -> None:
        balancer = forward.external if external else forward.internal
        relay = TcpRelay(balancer) if port.protocol == "tcp" else UdpRelay(balancer)
        address = f"{listener[0]}:{listener[1]}/{port.protocol}"
        try:
            if not external:
                await self._claim_address(listener[0])
            await relay.start(*listener)
        except OSError as error:
            # Told once: the next change of the Service does not make it possible.
            self._failed.setdefault(port_id, set()).add(listener)
            if not external:
                await self._release_address(listener[0])
            log.warning("%s: cannot listen on %s: %s", port.name, address, error)
            return
        forward.relays[listener] = relay
        forward.addresses.add(address)
        log.info("%s: %s is forwarded to its endpoints (%d now)", port.name, address, len(balancer))

    async def _remove(self, port_id: PortId) -> None:
        forward = self._forwards.pop(port_id)
        self._failed.pop(port_id, None)
        for listener in list(forward.relays):
            await self._stop(forward, listener)
        log.info("%s: %s no longer forwarded", port_id[0], ", ".join(sorted(forward.addresses)) or "nothing")

    async def _stop(self, forward: _Forward, listener: Listener) -> None:
        relay = forward.relays.pop(listener)
        await relay.stop()
        await self._release_address(listener[0])

    # --- addresses on the loopback interface --------------------------------------------------------------------

    async def _claim_address(self, ip: str) -> None:
        """Raises OSError. An address that is there already is somebody else's, and stays when we go."""
        if ip in self._claimed:
            self._claimed[ip] += 1
            return
        try:
            await _ip("address", "add", f"{ip}/32", "dev", _LOOPBACK)
        except OSError as error:
            if not any(text in str(error) for text in ("File exists", "already assigned")):
                raise
        else:
            self._claimed[ip] = 1

    async def _release_address(self, ip: str) -> None:
        if ip not in self._claimed:
            return
        self._claimed[ip] -= 1
        if not self._claimed[ip]:
            del self._claimed[ip]
            try:
                await _ip("address", "delete", f"{ip}/32", "dev", _LOOPBACK)
            except OSError as error:
                log.warning("%s stays on %s: %s", ip, _LOOPBACK, error)


async def _ip(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    if process.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {errors.decode().strip()}")
