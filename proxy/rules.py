"""Pure: one Service port and its endpoints -> iptables rules, the same as upstream's, word for word.

What the tables look like, for a packet to a Service's address: ``KUBE-SERVICES`` picks the port's own chain (``KUBE-SVC-``
for ClusterIPs, ``KUBE-EXT-`` for what comes from outside), which picks one endpoint's chain (``KUBE-SEP-``) at random,
which rewrites the destination. Packets marked on the way (0x4000) get our source address in ``KUBE-POSTROUTING``, so that
answers come back this way. The filter table answers for Services that have no endpoints.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy import chains
from proxy.endpoint import Categories, Endpoint, categorize
from proxy.service import ServicePort

MASQUERADE_MARK = "0x4000"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all Services on a node. ``node_port_addresses`` empty: NodePorts answer on every address."""

    cluster_cidr: str = ""
    masquerade_all: bool = False
    node_ip: str = ""
    zone: str = ""
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    random_fully: bool = False


@dataclass(slots=True)
class PortRules:
    """The rules of one Service port: lines for the shared chains, and chains of its own."""

    filter_node_ports: list[str] = field(default_factory=list)
    filter_services: list[str] = field(default_factory=list)
    filter_external: list[str] = field(default_factory=list)
    filter_firewall: list[str] = field(default_factory=list)
    nat_node_ports: list[str] = field(default_factory=list)
    nat_services: list[str] = field(default_factory=list)
    nat_chains: dict[str, list[str]] = field(default_factory=dict)

    def chain(self, name: str) -> list[str]:
        return self.nat_chains.setdefault(name, [])


def port_rules(port: ServicePort, endpoints: Sequence[Endpoint], settings: Settings) -> PortRules:
    return _PortWriter(port, categorize(endpoints, port, settings.zone), settings).write()


class _PortWriter:
    def __init__(self, port: ServicePort, endpoints: Categories, settings: Settings) -> None:
        self._port, self._endpoints, self._settings = port, endpoints, settings
        name, protocol = port.name, port.protocol
        self._cluster_chain = chains.cluster_policy(name, protocol)
        self._local_chain = chains.local_policy(name, protocol)
        self._external_chain = chains.external(name, protocol)
        self._firewall_chain = chains.firewall(name, protocol)
        self._internal_chain = self._local_chain if port.internal_local else self._cluster_chain
        self._protocol_match = f"-m {protocol} -p {protocol}"
        self._has_internal = endpoints.any and not (port.internal_local and not endpoints.local)
        self._has_external = endpoints.any and not (port.external_local and not endpoints.local)
        self._firewalled = bool(endpoints.any and port.load_balancer_ips and port.source_ranges)
        self._rules = PortRules()

    def write(self) -> PortRules:
        self._capture_cluster_ip()
        self._capture_external_ips()
        self._capture_load_balancer()
        self._capture_node_port()
        if self._has_internal:
            self._masquerade_outsiders()
        if self._endpoints.any and self._port.externally_accessible:
            self._write_external_chain()
        if self._firewalled:
            self._write_firewall_chain()
        if self._endpoints.cluster and self._port.uses_cluster_endpoints:
            self._spread(self._cluster_chain, self._endpoints.cluster)
        if self._endpoints.local and self._port.uses_local_endpoints:
            self._spread(self._local_chain, self._endpoints.local)
        for endpoint in self._endpoints.reachable:
            self._write_endpoint_chain(endpoint)
        return self._rules

    # --- which packets are for us -------------------------------------------------------------------------------

    def _to(self, ip: str, chain: str, comment: str, target: str) -> str:
        return (
            f'-A {chain} -m comment --comment "{self._port.name} {comment}" {self._protocol_match} '
            f"-d {ip} --dport {self._port.port} -j {target}"
        )

    def _refusal(self, *, external: bool) -> tuple[str, str]:
        """(comment, target): reject when nobody serves anywhere, drop when somebody does but not on this node."""
        if not self._endpoints.any:
            return "has no endpoints", "REJECT"
        return "has no local endpoints", "DROP"

    def _capture_cluster_ip(self) -> None:
        if self._has_internal:
            rule = self._to(self._port.cluster_ip, chains.SERVICES, "cluster IP", self._internal_chain)
            self._rules.nat_services.append(rule)
        else:
            comment, target = self._refusal(external=False)
            rule = self._to(self._port.cluster_ip, chains.SERVICES, comment, target)
            self._rules.filter_services.append(rule)

    def _refuse_external(self, ips: Iterable[str]) -> None:
        if not self._has_external:
            comment, target = self._refusal(external=True)
            for ip in ips:
                self._rules.filter_external.append(self._to(ip, chains.EXTERNAL_SERVICES, comment, target))

    def _capture_external_ips(self) -> None:
        for ip in self._port.external_ips:
            if self._endpoints.any:
                self._rules.nat_services.append(self._to(ip, chains.SERVICES, "external IP", self._external_chain))
        self._refuse_external(self._port.external_ips)

    def _capture_load_balancer(self) -> None:
        target = self._firewall_chain if self._firewalled else self._external_chain
        for ip in self._port.load_balancer_ips:
            if self._endpoints.any:
                self._rules.nat_services.append(self._to(ip, chains.SERVICES, "loadbalancer IP", target))
            if self._firewalled:
                comment = f"traffic not accepted by {self._firewall_chain}"
                self._rules.filter_firewall.append(self._to(ip, chains.PROXY_FIREWALL, comment, "DROP"))
        self._refuse_external(self._port.load_balancer_ips)

    def _capture_node_port(self) -> None:
        port, match = self._port, self._protocol_match
        if port.node_port:
            if self._endpoints.any:
                self._rules.nat_node_ports.append(
                    f"-A {chains.NODE_PORTS} -m comment --comment {port.name} {match} --dport {port.node_port} "
                    f"-j {self._external_chain}"
                )
            if not self._has_external:
                comment, target = self._refusal(external=True)
                self._rules.filter_external.append(
                    f'-A {chains.EXTERNAL_SERVICES} -m comment --comment "{port.name} {comment}" '
                    f"-m addrtype --dst-type LOCAL {match} --dport {port.node_port} -j {target}"
                )
        if port.health_check_node_port:
            self._rules.filter_node_ports.append(
                f'-A {chains.NODE_PORTS} -m comment --comment "{port.name} health check node port" '
                f"-m tcp -p tcp --dport {port.health_check_node_port} -j ACCEPT"
            )

    # --- where they go ------------------------------------------------------------------------------------------

    def _masquerade_outsiders(self) -> None:
        """Who calls a ClusterIP from outside of the pod network gets his answers through this node."""
        port, settings = self._port, self._settings
        if not settings.masquerade_all and not settings.cluster_cidr:
            return
        source = "" if settings.masquerade_all else f"! -s {settings.cluster_cidr} "
        self._rules.chain(self._internal_chain).append(
            f'-A {self._internal_chain} -m comment --comment "{port.name} cluster IP" {self._protocol_match} '
            f"-d {port.cluster_ip} --dport {port.port} {source}-j {chains.MARK_MASQ}"
        )

    def _write_external_chain(self) -> None:
        name, chain = self._port.name, self._external_chain
        rules = self._rules.chain(chain)
        comment = f"-A {chain} -m comment --comment"
        destinations = f"for {name} external destinations"
        if not self._port.external_local:
            # The endpoint may be on another node, which must answer through this one.
            rules.append(f'{comment} "masquerade traffic {destinations}" -j {chains.MARK_MASQ}')
        else:
            # Pods and the node itself are no outsiders: for them any endpoint will do.
            cidr, local = self._settings.cluster_cidr, "-m addrtype --src-type LOCAL"
            if cidr:
                rules.append(f'{comment} "pod traffic {destinations}" -s {cidr} -j {self._cluster_chain}')
            rules.append(f'{comment} "masquerade LOCAL traffic {destinations}" {local} -j {chains.MARK_MASQ}')
            rules.append(f'{comment} "route LOCAL traffic {destinations}" {local} -j {self._cluster_chain}')
        if self._has_external:
            policy = self._local_chain if self._port.external_local else self._cluster_chain
            rules.append(f"-A {chain} -j {policy}")

    def _write_firewall_chain(self) -> None:
        port, chain = self._port, self._firewall_chain
        rules = self._rules.chain(chain)
        sources = list(port.source_ranges)
        node_ip = ipaddress.ip_address(self._settings.node_ip) if self._settings.node_ip else None
        if node_ip is not None and any(node_ip in ipaddress.ip_network(s) for s in port.source_ranges):
            # What this node sends to the balancer's address, when that is local, has that as its source too.
            sources += port.load_balancer_ips
        for source in sources:
            rules.append(
                f'-A {chain} -m comment --comment "{port.name} loadbalancer IP" -s {source} -j {self._external_chain}'
            )
        rules.append(
            f'-A {chain} -m comment --comment "other traffic to {port.name} will be dropped by {chains.PROXY_FIREWALL}"'
        )

    def _spread(self, chain: str, endpoints: Sequence[Endpoint]) -> None:
        rules, name = self._rules.chain(chain), self._port.name
        targets = [(e, chains.endpoint(name, self._port.protocol, e.address)) for e in endpoints]
        if self._port.affinity_seconds:
            for endpoint, target in targets:
                rules.append(
                    f'-A {chain} -m comment --comment "{name} -> {endpoint.address}" -m recent --name {target} '
                    f"--rcheck --seconds {self._port.affinity_seconds} --reap -j {target}"
                )
        for index, (endpoint, target) in enumerate(targets):
            left = len(targets) - index
            # The last one takes all that the dice have left.
            dice = f"-m statistic --mode random --probability {1 / left:0.10f} " if left > 1 else ""
            rules.append(f'-A {chain} -m comment --comment "{name} -> {endpoint.address}" {dice}-j {target}')

    def _write_endpoint_chain(self, endpoint: Endpoint) -> None:
        name = self._port.name
        chain = chains.endpoint(name, self._port.protocol, endpoint.address)
        affinity = f"-m recent --name {chain} --set " if self._port.affinity_seconds else ""
        self._rules.chain(chain).extend(
            (
                # A pod that reaches itself through its Service must not see its own address as the source.
                f"-A {chain} -m comment --comment {name} -s {endpoint.ip} -j {chains.MARK_MASQ}",
                f"-A {chain} -m comment --comment {name} {affinity}{self._protocol_match} "
                f"-j DNAT --to-destination {endpoint.address}",
            )
        )


# --- the whole input of iptables-restore ----------------------------------------------------------------------------


def restore_input(
    ports: Mapping[Any, PortRules],
    settings: Settings,
    *,
    changed: Iterable[Any] | None = None,
    stale_chains: Iterable[str] = (),
) -> str:
    """For ``iptables-restore --noflush``. Chains of their own are written for the ``changed`` ports only (None: all).

    A chain that is declared is emptied first, all others stay as they are. ``stale_chains`` are removed.
    """
    everything = list(ports.values())
    own = everything if changed is None else [ports[key] for key in changed if key in ports]
    filter_table = [
        f":{name} - [0:0]"
        for name in (chains.NODE_PORTS, chains.SERVICES, chains.EXTERNAL_SERVICES, chains.FIREWALL, chains.FORWARD)
    ]
    filter_table.append(f":{chains.PROXY_FIREWALL} - [0:0]")
    for part in ("filter_node_ports", "filter_services", "filter_external", "filter_firewall"):
        for rules in everything:
            filter_table += getattr(rules, part)
    filter_table += _base_filter_rules(settings)

    stale = list(stale_chains)
    names = [name for rules in own for name in rules.nat_chains]
    nat_table = [
        f":{name} - [0:0]"
        for name in (chains.NODE_PORTS, chains.SERVICES, chains.MARK_MASQ, chains.POSTROUTING, *names, *stale)
    ]
    for rules in everything:
        nat_table += rules.nat_node_ports
    for rules in everything:
        nat_table += rules.nat_services
    nat_table += _node_port_jumps(settings)
    nat_table += _base_nat_rules(settings)
    for rules in own:
        for lines in rules.nat_chains.values():
            nat_table += lines
    nat_table += [f"-X {name}" for name in stale]
    return "\n".join(("*filter", *filter_table, "COMMIT", "*nat", *nat_table, "COMMIT", ""))


def _base_filter_rules(settings: Settings) -> list[str]:
    rules = [
        # With route_localnet, 127.0.0.0/8 would be reachable from outside.
        f'-A {chains.FIREWALL} -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 '
        "! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        # A packet out of order would pass untranslated and make the client reset the connection.
        f"-A {chains.FORWARD} -m conntrack --ctstate INVALID -j DROP",
        f'-A {chains.FORWARD} -m comment --comment "kubernetes forwarding rules" '
        f"-m mark --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j ACCEPT",
        f'-A {chains.FORWARD} -m comment --comment "kubernetes forwarding conntrack rule" '
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    return rules if settings.localhost_node_ports else rules[1:]


def _node_port_jumps(settings: Settings) -> list[str]:
    head = (
        f"-A {chains.SERVICES} -m comment --comment "
        '"kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    )
    if settings.node_port_addresses:
        return [f"{head} -d {address} -j {chains.NODE_PORTS}" for address in settings.node_port_addresses]
    localhost = "" if settings.localhost_node_ports else "! -d 127.0.0.0/8 "
    return [f"{head} -m addrtype --dst-type LOCAL {localhost}-j {chains.NODE_PORTS}"]


def _base_nat_rules(settings: Settings) -> list[str]:
    mark = MASQUERADE_MARK
    fully = " --random-fully" if settings.random_fully else ""
    return [
        f"-A {chains.MARK_MASQ} -j MARK --or-mark {mark}",
        f"-A {chains.POSTROUTING} -m mark ! --mark {mark}/{mark} -j RETURN",
        # Unmarked again, so that a packet that passes twice (through a tunnel) is not masqueraded twice.
        f"-A {chains.POSTROUTING} -j MARK --xor-mark {mark}",
        f'-A {chains.POSTROUTING} -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{fully}',
    ]
