"""Routes to the pods of the other nodes: to each podCIDR through its node's address (host-gw, as upstream's cloud routes).

:func:`sync` is called with all Nodes whenever one changed; it acts on what differs and on nothing else.
"""

import logging
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubelet.network.masquerade import Masquerade
from kubelet.network.rtnetlink import Route, Rtnetlink

logger = logging.getLogger(__name__)

PROTOCOL = 98  # "who made this route", in /etc/iproute2/rt_protos terms: a number that nobody has registered

_masquerade = Masquerade()


def internal_ip(node: dict[str, Any]) -> IPv4Address | None:
    for address in node.get("status", {}).get("addresses", []):
        if address.get("type") == "InternalIP" and ":" not in address.get("address", ":"):
            return IPv4Address(address["address"])
    return None


def pod_cidrs(nodes: list[dict[str, Any]]) -> dict[IPv4Network, IPv4Address]:
    """``{podCIDR: its node's InternalIP}`` of the nodes that have both."""
    found = {}
    for node in nodes:
        ip = internal_ip(node)
        for cidr in node.get("spec", {}).get("podCIDRs") or [node.get("spec", {}).get("podCIDR")]:
            if cidr and ":" not in cidr and ip is not None:
                found[IPv4Network(cidr)] = ip
    return found


def changes(
    wanted: dict[IPv4Network, IPv4Address], present: list[Route], own: set[IPv4Address]
) -> tuple[list[Route], list[Route]]:
    """``(to put, to delete)``: ``present`` are all routes here, ``own`` the addresses of this node."""
    ours = {route.network: route for route in present if route.protocol == PROTOCOL}
    others = {network: gateway for network, gateway in wanted.items() if gateway not in own}
    put = [
        Route(network, gateway, 0, PROTOCOL)
        for network, gateway in others.items()
        if network not in ours or ours[network].gateway != gateway
    ]
    delete = [route for network, route in ours.items() if network not in others]
    return put, delete


async def sync(nodes: list[dict[str, Any]], *, cluster_cidr: str = "") -> None:
    """Make this network namespace's routes those that the Nodes ask for. Needs root (CAP_NET_ADMIN): call it only when
    the pods have a network of their own. A node that cannot be reached on the link is logged and left out."""
    wanted = pod_cidrs(nodes)
    with Rtnetlink() as netlink:
        own = {address.ip for _index, address in netlink.addresses()}
        put, delete = changes(wanted, netlink.routes(), own)
        for route in delete:
            netlink.delete_route(route)
        for route in put:
            try:
                netlink.put_route(route)
            except OSError as e:
                logger.error("no route to the pods of the node at %s: %s", route.gateway, e.strerror)
        if put or delete:
            logger.info("routes to other nodes' pods: %d set, %d removed", len(put), len(delete))
    mine = next((network for network, gateway in wanted.items() if gateway in own), None)
    if mine is not None:
        exempt = [cluster_cidr] if cluster_cidr else [str(network) for network in wanted]
        await _masquerade.sync(str(mine), exempt)
