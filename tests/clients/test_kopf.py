"""A kopf operator works unmodified: handlers, finalizers, fields, timers, events, resuming after a restart."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import ROOT, Running, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("kubectl")]


class Operator:
    """``kopf run`` on one namespace, its output in a file."""

    def __init__(self, cluster: Running, namespace: str, log: Path) -> None:
        self.log = log
        script = Path(__file__).parent / "operator_of_settings.py"
        command = [sys.executable, "-m", "kopf", "run", "--standalone", "--verbose", "-n", namespace, str(script)]
        environment = {**os.environ, "KUBECONFIG": str(cluster.home.kubeconfig), "PYTHONPATH": str(ROOT)}
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()


@pytest.fixture
def operator(cluster: Running, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    made = Operator(cluster, namespace, tmp_path / "operator.log")
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        print(made.log.read_text())


def settings(replicas: str) -> dict[str, Any]:
    meta = {"name": "web", "labels": {"operator": "settings"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"replicas": replicas}}


def test_an_operator_reconciles_built_in_kinds(
    cluster: Running, namespace: str, operator: Operator, tmp_path: Path
) -> None:
    def get(*what: str) -> Any:
        return cluster.get("-n", namespace, *what)

    def said(key: str) -> Any:
        return get("configmap", "web")["metadata"]["annotations"].get(f"tests.mk8s/{key}")

    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=str(settings("1")).replace("'", '"'))
    eventually(lambda: said("made") == "web", "the ConfigMap is handled", 30)
    made = get("deployment", "web")
    assert made["metadata"]["ownerReferences"][0]["kind"] == "ConfigMap"
    eventually(
        lambda: get("deployment", "web")["metadata"]["annotations"]["tests.mk8s/ready"] == "1", "a field is told", 30
    )
    assert "tests.mk8s/settings" in get("configmap", "web")["metadata"]["finalizers"]
    eventually(lambda: said("beat") == "yes", "the timer ran", 20)
    eventually(lambda: "Made" in [e["reason"] for e in get("events")["items"]], "the operator's event is posted", 20)

    cluster.kubectl("patch", "-n", namespace, "configmap", "web", "-p", '{"data":{"replicas":"2"}}')
    eventually(lambda: said("changed") == "1 to 2", "the change is handled", 20)
    eventually(lambda: get("deployment", "web")["spec"]["replicas"] == 2, "the Deployment is scaled", 20)

    assert operator.stop() == 0, "it ends when asked to"
    again = Operator(cluster, namespace, tmp_path / "again.log")
    try:
        eventually(lambda: said("resumed") == "yes", f"it resumes:\n{again.log.read_text()}", 30)
        cluster.kubectl("delete", "-n", namespace, "configmap", "web", "--timeout=30s", timeout=60)
        assert get("configmap", "web-is-gone")
        eventually(lambda: not get("deployments")["items"], "the Deployment went with its owner", 30)
    finally:
        again.process.kill()
        again.process.wait()
