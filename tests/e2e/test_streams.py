"""What kubectl streams through the API server, with every version of it: attach, exec, cp, port-forward, proxy.

1.27 speaks SPDY, 1.30 WebSockets for some of it, 1.33 for all.
"""

import contextlib
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running, deployment, eventually, kubectl_of

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("kubectl")]
VERSIONS = [v for v in ("1.27", "1.30", "1.33") if kubectl_of(v)] or ["any"]
ECHO = "while read line; do echo got $line; done"
BASE = "/api/v1/namespaces/default"


def pod(name: str, script: str, **container: Any) -> dict[str, Any]:
    made = {"name": "c", "image": "mk8s.local/host", "command": ["/bin/sh", "-c", script], "stdin": True, **container}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [made]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture(scope="module")
def running(two_nodes: Running) -> Iterator[Running]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    terminal = pod("terminal", ECHO, tty=True)
    two_nodes.apply(pod("echo", ECHO), terminal, deployment("web", 1), service)
    two_nodes.kubectl("wait", "--for=condition=Ready", "pod/echo", "pod/terminal", "--timeout=60s")
    two_nodes.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    yield two_nodes
    two_nodes.kubectl("delete", "pod/echo", "pod/terminal", "deployment/web", "service/web", "--wait=true")


@pytest.fixture(params=VERSIONS)
def binary(request: pytest.FixtureRequest) -> str:
    return kubectl_of(request.param) or "kubectl"


class Talk:
    """A kubectl under way, whose output can be waited for."""

    def __init__(self, cluster: Running, binary: str, *arguments: str) -> None:
        command = [binary, "--kubeconfig", str(cluster.home.kubeconfig), *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self.output = ""

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def hears(self, pattern: str) -> str:
        def found() -> str:
            assert self._process.stdout is not None
            self.output += (self._process.stdout.read() or b"").decode(errors="replace")
            match = re.search(pattern, self.output)
            return match[0] if match else ""

        try:
            return str(eventually(found, f"{pattern} of kubectl", 20.0, 0.05))
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.output!r}") from None

    def end(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


@contextlib.contextmanager
def talking(cluster: Running, binary: str, *arguments: str) -> Iterator[Talk]:
    talk = Talk(cluster, binary, *arguments)
    try:
        yield talk
    finally:
        talk.end()


def run(cluster: Running, binary: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [binary, "--kubeconfig", str(cluster.home.kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize("name", ["echo", "terminal"])
def test_attach_joins_a_container_that_runs(running: Running, binary: str, name: str) -> None:
    flags = ("-i",) if name == "echo" else ("-i", "--tty")
    with talking(running, binary, "attach", *flags, name) as talk:
        talk.say("one\n")
        talk.hears("got one")
        talk.say("two\n")
        talk.hears("got two")
    with talking(running, binary, "attach", *flags, name) as talk:
        talk.say("three\n")
        talk.hears("got three")  # the container has not noticed that somebody left


def test_exec_passes_streams_and_the_exit_code(running: Running, binary: str) -> None:
    done = run(running, binary, "exec", "echo", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "err\n" in done.stderr
    done = run(running, binary, "exec", "-i", "echo", "--", "cat", input="x" * 300_000)
    assert (done.returncode, len(done.stdout)) == (0, 300_000)


def test_cp_brings_a_file_there_and_back(running: Running, binary: str, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(2 << 20))
    for source, target in ((str(sent), "echo:/tmp/file"), ("echo:/tmp/file", str(back))):
        done = run(running, binary, "cp", source, target)
        assert done.returncode == 0, done.stderr
    assert back.read_bytes() == sent.read_bytes()


def test_port_forward_serves_several_connections(running: Running, binary: str) -> None:
    with talking(running, binary, "port-forward", "service/web", "0:80") as talk:
        address = talk.hears(r"127\.0\.0\.1:\d+")
        for _ in range(3):
            with urllib.request.urlopen(f"http://{address}/", timeout=10) as page:
                assert page.read().startswith(b"web-")


def test_proxy_and_raw_reach_what_runs_in_the_cluster(running: Running, binary: str) -> None:
    for path in (f"{BASE}/services/web:http/proxy/", f"{BASE}/services/http:web:80/proxy/"):
        done = run(running, binary, "get", "--raw", path)
        assert done.stdout.startswith("web-"), done.stderr
    done = run(running, binary, "get", "--raw", f"{BASE}/services/none:http/proxy/")
    assert done.stderr == 'Error from server (NotFound): endpoints "none" not found\n'
    assert run(running, binary, "get", "--raw", "/api/v1/nodes/node-2/proxy/healthz").stdout == "ok"
    with talking(running, binary, "proxy", "--port=0") as talk:
        address = talk.hears(r"127\.0\.0\.1:\d+")
        with urllib.request.urlopen(f"http://{address}{BASE}/services/web:http/proxy", timeout=10) as page:
            assert page.url.endswith("/services/web:http/proxy/")
            assert page.read().startswith(b"web-")


def test_no_component_was_refused_anything(running: Running) -> None:
    """All that ran on this cluster so far went through RBAC and the node authorizer, with nobody of ours a master."""
    for log in running.home.logs.glob("*.log"):
        refused = [
            line for line in log.read_text().splitlines() if "is forbidden: User" in line or "cannot get path" in line
        ]
        assert not refused, f"{log.name}: " + "\n".join(refused)
    assert "--authorization-mode=Node,RBAC" in running.record("apiserver-0").command
