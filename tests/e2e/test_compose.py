"""``docker-compose up`` brings a whole cluster up in containers, and it takes a manifest."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import ROOT, deployment, eventually

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.docker,
    pytest.mark.root,
    pytest.mark.binary("docker", "docker-compose", "debootstrap", "kubectl"),
]

PROJECT = "mk8stest"
PORT = 16443


def run(*command: str, stdin: str | None = None, check: bool = True, timeout: float = 300) -> str:
    environment = {**os.environ, "MK8S_API_PORT": str(PORT), "COMPOSE_PROJECT_NAME": PROJECT}
    done = subprocess.run(
        command, input=stdin, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


class Composed:
    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return run("kubectl", "--kubeconfig", str(self.kubeconfig), *arguments, stdin=stdin, check=check, timeout=90)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def available(self, name: str, replicas: int) -> bool:
        return self.get("deployment", name)["status"].get("availableReplicas", 0) == replicas


@pytest.fixture
def composed(tmp_path: Path, busybox_image: str) -> Iterator[Composed]:
    run("deploy/build-image.sh", timeout=900)
    try:
        run("docker-compose", "up", "-d")
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            run("docker-compose", "run", "--rm", "--no-deps", "-T", "pki", "cat", "/pki/kubeconfigs/admin")
        )
        yield Composed(kubeconfig)
        # The cluster's own way out: its pods are gone before the engine's containers of its components are.
        run("kubectl", "--kubeconfig", str(kubeconfig), "delete", "deployments", "--all", "--wait=true", check=False)
    finally:
        logs = run("docker-compose", "logs", "--no-color", "--tail", "20", check=False)
        run("docker-compose", "down", "--volumes", "--timeout", "3", check=False)
        run("deploy/compose-clean.sh", check=False)
        # pytest shows it only when the test failed.
        print(logs)


def test_a_manifest_runs_on_both_nodes_and_the_store_survives_the_loss_of_a_member(
    composed: Composed, busybox_image: str
) -> None:
    def nodes_ready() -> bool:
        nodes = composed.get("nodes")["items"]
        conditions = [c for n in nodes for c in n["status"]["conditions"] if c["type"] == "Ready"]
        return len(nodes) == 2 and all(c["status"] == "True" for c in conditions)

    eventually(nodes_ready, "both nodes are Ready", 90)

    def leader(lease: str) -> str:
        """The service that leads: a holder is named after its container's host name."""
        return str(composed.get("lease", lease, "-n", "kube-system")["spec"]["holderIdentity"].partition("_")[0])

    composed.kubectl("apply", "-f", "-", stdin=json.dumps(deployment("web", 4, busybox_image)))
    eventually(lambda: composed.available("web", 4), "four replicas are available", 120)
    pods = composed.get("pods", "-l", "app=web")["items"]
    assert {p["spec"]["nodeName"] for p in pods} == {"node-1", "node-2"}
    assert len({p["status"]["podIP"] for p in pods}) == 4

    run("docker-compose", "kill", "-s", "SIGKILL", "etcd-1")
    eventually(
        lambda: "created" in composed.kubectl("create", "configmap", "without-a-member", check=False),
        "a write with two of three members",
        30,
    )
    leaders = [leader("kube-controller-manager"), leader("kube-scheduler")]
    assert leaders[0].startswith("controllers-")
    assert leaders[1].startswith("scheduler-")
    run("docker-compose", "kill", "-s", "SIGKILL", *leaders)
    composed.kubectl("scale", "deployment/web", "--replicas=2")
    eventually(lambda: composed.available("web", 2), "the other scheduler and controller manager lead now", 60)


def test_the_compose_file_names_an_image_that_the_scripts_build() -> None:
    assert shutil.which("docker-compose")
    config = run("docker-compose", "config")
    assert "mk8s.local/minik8s" in config
    assert "mk8s.local/minik8s" in (ROOT / "deploy" / "build-image.sh").read_text()
