"""A pod's names: its hostname, its /etc/hosts and its /etc/resolv.conf (upstream's GetPodDNS)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubelet.cri.api import DNSConfig
from kubelet.pods import spec

Object = dict[str, Any]

_MAX_LABEL = 63
_HOSTS = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """The node's settings: ``--cluster-dns``, ``--cluster-domain`` and the host's own resolver."""

    servers: tuple[str, ...] = ()
    domain: str = "cluster.local"
    resolv_conf: str = "/etc/resolv.conf"


def hostname(pod: Object) -> str:
    wanted = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return wanted[:_MAX_LABEL].rstrip("-.")


def domain(pod: Object, cluster_domain: str) -> str:
    """Where a headless Service would list the pod; empty without ``spec.subdomain``."""
    subdomain = pod["spec"].get("subdomain")
    if not subdomain:
        return ""
    return f"{subdomain}.{pod['metadata']['namespace']}.svc.{cluster_domain}"


def kernel_hostname(pod: Object, cluster_domain: str, node_name: str) -> str:
    """What ``hostname`` prints inside."""
    if spec.is_host_network(pod):
        return node_name
    name, its_domain = hostname(pod), domain(pod, cluster_domain)
    if pod["spec"].get("setHostnameAsFQDN") and its_domain:
        return f"{name}.{its_domain}"
    return name


def hosts_file(pod: Object, ips: list[str], cluster_domain: str) -> str:
    text = _HOSTS
    name, its_domain = hostname(pod), domain(pod, cluster_domain)
    for ip in ips:
        text += f"{ip}\t{name}.{its_domain}\t{name}\n" if its_domain else f"{ip}\t{name}\n"
    aliases = pod["spec"].get("hostAliases") or []
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{a['ip']}\t{chr(9).join(a.get('hostnames') or [])}\n" for a in aliases)
    return text


def host_dns(path: str) -> DNSConfig:
    """What the host's resolv.conf says."""
    found = DNSConfig()
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        words = line.split()
        if len(words) < 2 or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver":
            found.servers.append(words[1])
        elif words[0] in ("search", "domain"):
            found.searches = words[1:]
        elif words[0] == "options":
            found.options = words[1:]
    return found


def pod_dns(pod: Object, cluster: ClusterDns) -> DNSConfig:
    """By ``dnsPolicy``; without a cluster DNS server, ClusterFirst is Default, as upstream falls back."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    cluster_first = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.is_host_network(pod))
    if policy == "None":
        found = DNSConfig()
    elif cluster_first and cluster.servers:
        host = host_dns(cluster.resolv_conf)
        namespace = pod["metadata"]["namespace"]
        searches = [f"{namespace}.svc.{cluster.domain}", f"svc.{cluster.domain}", cluster.domain, *host.searches]
        found = DNSConfig(list(cluster.servers), list(dict.fromkeys(searches)), ["ndots:5"])
    else:
        found = host_dns(cluster.resolv_conf)
    return _with_own(found, pod["spec"].get("dnsConfig") or {})


def _with_own(base: DNSConfig, own: Object) -> DNSConfig:
    options = {o.partition(":")[0]: o for o in base.options}
    for option in own.get("options") or []:
        value = option.get("value")
        options[option["name"]] = f"{option['name']}:{value}" if value is not None else option["name"]
    return DNSConfig(
        list(dict.fromkeys([*base.servers, *(own.get("nameservers") or [])])),
        list(dict.fromkeys([*base.searches, *(own.get("searches") or [])])),
        list(options.values()),
    )
