"""The bridge and the nodes' namespaces, made for real in a network namespace of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ClusterError, network
from cluster.spec import Spec

pytestmark = [pytest.mark.root, pytest.mark.binary("ip", "iptables-restore", "busybox")]

OWNER = "/tmp/a-test-cluster"


def ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check).stdout


def inside(spec: Spec, node: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", "netns", "exec", spec.namespace(node), *command], capture_output=True, text=True, check=False, timeout=20
    )


@pytest.fixture
def spec() -> Iterator[Spec]:
    """Of a cluster on the last subnet, so that it meets nobody's."""
    [slot] = network.free_slots(set(), OWNER)[-1:]
    made = Spec(f"t{os.getpid()}", nodes=2, slot=slot)
    yield made
    network.remove(made, OWNER)


def snapshot(spec: Spec) -> list[str]:
    """Every trace of this cluster: names of links and namespaces, routes, rules and chains."""
    links = [line.split("@")[0].split()[0] for line in ip("-br", "link").splitlines()]
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout.splitlines()
    everything = [*links, *ip("netns", "list").splitlines(), *ip("route").splitlines(), *rules]
    marks = (spec.bridge, f"MK8S-{spec.slot} ", f"10.{64 + spec.slot}.")
    # Packet counters of chains and the state of a link change by themselves.
    return [line.split("[")[0].replace(" linkdown", "") for line in everything if any(mark in line for mark in marks)]


def test_nodes_reach_each_other_and_the_host_and_removal_leaves_nothing(spec: Spec) -> None:
    assert snapshot(spec) == []
    network.ensure(spec, OWNER)
    for node in spec.node_names:
        for target in ("127.0.0.1", spec.host_address, *(spec.node_address(n) for n in spec.node_names)):
            answer = inside(spec, node, "busybox", "ping", "-c", "1", "-W", "2", target)
            assert answer.returncode == 0, f"{node} does not reach {target}: {answer.stdout}{answer.stderr}"
    assert network.remove(spec, OWNER) == []
    assert snapshot(spec) == []


def test_making_it_again_changes_nothing(spec: Spec) -> None:
    network.ensure(spec, OWNER)
    first = snapshot(spec)
    assert first
    network.ensure(spec, OWNER)
    assert snapshot(spec) == first


def test_a_lost_cable_or_namespace_is_made_again(spec: Spec) -> None:
    network.ensure(spec, OWNER)
    ip("link", "del", spec.link("node-1"))
    ip("netns", "del", spec.namespace("node-2"))
    network.ensure(spec, OWNER)
    for node in spec.node_names:
        assert inside(spec, node, "busybox", "ping", "-c", "1", "-W", "2", spec.host_address).returncode == 0


def test_a_subnet_with_another_owner_is_refused_and_left_alone(spec: Spec) -> None:
    network.ensure(spec, OWNER)
    with pytest.raises(ClusterError, match="in use by the cluster in /tmp/a-test-cluster"):
        network.ensure(spec, "/tmp/another")
    assert spec.slot not in network.free_slots(set(), "/tmp/another")
    assert spec.slot in network.free_slots(set(), OWNER)
    network.remove(spec, "/tmp/another")
    assert spec.bridge in ip("-br", "link")


def test_routes_to_pods_follow_the_nodes(spec: Spec) -> None:
    network.ensure(spec, OWNER)
    prefix = spec.cluster_cidr.rsplit(".", 2)[0]

    def node(name: str, number: int) -> dict[str, object]:
        return {
            "metadata": {"name": name},
            "spec": {"podCIDR": f"{prefix}.{number}.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": spec.node_address(name)}]},
        }

    def routes() -> set[tuple[str, str]]:
        lines = [line.split() for line in ip("route", "show", "dev", spec.bridge).splitlines()]
        return {(words[0], words[2]) for words in lines if words[1] == "via"}

    first, second = spec.node_address("node-1"), spec.node_address("node-2")
    network.sync_routes(spec, [node("node-1", 128), node("node-2", 129)])
    assert routes() == {(f"{prefix}.128.0/24", first), (f"{prefix}.129.0/24", second)}
    network.sync_routes(spec, [node("node-2", 128)])
    assert routes() == {(f"{prefix}.128.0/24", second)}


def test_a_process_is_started_inside_its_node(spec: Spec) -> None:
    network.ensure(spec, OWNER)
    code = f"from cluster.zygote import enter_network; enter_network({spec.namespace('node-1')!r}); import os; os.system('ip -br addr')"
    root = str(Path(__file__).parents[2])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert spec.node_address("node-1") in shown
    assert spec.bridge not in shown
