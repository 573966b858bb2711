"""The proxy as a process: informers feed the tracker, the tracker feeds iptables or the userspace forwarder."""

import argparse
import asyncio
import ipaddress
import logging
import socket
from dataclasses import replace
from typing import Any, Protocol

from componentbase.health import HealthServer
from componentbase.process import first_failure
from kubeclient import Client, Config, InformerFactory
from kubeclient.informer import without_managed_fields
from proxy import metrics
from proxy.iptables import Iptables, allow_localhost_node_ports
from proxy.rules import Settings
from proxy.service import HEADLESS_LABEL, PROXY_NAME_LABEL
from proxy.syncer import Syncer
from proxy.tracker import Tracker
from proxy.userspace import UserspaceProxy

log = logging.getLogger(__name__)

Object = dict[str, Any]

_ZONE_LABEL = "topology.kubernetes.io/zone"


class Proxier(Protocol):
    """What makes Services reachable: iptables or ourselves."""

    synced: bool

    def trigger(self) -> None:
        """The tracker has changes."""

    def unhealthy(self) -> str | None: ...

    async def run(self) -> None: ...


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """``host:port`` or ``host``."""
    host, colon, port = text.rpartition(":")
    return (host or "0.0.0.0", int(port)) if colon else (text, default_port)


def _feed(factory: InformerFactory, tracker: Tracker, proxier: Proxier) -> asyncio.Event:
    """Informers -> tracker. Nothing is triggered before the returned event is set: half the Services are worse than
    the rules of before."""
    ready = asyncio.Event()

    def trigger(changed: bool, count: Any) -> None:
        if changed:
            count()
            if ready.is_set():
                proxier.trigger()

    def service(obj: Object) -> None:
        trigger(tracker.service_changed(obj), metrics.service_changed)

    def endpoint_slice(obj: Object) -> None:
        trigger(tracker.slice_changed(obj), metrics.endpoints_changed)

    # Services of other proxies and the slices of headless Services are not even sent to us.
    selector = f"!{PROXY_NAME_LABEL},!{HEADLESS_LABEL}"
    factory.informer("v1", "services", label_selector=selector).on(
        service,
        lambda old, new: service(new),
        lambda obj: trigger(tracker.service_deleted(obj), metrics.service_changed),
    )
    factory.informer("discovery.k8s.io/v1", "endpointslices", label_selector=selector).on(
        endpoint_slice,
        lambda old, new: endpoint_slice(new),
        lambda obj: trigger(tracker.slice_deleted(obj), metrics.endpoints_changed),
    )
    return ready


def _follow_node(factory: InformerFactory, node_name: str, syncer: Syncer, settings: Settings) -> None:
    """Our own Node says in which zone we are and which address is ours."""

    def changed(node: Object) -> None:
        labels = node["metadata"].get("labels") or {}
        addresses = (node.get("status") or {}).get("addresses") or ()
        ip = next((a["address"] for a in addresses if a["type"] == "InternalIP" and ":" not in a["address"]), "")
        syncer.set_settings(replace(settings, zone=labels.get(_ZONE_LABEL, ""), node_ip=ip))

    informer = factory.informer("v1", "nodes", field_selector=f"metadata.name={node_name}")
    informer.on(changed, lambda old, new: changed(new))


def _settings(options: argparse.Namespace) -> Settings:
    addresses = tuple(str(ipaddress.ip_network(a)) for a in options.nodeport_addresses.split(",") if a)
    localhost = options.iptables_localhost_nodeports
    if localhost and (wrong := allow_localhost_node_ports()) is not None:
        log.warning("NodePorts do not answer on 127.0.0.1: %s", wrong)
        localhost = False
    return Settings(
        cluster_cidr=options.cluster_cidr,
        masquerade_all=options.masquerade_all,
        node_port_addresses=addresses,
        localhost_node_ports=localhost,
    )


async def _make_proxier(options: argparse.Namespace, factory: InformerFactory, tracker: Tracker, node: str) -> Proxier:
    if options.proxy_mode == "iptables":
        wrong = await Iptables().why_unusable()
        if wrong is not None:
            raise OSError(f"--proxy-mode=iptables is impossible here (try --proxy-mode=userspace): {wrong}")
        settings = _settings(options)
        syncer = Syncer(tracker, settings)
        _follow_node(factory, node, syncer, settings)
        return syncer
    addresses = [str(ipaddress.ip_interface(a).ip) for a in options.nodeport_addresses.split(",") if a]
    proxier = UserspaceProxy(tracker, node_port_addresses=addresses or ("0.0.0.0",))
    log.info(
        "forwarding in userspace: NodePorts on %s; %s",
        ", ".join(addresses) or "all addresses",
        proxier.cluster_ips_explained,
    )
    return proxier


async def clean_up() -> int:
    await Iptables().clean_up()
    return 0


async def run(options: argparse.Namespace) -> None:
    """Never returns."""
    node = options.hostname_override or socket.gethostname()
    client = Client(Config.load(options.kubeconfig or None), user_agent="kube-proxy")
    factory, tracker = InformerFactory(client, transform=without_managed_fields), Tracker(node)
    proxier = await _make_proxier(options, factory, tracker, node)
    ready = _feed(factory, tracker, proxier)
    servers = [
        HealthServer(*split_address(options.healthz_bind_address, 10256)),
        HealthServer(*split_address(options.metrics_bind_address, 10249)),
    ]
    for server in servers:
        server.add_check("sync", proxier.unhealthy)
        server.add_check("first-sync", lambda: None if proxier.synced else "not synced yet", ready_only=True)

    async def feed() -> None:
        # Their own retries take seconds; a server that is just starting is ready sooner.
        await client.wait_ready()
        await factory.run()

    async def start_when_synced() -> None:
        await factory.wait_synced()
        ready.set()
        proxier.trigger()
        await proxier.run()

    started: list[HealthServer] = []
    try:
        for server in servers:
            await server.start()
            started.append(server)
        await first_failure(feed(), start_when_synced())
    finally:
        await asyncio.gather(*(server.stop() for server in started))
        await client.close()
