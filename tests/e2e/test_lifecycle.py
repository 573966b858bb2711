"""``up`` and ``down`` in every order and condition: each does the expected thing and says so."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.running import LAUNCHER, ROOT, Running, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.root]


class Machine:
    """What a cluster could leave behind, by kind. Other clusters of this machine may come and go meanwhile."""

    def __init__(self, cluster: Running) -> None:
        self._home = str(cluster.home.path)

    def traces(self, bridge: str) -> dict[str, list[str]]:
        def lines(*command: str) -> list[str]:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

        slot = bridge.removeprefix("mk8s")
        prefix = f"10.{64 + int(slot)}."
        processes = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    # By what a process was told and by where it writes: its title says neither.
                    files = [os.readlink(f.path) for f in os.scandir(folder / "fd")]
                except OSError:
                    continue
                if self._home in command or any(f.startswith(self._home) for f in files):
                    processes.append(f"{folder.name} {command}")
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self._home in line]
        found = {
            "links": [line for line in lines("ip", "-br", "link") if line.startswith(bridge)],
            "network namespaces": [line for line in lines("ip", "netns", "list") if line.startswith(f"{bridge}-")],
            "routes": [line for line in lines("ip", "route") if line.startswith(prefix)],
            "iptables rules": [line for line in lines("iptables-save") if f"MK8S-{slot} " in line or bridge in line],
            "processes": processes,
            "mounts": mounts,
        }
        return {kind: left for kind, left in found.items() if left}

    @staticmethod
    def cgroups() -> set[str]:
        """The cgroups of nodes, in every hierarchy."""
        return {str(path) for path in Path("/sys/fs/cgroup").glob("**/mk8s/*") if path.is_dir()}

    @staticmethod
    def pod_namespaces() -> set[str]:
        run = Path("/run/netns")
        return {p.name for p in run.iterdir()} if run.is_dir() else set()


def bridge_of(cluster: Running) -> str:
    from cluster.spec import Spec

    return Spec.load(cluster.home).bridge


def test_up_with_a_manifest_prints_an_url_that_answers_and_down_leaves_nothing(cluster: Running) -> None:
    cgroups, namespaces = Machine.cgroups(), Machine.pod_namespaces()
    said = cluster.up("-f", str(ROOT / "examples" / "01-hello.yaml")).stdout
    found = re.search(r"answers at (http://\S+)", said)
    assert found, said
    with urllib.request.urlopen(found[1], timeout=10) as page:
        assert b"Hello from hello-" in page.read()
    assert f"export KUBECONFIG={cluster.home.kubeconfig}" in said
    assert "mk8s down --name e2e" in said

    machine, bridge = Machine(cluster), bridge_of(cluster)
    traces = machine.traces(bridge)
    for kind in ("links", "network namespaces", "routes", "iptables rules", "processes"):
        assert traces.get(kind), f"a running cluster has {kind}; the test must be able to see them"
    own = Machine.cgroups() - cgroups
    assert own, "a running cluster has cgroups; the test must be able to see them"

    assert "its data are kept" in cluster.down().stdout
    assert machine.traces(bridge) == {}
    assert own & Machine.cgroups() == set()
    assert not [name for name in Machine.pod_namespaces() - namespaces if name.startswith(bridge)]

    assert "was not running" in cluster.down().stdout
    assert cluster.home.exists()
    assert "its data too" in cluster.down("--purge").stdout
    assert not cluster.home.path.exists()
    assert "nothing to do" in cluster.down().stdout


def test_up_again_says_so_and_adds_only_what_is_missing(cluster: Running) -> None:
    cluster.up()
    before = {row["name"]: row["pid"] for row in cluster.status()["processes"]}
    assert "already running" in cluster.up().stdout
    assert {row["name"]: row["pid"] for row in cluster.status()["processes"]} == before

    said = cluster.up("--nodes", "2").stdout
    assert "adding 1 node" in said
    after = {row["name"]: row["pid"] for row in cluster.status()["processes"]}
    assert before.items() <= after.items(), "what ran goes on running"
    assert set(after) - set(before) == {"kubelet-node-2", "proxy-node-2"}
    assert len(cluster.get("nodes")["items"]) == 2

    refused = cluster.up("--nodes", "1", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: cluster e2e has 2 nodes; up only adds")
    refused = cluster.up("--etcd", "3", check=False)
    assert refused.returncode == 1
    assert "--purge" in refused.stderr


def test_a_stopped_cluster_is_resumed_with_its_objects(cluster: Running) -> None:
    cluster.up()
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    uid = cluster.get("namespace", "default")["metadata"]["uid"]
    cluster.down()
    assert cluster.mk8s("status", "--name", cluster.name, check=False).returncode == 1
    assert "resuming" in cluster.up().stdout
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    assert cluster.get("namespace", "default")["metadata"]["uid"] == uid


def test_after_kill_9_of_everything_up_brings_all_objects_back(cluster: Running) -> None:
    cluster.up()
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    # The guard first: it would start a new supervisor half a second after the old one's death.
    for name in ("guard", "supervisor", "guard", *cluster.home.processes_recorded()):
        cluster.record(name).kill(signal.SIGKILL)
    eventually(
        lambda: not any(cluster.record(n).alive for n in cluster.home.processes_recorded()), "everything is dead", 10
    )
    assert cluster.mk8s("status", "--name", cluster.name, check=False).returncode == 1
    said = cluster.up().stdout
    assert "ended unexpectedly (stale pid files" in said
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    assert cluster.healthy()


def test_without_supervisor_and_guard_status_says_so_and_up_takes_over(cluster: Running) -> None:
    cluster.up()
    before = {row["name"]: row["pid"] for row in cluster.status()["processes"]}
    for name in ("guard", "supervisor", "guard"):
        cluster.record(name).kill(signal.SIGKILL)
    eventually(lambda: not cluster.record("supervisor").alive, "the supervisor is dead", 10)
    status = cluster.mk8s("status", "--name", cluster.name, check=False)
    assert status.returncode == 1
    assert "the supervisor is gone" in status.stderr
    assert "taking over" in cluster.up().stdout
    after = {row["name"]: row["pid"] for row in cluster.status()["processes"]}
    for name in before:
        if name not in ("supervisor", "guard"):
            assert after[name] == before[name], f"{name} was restarted though it lived"
    cluster.record("scheduler").kill(signal.SIGKILL)
    eventually(cluster.healthy, "the new supervisor restarts what falls")


def test_a_port_in_use_is_named_and_another_is_chosen_unless_asked_for(cluster: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        refused = cluster.up("--api-port", str(port), check=False)
        assert refused.returncode == 1
        assert re.match(rf"error: port {port} is in use by \S+ \(pid {os.getpid()}\)", refused.stderr)
        assert not cluster.home.path.exists(), "a refused up leaves nothing"
    cluster.up("--api-port", str(port))
    assert cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").endswith(
        f":{port}"
    )
    cluster.down()
    with socket.create_server(("127.0.0.1", port)):
        said = cluster.up().stdout
        assert f"port {port} is in use by" in said
        assert cluster.healthy()


def test_interrupting_up_tidies_up(cluster: Running) -> None:
    up = subprocess.Popen(
        [str(LAUNCHER), "up", "--name", cluster.name],
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs the suite in the background of a script has it ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    eventually(lambda: (cluster.home.run / "apiserver-0.pid").exists(), "the API server is being started", 30, 0.01)
    pids = [cluster.record(name).pid for name in cluster.home.processes_recorded()]
    os.killpg(up.pid, signal.SIGINT)
    said, _ = up.communicate(timeout=60)
    assert up.returncode == 130, said
    assert "interrupted" in said
    assert not cluster.home.path.exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_two_clusters_run_side_by_side(cluster: Running, another: Running) -> None:
    ups = [
        subprocess.Popen([str(LAUNCHER), "up", "--name", c.name], env=c.environment, stdout=subprocess.PIPE, text=True)
        for c in (cluster, another)
    ]
    for up in ups:
        said, _ = up.communicate(timeout=180)
        assert up.returncode == 0, said
    assert bridge_of(cluster) != bridge_of(another)
    cluster.kubectl("create", "configmap", "only-here")
    assert another.kubectl_run("get", "configmap", "only-here", check=False).returncode == 1
    cluster.down("--purge")
    assert another.healthy(), "one going down leaves the other alone"


def test_two_ups_of_one_cluster_at_once_make_one_cluster(cluster: Running) -> None:
    ups = [
        subprocess.Popen(
            [str(LAUNCHER), "up", "--name", cluster.name], env=cluster.environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [up.communicate(timeout=180)[0] for up in ups]
    assert [up.returncode for up in ups] == [0, 0], said
    assert sum("already running" in text for text in said) == 1
    assert cluster.healthy()


def test_a_home_that_cannot_be_written_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cluster = Running(blocked / "home", "e2e")
    refused = cluster.up(check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: cannot make")
    assert "MK8S_HOME" in refused.stderr


def test_status_ends_with_1_as_soon_as_something_is_unwell(cluster: Running) -> None:
    cluster.up()
    assert cluster.mk8s("status", "--name", cluster.name).returncode == 0
    os.kill(cluster.record("scheduler").pid, signal.SIGSTOP)
    try:
        status = cluster.mk8s("status", "--name", cluster.name, check=False)
        assert status.returncode == 1
        row = next(line for line in status.stdout.splitlines() if line.startswith("scheduler"))
        assert "no answer" in row
    finally:
        os.kill(cluster.record("scheduler").pid, signal.SIGCONT)
    time.sleep(0)
    eventually(cluster.healthy, "a process that goes on is well again", 30)
