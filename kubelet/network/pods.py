"""A sandbox joins the node's pod network, and leaves it.

Works on any sandbox whose network namespace has a path, whatever runtime made it (``--network none`` for Docker).
"""

import asyncio
import hashlib
import logging
import os
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from kubelet.cri.api import PortMapping, RuntimeServiceError
from kubelet.network.hostports import HostPorts
from kubelet.network.ipam import AddressesExhausted, Ipam
from kubelet.network.namespaces import entered
from kubelet.network.routes import PROTOCOL
from kubelet.network.rtnetlink import Link, Route, Rtnetlink

logger = logging.getLogger(__name__)

BRIDGE = "cbr0"
_DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")
_BOOT_PROTOCOL = 3  # RTPROT_BOOT: what `ip route add` sets


def link_name(sandbox: str) -> str:
    """The node's end of a sandbox's veth pair: at most 15 bytes."""
    return "pod" + hashlib.sha256(sandbox.encode()).hexdigest()[:12]


class PodNetwork:
    """The network of this node's pods; ``set_up`` first. Calls for different sandboxes may overlap."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._ports = HostPorts(state_dir / "hostports.json")
        self._lock = asyncio.Lock()  # iptables and the bridge are one for all
        self._netlink: Rtnetlink | None = None
        self._ipam: Ipam | None = None
        self._bridge: Link | None = None
        self._mtu = 1500

    @property
    def ready(self) -> tuple[bool, str]:
        if self._ipam is None:
            return False, "the node has no podCIDR yet"
        return True, ""

    async def set_up(self, pod_cidr: str) -> None:
        """Bridge, gateway address and forwarding; again with another podCIDR moves the gateway."""
        if self._ipam is not None and str(self._ipam.network) == pod_cidr:
            return
        async with self._lock:
            try:
                ipam = Ipam(self._state_dir / "ipam.json", pod_cidr)
                self._netlink = self._netlink or Rtnetlink()
                self._set_up_bridge(self._netlink, ipam)
                self._forward()
            except OSError as e:
                raise RuntimeServiceError(f"pod network: {e.strerror}") from e
            self._ports.load()
            if self._ports.sandboxes:
                await self._ports.write()
            self._ipam = ipam
        logger.info("pod network on %s: %s, mtu %d", BRIDGE, pod_cidr, self._mtu)

    def _set_up_bridge(self, netlink: Rtnetlink, ipam: Ipam) -> None:
        uplink = next((route.index for route in netlink.routes() if route.network == _DEFAULT_ROUTE), 0)
        self._mtu = next((link.mtu for link in netlink.links() if link.index == uplink), 1500)
        bridge = netlink.add_bridge(BRIDGE)
        # A fixed address: a bridge otherwise takes the lowest of its ports' and changes it as pods come and go.
        mac = b"\x0a\x58" + ipam.gateway.ip.packed
        netlink.set_up(bridge.index, mtu=self._mtu, address=mac)
        for index, address in netlink.addresses():
            if index == bridge.index and address != ipam.gateway:
                netlink.delete_address(index, address)
        netlink.add_address(bridge.index, ipam.gateway)
        self._bridge = bridge

    @staticmethod
    def _forward() -> None:
        settings = {
            "net/ipv4/ip_forward": "1",
            f"net/ipv4/conf/{BRIDGE}/rp_filter": "2",
            # A pod that talks to its neighbour through us must not be told of the shorter way: Services live here.
            f"net/ipv4/conf/{BRIDGE}/send_redirects": "0",
            "net/ipv4/conf/all/send_redirects": "0",
            f"net/ipv4/conf/{BRIDGE}/route_localnet": "1",
        }
        for name, value in settings.items():
            path = Path("/proc/sys", name)
            if path.read_text().strip() == value:
                continue
            try:
                path.write_text(value)
            except OSError as e:
                raise OSError(e.errno, f"set {name.replace('/', '.')}={value}: {e.strerror}") from e

    async def attach(self, sandbox: str, namespace: str, ports: list[PortMapping]) -> str:
        """Give the sandbox its link, address and routes; its IP. ``namespace`` is a path such as ``/proc/PID/ns/net``."""
        ipam, netlink, bridge = self._ipam, self._netlink, self._bridge
        if ipam is None or netlink is None or bridge is None:
            raise RuntimeServiceError(f"the pod network is not ready: {self.ready[1]}")
        try:
            ip = ipam.allocate(sandbox)
            self._plug_in(netlink, bridge, link_name(sandbox), namespace, ip, ipam.gateway.ip)
        except (OSError, AddressesExhausted) as e:
            ipam.release(sandbox)
            text = e.strerror if isinstance(e, OSError) else str(e)
            raise RuntimeServiceError(f"pod network of sandbox {sandbox[:12]}: {text}") from e
        async with self._lock:
            await self._ports.add(sandbox, str(ip), ports)
        return str(ip)

    def _plug_in(
        self, netlink: Rtnetlink, bridge: Link, name: str, namespace: str, ip: IPv4Address, gateway: IPv4Address
    ) -> None:
        netlink.delete_link(name)  # of an attempt that ended half way
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            netlink.add_veth(name, "eth0", fd, mtu=self._mtu, master=bridge.index)
        finally:
            os.close(fd)
        with entered(namespace):
            inside = Rtnetlink()
        with inside:
            loopback, link = inside.link("lo"), inside.link("eth0")
            assert loopback is not None
            assert link is not None
            inside.set_up(loopback.index)
            inside.set_up(link.index, address=b"\x0a\x58" + ip.packed)
            inside.add_address(link.index, IPv4Interface((ip, 32)))
            inside.put_route(Route(IPv4Network((gateway, 32)), None, link.index, _BOOT_PROTOCOL))
            inside.put_route(Route(_DEFAULT_ROUTE, gateway, link.index, _BOOT_PROTOCOL))

    def address_of(self, sandbox: str) -> str:
        """The IP it was given; empty when it has none."""
        return self._ipam.owners().get(sandbox, "") if self._ipam is not None else ""

    async def detach(self, sandbox: str) -> None:
        """Take it all back; nothing there is fine."""
        if self._netlink is None or self._ipam is None:
            return
        self._netlink.delete_link(link_name(sandbox))
        self._ipam.release(sandbox)
        async with self._lock:
            await self._ports.remove(sandbox)

    async def reconcile(self, living: set[str]) -> None:
        """Release what belongs to sandboxes that are no more: the rest of a kubelet or machine that died."""
        if self._netlink is None or self._ipam is None or self._bridge is None:
            return
        for owner in set(self._ipam.owners()) | set(self._ports.sandboxes):
            if owner not in living:
                await self.detach(owner)
        names = {link_name(sandbox) for sandbox in living}
        for link in self._netlink.links():
            if link.master == self._bridge.index and link.name.startswith("pod") and link.name not in names:
                self._netlink.delete_link(link.name)

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
            self._ipam = None


def purge() -> None:
    """Remove this namespace's bridge, pod links and routes (for a node without a namespace of its own)."""
    with Rtnetlink() as netlink:
        bridge = netlink.link(BRIDGE)
        if bridge is not None:
            for link in netlink.links():
                if link.master == bridge.index and link.name.startswith("pod"):
                    netlink.delete_link(link.name)
            netlink.delete_link(BRIDGE)
        for route in netlink.routes():
            if route.protocol == PROTOCOL:
                netlink.delete_route(route)
