"""What survives: the kubelet's death, a monitor's, the spawner's, a reboot; and that purge leaves nothing."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubelet.cri import connect
from kubelet.cri.api import ContainerState, SandboxState
from kubelet.cri.native.node import state_directory
from kubelet.cri.native.purge import marked_processes
from kubelet.cri.native.shim.processes import start_time
from tests.kubelet.cri.conftest import SECONDS, Node

pytestmark = pytest.mark.root


async def next_kubelet(node: Node) -> Node:
    """As after kill -9: a new runtime on the same directory, while nobody closed the old one."""
    old = node.runtime
    runtime, images = connect("native://", node_name="node-1", root_dir=node.root_dir, pod_cidr="10.99.3.0/24")
    await old.close()
    await runtime.start()
    node.runtime, node.images = runtime, images
    return node


async def test_containers_outlive_a_kubelet_that_is_killed(native: Node, tmp_path: Path) -> None:
    """A kubelet in a process of its own starts a pod and is killed with SIGKILL; ours takes the pod over."""
    script = f"""
import asyncio, os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from kubelet.cri import connect
from kubelet.cri.native.shim.processes import start_time
from tests.kubelet.cri.conftest import Node
async def main():
    runtime, images = connect("native://", node_name="node-1", root_dir={native.root_dir!r}, pod_cidr="10.99.3.0/24")
    await runtime.start()
    node = Node(runtime, images, {native.root_dir!r}, Path({str(native.logs)!r}))
    sandbox = await node.sandbox("survivor")
    await node.run(sandbox, "i=0; while [ ! -e /end ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 6", "counter")
    await node.run(sandbox, "while [ ! -e /end ]; do sleep 0.01; done; exit 7", "away")
    print("ready", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    pipe = asyncio.subprocess.PIPE
    kubelet = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=pipe, stdout=pipe)
    assert kubelet.stdout is not None
    assert await kubelet.stdout.readline() == b"ready\n"
    await kubelet.communicate(b"die\n")
    assert kubelet.returncode == -signal.SIGKILL

    await next_kubelet(native)
    (sandbox,) = await native.runtime.list_pod_sandbox()
    assert (sandbox.state, sandbox.metadata.name) == (SandboxState.READY, "survivor")
    containers = {c.metadata.name: c for c in await native.runtime.list_containers()}
    assert {c.state for c in containers.values()} == {ContainerState.RUNNING}
    counter = containers["counter"].id
    before = await native.runtime.container_status(counter)
    assert await native.shell(counter, "echo still here") == "still here"

    # It ends while no kubelet is there, and the next one knows how.
    away = containers["away"].id
    pid = native.runtime._node.records.containers[away].pid  # type: ignore[attr-defined]
    await native.shell(away, "true")
    await native.runtime.close()
    Path(f"/proc/{pid}/root/end").touch()

    async def finished() -> bool:
        return Path(native.root_dir, "native", "containers", away, "exit").exists()

    await native.until(finished, "the container to end while no kubelet is there")
    runtime, _images = connect("native://", node_name="node-1", root_dir=native.root_dir, pod_cidr="10.99.3.0/24")
    native.runtime = runtime
    await runtime.start()
    assert (await runtime.container_status(away)).exit_code == 7
    after = await runtime.container_status(counter)
    assert (after.state, after.started_at) == (ContainerState.RUNNING, before.started_at)
    await native.let_it_end(counter, "touch /end")
    assert (await native.ended(counter)).exit_code == 6
    numbers = [int(line.split(" ", 3)[3]) for line in Path(after.log_path).read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_killed_monitor_takes_its_container_along_and_that_is_reported(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    pid = native.runtime._node.records.containers[container].pid  # type: ignore[attr-defined]
    monitor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    status = await native.ended(container)
    assert (status.exit_code, status.reason) == (137, "Error")
    assert "shim ended" in status.message

    async def gone() -> bool:
        return start_time(pid) == 0

    await native.until(gone, "the container's process to be gone")


async def test_a_killed_spawner_is_replaced(native: Node) -> None:
    sandbox = await native.sandbox()
    first = await native.run(sandbox, "sleep 60", "first")
    os.kill(native.runtime._node.spawner._pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert await native.output(sandbox, "echo works", "second") == "works"
    assert (await native.runtime.container_status(first)).state is ContainerState.RUNNING


async def test_after_a_reboot_everything_has_ended_and_addresses_are_free(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "sleep 60")
    await native.runtime.close()
    for pid in marked_processes(state_directory(native.root_dir)):
        os.kill(pid, signal.SIGKILL)

    async def dead() -> bool:
        return not marked_processes(state_directory(native.root_dir))

    await native.until(dead, "the node's processes to be gone")
    runtime, _images = connect("native://", node_name="node-1", root_dir=native.root_dir, pod_cidr="10.99.3.0/24")
    native.runtime = runtime
    await runtime.start()
    assert (await runtime.pod_sandbox_status(sandbox)).state is SandboxState.NOTREADY
    status = await runtime.container_status(container)
    assert (status.state, status.exit_code) == (ContainerState.EXITED, 137)
    assert runtime._node.network._ipam.owners() == {}  # type: ignore[attr-defined]
    await runtime.remove_pod_sandbox(sandbox)
    assert await native.output(await native.sandbox("next"), "echo works") == "works"


async def test_half_written_records_are_swept_up(native: Node) -> None:
    for kind in ("sandboxes", "containers"):
        Path(native.root_dir, "native", kind, "torn").mkdir()
    Path(native.root_dir, "native", "containers", "torn", "container.json").write_text('{"id": "to')
    await next_kubelet(native)
    assert await native.runtime.list_containers() == []
    assert not Path(native.root_dir, "native", "containers", "torn").exists()


async def test_purge_removes_a_running_node_as_a_command(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "trap '' TERM; sleep 60; sleep 60")
    pid = native.runtime._node.records.containers[container].pid  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "kubelet.cri.native", "--root-dir", native.root_dir, "--purge"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=SECONDS, cwd=Path(__file__).parents[3]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert start_time(pid) == 0
    assert not os.path.exists(state_directory(native.root_dir))
    found = [base for base, names, _ in os.walk("/sys/fs/cgroup") for name in names if name == container]
    assert found == []


async def test_the_small_processes_stay_small(native: Node) -> None:
    """Private memory of a monitor: what each further container costs (a bound, not a measurement)."""
    container = await native.run(await native.sandbox(), "sleep 60")
    pid = native.runtime._node.records.containers[container].pid  # type: ignore[attr-defined]
    monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    rollup = Path(f"/proc/{monitor}/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    assert private < 4096


async def test_purge_finds_a_pause_process_that_hides_its_environment(
    native: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of another user namespace does: the records name it as well."""
    from kubelet.cri.native import purge as purging

    sandbox = await native.sandbox()
    pid = native.runtime._node.records.sandboxes[sandbox].pid  # type: ignore[attr-defined]
    monkeypatch.setattr(purging, "marked_processes", lambda _state_dir: [])
    assert purging.recorded_processes(state_directory(native.root_dir)) == [pid]
    await asyncio.to_thread(purging.purge, native.root_dir)
    assert start_time(pid) == 0
