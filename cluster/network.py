"""The network of a cluster on one machine: a bridge, and a network namespace with a cable to it for each node.

    host ── mk8s0 (10.64.0.1) ──┬── mk8s0-demo-node-1: eth0 10.64.0.11 ── cbr0, pods
                                └── mk8s0-demo-node-2: eth0 10.64.0.12 ── cbr0, pods

What happens inside a node's namespace (cbr0, pods, Services) is the kubelet's and the proxy's. Here: cables, addresses, the
routes from the host to the pods, and leave for packets to pass the host's packet filter and to reach the world.
All is done by two runs of ``ip -batch``: a tenth of the time that importing a netlink library takes.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cluster import ClusterError
from cluster.spec import SLOTS, Spec

NETNS = Path("/run/netns")


def possible() -> str:
    """Why this machine (or user) cannot give nodes a network of their own; empty when it can."""
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("ip") is None:
        return "the command ip is missing (Debian package iproute2)"
    if shutil.which("iptables-restore") is None:
        return "iptables is missing (Debian package iptables)"
    return ""


def run(command: list[str], stdin: str = "") -> str:
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise ClusterError(f"the command {command[0]} is missing") from None
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip() or f'exit {done.returncode}'}")
    return done.stdout


def _batch(lines: list[str], namespace: str = "") -> None:
    if lines:
        at = ["-n", namespace] if namespace else []
        run(["ip", *at, "-batch", "-"], "\n".join(lines) + "\n")


def _links() -> dict[str, dict[str, Any]]:
    return {link["ifname"]: link for link in json.loads(run(["ip", "-json", "link", "show"]) or "[]")}


def free_slots(reserved: set[int], owner: str) -> list[int]:
    """Subnets that no link, route or other cluster uses. ``owner`` (a cluster's folder) may find its own bridge there."""
    import ipaddress

    taken = set(reserved)
    for name, link in _links().items():
        number = name.removeprefix("mk8s")
        if name != number and number.isdigit() and link.get("ifalias") != owner:
            taken.add(int(number))
    networks = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in json.loads(run(["ip", "-json", "-4", "route", "show"]) or "[]")
        if route["dst"][0].isdigit() and not str(route.get("dev", "")).startswith("mk8s")
    ]
    for slot in range(SLOTS):
        subnet = ipaddress.ip_network(f"10.{64 + slot}.0.0/16")
        if any(subnet.overlaps(network) for network in networks):
            taken.add(slot)
    return [slot for slot in range(SLOTS) if slot not in taken]


def ensure(spec: Spec, owner: str) -> None:
    """Make what is missing of the bridge and the nodes; running it again changes nothing."""
    links = _links()
    _ensure_bridge(spec, owner, links)
    missing = [n for n in spec.node_names if not (NETNS / spec.namespace(n)).exists() or spec.link(n) not in links]
    for node in missing:
        _remove_node(spec, node, links)
    _batch([line for node in missing for line in _node_lines(spec, node)])
    for node in missing:
        _batch(_inside_lines(spec, node), spec.namespace(node))
    _ensure_filter(spec)


def _ensure_bridge(spec: Spec, owner: str, links: dict[str, dict[str, Any]]) -> None:
    found = links.get(spec.bridge)
    if found and found.get("ifalias") != owner:
        raise ClusterError(
            f"subnet {spec.subnet} is in use by the cluster in {found.get('ifalias') or 'an unknown folder'}: "
            "take that one down first"
        )
    if not found:
        _batch(
            [
                f"link add {spec.bridge} type bridge forward_delay 0",
                f"link set {spec.bridge} alias {owner}",
                f"addr add {spec.host_address}/24 dev {spec.bridge}",
                f"link set {spec.bridge} up",
            ]
        )
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _node_lines(spec: Spec, node: str) -> list[str]:
    namespace, link = spec.namespace(node), spec.link(node)
    return [
        f"netns add {namespace}",
        f"link add {link} type veth peer name eth0 netns {namespace}",
        f"link set {link} master {spec.bridge} up",
    ]


def _inside_lines(spec: Spec, node: str) -> list[str]:
    return [
        "link set lo up",
        f"addr add {spec.node_address(node)}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {spec.host_address}",
    ]


def sync_routes(spec: Spec, nodes: list[dict[str, Any]]) -> None:
    """From the host to the pods: each node's podCIDR through its address; routes of vanished nodes go."""
    wanted = {}
    for node in nodes:
        cidr = node.get("spec", {}).get("podCIDR")
        addresses = node.get("status", {}).get("addresses") or []
        address = next((a["address"] for a in addresses if a["type"] == "InternalIP"), "")
        if cidr and address:
            wanted[cidr] = address
    found = {
        r["dst"]: r["gateway"]
        for r in json.loads(run(["ip", "-json", "-4", "route", "show", "dev", spec.bridge]) or "[]")
        if "gateway" in r
    }
    lines = [f"route del {c} via {g} dev {spec.bridge}" for c, g in found.items() if wanted.get(c) != g]
    lines += [f"route add {c} via {g} dev {spec.bridge}" for c, g in wanted.items() if found.get(c) != g]
    _batch(lines)


def filter_rules(spec: Spec) -> str:
    """For ``iptables-restore --noflush``: our own chains, filled anew.

    FORWARD may be DROP (Docker sets it), and with Docker even frames between two ports of our bridge pass it.
    """
    chain = f"MK8S-{spec.slot}"
    return "\n".join(
        [
            "*filter",
            f":{chain} - [0:0]",
            f"-A {chain} -i {spec.bridge} -j ACCEPT",
            f"-A {chain} -o {spec.bridge} -j ACCEPT",
            "COMMIT",
            "*nat",
            f":{chain} - [0:0]",
            f"-A {chain} -s {spec.subnet} ! -d {spec.subnet} -j MASQUERADE",
            "COMMIT",
            "",
        ]
    )


_HOOKS = (("filter", "FORWARD"), ("nat", "POSTROUTING"))


def _ensure_filter(spec: Spec) -> None:
    chain = f"MK8S-{spec.slot}"
    run(["iptables-restore", "--wait", "5", "--noflush"], filter_rules(spec))
    for table, hook in _HOOKS:
        if f"-j {chain}\n" not in run(["iptables", "-w", "5", "-t", table, "-S", hook]):
            run(["iptables", "-w", "5", "-t", table, "-I", hook, "1", "-j", chain])


def remove(spec: Spec, owner: str) -> list[str]:
    """Take everything away again; what is gone already is fine. Returns what could not be removed."""
    problems = []
    links = _links()
    bridge = links.get(spec.bridge)
    if bridge and bridge.get("ifalias") != owner:
        return []  # another cluster's by now; ours went with a reboot
    nodes = {*spec.node_names, *_nodes_left(spec)}
    for node in sorted(nodes):
        try:
            _remove_node(spec, node, links)
        except ClusterError as error:
            problems.append(str(error))
    try:
        if bridge:
            run(["ip", "link", "del", spec.bridge])
        _remove_filter(spec)
    except ClusterError as error:
        problems.append(str(error))
    return problems


def _nodes_left(spec: Spec) -> list[str]:
    """Nodes whose namespaces exist though the spec does not name them (it was edited, or an ``up`` was cut short)."""
    prefix = spec.namespace("")
    return [path.name.removeprefix(prefix) for path in NETNS.glob(f"{prefix}*")] if NETNS.is_dir() else []


def _remove_node(spec: Spec, node: str, links: dict[str, dict[str, Any]]) -> None:
    # The cable first: a namespace lives on while a process (a container that would not die) is still in it.
    if spec.link(node) in links:
        run(["ip", "link", "del", spec.link(node)])
    if (NETNS / spec.namespace(node)).exists():
        run(["ip", "netns", "del", spec.namespace(node)])


def _remove_filter(spec: Spec) -> None:
    chain = f"MK8S-{spec.slot}"
    for table, hook in _HOOKS:
        rules = run(["iptables", "-w", "5", "-t", table, "-S"])
        lines = [f"*{table}"]
        lines += [f"-D {hook} -j {chain}"] * rules.count(f"-A {hook} -j {chain}\n")
        if f"-N {chain}\n" in rules:
            lines += [f"-F {chain}", f"-X {chain}"]
        if len(lines) > 1:
            run(["iptables-restore", "--wait", "5", "--noflush"], "\n".join([*lines, "COMMIT", ""]))
