"""What the proxy needs to know of a Service: one :class:`ServicePort` for each of its ports."""

import ipaddress
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

Object = dict[str, Any]

#: Services with this label are handled by somebody else.
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
#: Services with it have no virtual address.
HEADLESS_LABEL = "service.kubernetes.io/headless"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """``name`` is ``namespace/name:port`` (``namespace/name`` when the port has no name); it is unique with the protocol."""

    name: str
    port_name: str
    protocol: str  # tcp, udp, sctp
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    internal_local: bool = False
    external_local: bool = False
    health_check_node_port: int = 0

    @property
    def externally_accessible(self) -> bool:
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """External traffic of policy Local needs them too: what comes from this node's pods may go anywhere."""
        return not self.internal_local or self.externally_accessible

    @property
    def uses_local_endpoints(self) -> bool:
        return self.internal_local or (self.external_local and self.externally_accessible)


def service_ports(service: Object) -> list[ServicePort]:
    """Empty for Services that have no virtual address (headless, ExternalName) or another proxy."""
    meta, spec = service["metadata"], service.get("spec") or {}
    labels = meta.get("labels") or {}
    cluster_ip = spec.get("clusterIP") or ""
    if (
        cluster_ip in ("", "None")
        or spec.get("type") == "ExternalName"
        or PROXY_NAME_LABEL in labels
        or HEADLESS_LABEL in labels
    ):
        return []
    if ":" in cluster_ip:
        cluster_ip = next((ip for ip in spec.get("clusterIPs") or () if ":" not in ip), "")
        if not cluster_ip:
            log.info("service %s/%s has only IPv6 addresses, which are not proxied", meta["namespace"], meta["name"])
            return []
    kind = spec.get("type") or "ClusterIP"
    external_local = kind in ("NodePort", "LoadBalancer") and spec.get("externalTrafficPolicy") == "Local"
    balancer = kind == "LoadBalancer"
    shared: Object = {
        "cluster_ip": cluster_ip,
        "external_ips": tuple(ip for ip in spec.get("externalIPs") or () if ":" not in ip),
        "load_balancer_ips": _load_balancer_ips(service) if balancer else (),
        "source_ranges": _ranges(spec.get("loadBalancerSourceRanges") or ()) if balancer else (),
        "affinity_seconds": _affinity_seconds(spec),
        "internal_local": spec.get("internalTrafficPolicy") == "Local",
        "external_local": external_local,
        "health_check_node_port": (spec.get("healthCheckNodePort") or 0) if balancer and external_local else 0,
    }
    base = f"{meta['namespace']}/{meta['name']}"
    return [
        ServicePort(
            name=f"{base}:{port['name']}" if port.get("name") else base,
            port_name=port.get("name") or "",
            protocol=(port.get("protocol") or "TCP").lower(),
            port=port["port"],
            node_port=port.get("nodePort") or 0 if kind in ("NodePort", "LoadBalancer") else 0,
            **shared,
        )
        for port in spec.get("ports") or ()
    ]


def _load_balancer_ips(service: Object) -> tuple[str, ...]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return tuple(i["ip"] for i in ingress if i.get("ip") and ":" not in i["ip"] and i.get("ipMode", "VIP") == "VIP")


def _ranges(texts: Iterable[str]) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            log.warning("loadBalancerSourceRanges: %r is no network, ignored", text)
            continue
        if network.version == 4:
            found.append(str(network))
    return tuple(found)


def _affinity_seconds(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return config.get("timeoutSeconds") or 10800
