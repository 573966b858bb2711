"""Names of chains: upstream's, so that ``iptables-save`` on a node reads as people know it."""

import hashlib
from base64 import b32encode
from functools import lru_cache

SERVICES = "KUBE-SERVICES"
EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
NODE_PORTS = "KUBE-NODEPORTS"
POSTROUTING = "KUBE-POSTROUTING"
MARK_MASQ = "KUBE-MARK-MASQ"
FORWARD = "KUBE-FORWARD"
PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
FIREWALL = "KUBE-FIREWALL"
CANARY = "KUBE-PROXY-CANARY"

#: Chains that belong to one Service port or endpoint begin so.
PORT_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")


@lru_cache(maxsize=16384)
def _hash(text: str) -> str:
    """iptables allows 28 characters in all."""
    return b32encode(hashlib.sha256(text.encode()).digest())[:16].decode()


def cluster_policy(port: str, protocol: str) -> str:
    """Spreads over endpoints anywhere. ``port`` is ``namespace/name:port``, ``protocol`` lower case."""
    return "KUBE-SVC-" + _hash(port + protocol)


def local_policy(port: str, protocol: str) -> str:
    """Spreads over endpoints on this node."""
    return "KUBE-SVL-" + _hash(port + protocol)


def external(port: str, protocol: str) -> str:
    """Handles what comes to node ports, external and load-balancer addresses."""
    return "KUBE-EXT-" + _hash(port + protocol)


def firewall(port: str, protocol: str) -> str:
    """Lets only the source ranges of a load balancer in."""
    return "KUBE-FW-" + _hash(port + protocol)


def endpoint(port: str, protocol: str, address: str) -> str:
    """Leads to one endpoint, ``ip:port``."""
    return "KUBE-SEP-" + _hash(port + protocol + address)
