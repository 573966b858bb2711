import os
import signal
from pathlib import Path

import pytest

from kubelet.cri.api import DNSConfig, NamespaceMode, NotFound, PodSandboxMetadata, RuntimeServiceError, SandboxState
from tests.kubelet.cri.conftest import Node

pytestmark = pytest.mark.root


async def test_each_sandbox_has_an_address_of_the_nodes_range_and_they_reach_each_other(native: Node) -> None:
    one, two = await native.sandbox("one"), await native.sandbox("two")
    (first,) = (await native.runtime.pod_sandbox_status(one)).ips
    (second,) = (await native.runtime.pod_sandbox_status(two)).ips
    assert first != second
    assert {ip.rpartition(".")[0] for ip in (first, second)} == {"10.99.3"}
    await native.run(one, "", command=["python3", "-c", SERVER])
    assert await native.output(two, f"python3 -c '{CLIENT}' {first}") == f"from {second}"


SERVER = """
import socket
s = socket.create_server(("0.0.0.0", 80))
while True:
    c, peer = s.accept()
    c.sendall(("from " + peer[0]).encode())
    c.close()
"""
CLIENT = """
import socket, sys, time
for _ in range(200):
    try:
        print(socket.create_connection((sys.argv[1], 80), 2).recv(99).decode())
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
"""


async def test_containers_of_a_sandbox_share_network_ipc_and_hostname_but_not_processes(native: Node) -> None:
    sandbox = await native.sandbox("shared")
    await native.run(sandbox, "echo hi > /dev/shm/note; exec sleep 61", "one")
    two = await native.run(sandbox, "sleep 60", "two")
    assert (
        await native.shell(two, "while [ ! -s /dev/shm/note ]; do sleep 0.02; done; cat /dev/shm/note; hostname")
        == "hi\nshared"
    )
    assert "sleep 61" not in await native.shell(two, "ps -e -o args")


async def test_shared_processes_are_seen_by_all_and_orphans_are_reaped(native: Node) -> None:
    sandbox = await native.sandbox("procs", pid=NamespaceMode.POD)
    one = await native.run(sandbox, "exec sleep 61", "one")
    two = await native.run(sandbox, "(sleep 0.01 &) ; exec sleep 62", "two")
    listed = await native.shell(two, "ps -e -o args")
    assert "sleep infinity" in listed
    assert "sleep 61" in listed

    async def no_zombie() -> bool:
        return "Z" not in await native.shell(two, "ps -e -o stat= | cut -c1")

    await native.until(no_zombie, "the orphan to be reaped")
    await native.runtime.stop_container(one, 0.05)
    assert "sleep 61" not in await native.shell(two, "ps -e -o args | grep -v grep")


async def test_the_hosts_network_is_used_when_asked(native: Node) -> None:
    sandbox = await native.sandbox("host", network=NamespaceMode.NODE)
    assert (await native.runtime.pod_sandbox_status(sandbox)).ips == []
    said = await native.output(sandbox, "readlink /proc/self/ns/net; ls /sys/class/net")
    assert said.splitlines()[0] == os.readlink("/proc/thread-self/ns/net")
    assert "cbr0" in said


async def test_name_resolution_is_what_the_pod_asks_for(native: Node) -> None:
    dns = DNSConfig(["10.96.0.10"], ["default.svc.cluster.local", "cluster.local"], ["ndots:5"])
    sandbox = await native.sandbox("resolver", dns_config=dns)
    said = await native.output(sandbox, "cat /etc/resolv.conf; getent hosts resolver; cat /etc/hostname")
    lines = said.splitlines()
    assert lines[:3] == ["search default.svc.cluster.local cluster.local", "nameserver 10.96.0.10", "options ndots:5"]
    assert lines[3].split() == [(await native.runtime.pod_sandbox_status(sandbox)).ips[0], "resolver"]
    assert lines[4] == "resolver"


async def test_sysctls_are_set_in_the_pod_only(native: Node) -> None:
    sandbox = await native.sandbox("tuned", sysctls={"net.ipv4.ip_local_port_range": "20000 20100"})
    said = await native.output(sandbox, "cat /proc/sys/net/ipv4/ip_local_port_range")
    assert said.split() == ["20000", "20100"]
    assert Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split() != ["20000", "20100"]


async def test_a_stopped_sandbox_is_not_ready_gives_its_address_back_and_is_listed_until_removed(native: Node) -> None:
    sandbox = await native.sandbox("short")
    container = await native.run(sandbox, "sleep 60")
    await native.runtime.stop_pod_sandbox(sandbox)
    (listed,) = await native.runtime.list_pod_sandbox()
    assert listed.state is SandboxState.NOTREADY
    assert (listed.metadata, listed.labels) == (PodSandboxMetadata("short", "uid-short", "default"), {"pod": "short"})
    assert (await native.runtime.container_status(container)).exit_code == 137
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith("pod")]
    await native.runtime.remove_pod_sandbox(sandbox)
    with pytest.raises(NotFound):
        await native.runtime.pod_sandbox_status(sandbox)


async def test_a_sandbox_whose_pause_process_was_killed_is_not_ready_and_announced(native: Node) -> None:
    events = native.runtime.events()
    sandbox = await native.sandbox("fragile")
    pid = native.runtime._node.records.sandboxes[sandbox].pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    async for event in events:
        if event.type == "CONTAINER_STOPPED_EVENT":
            assert event.pod_sandbox_id == sandbox
            break
    assert (await native.runtime.pod_sandbox_status(sandbox)).state is SandboxState.NOTREADY


async def test_a_sandbox_that_cannot_be_made_leaves_nothing(native: Node) -> None:
    with pytest.raises(RuntimeServiceError, match="kernel/no_such"):
        await native.sandbox("broken", sysctls={"kernel.no_such": "1"})
    assert await native.runtime.list_pod_sandbox() == []
    assert os.listdir(Path(native.root_dir, "native", "sandboxes")) == []
