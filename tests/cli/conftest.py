import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.harness import REPOSITORY, ApiServer, Pki, Store

#: What a controller, a scheduler and a kubelet would have written: a test of the CLI plays all three.
POD_STATUS: dict[str, Any] = {
    "phase": "Running",
    "podIP": "10.1.0.7",
    "podIPs": [{"ip": "10.1.0.7"}],
    "hostIP": "10.0.0.2",
    "startTime": "2026-01-02T03:04:05Z",
    "qosClass": "Burstable",
    "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
    "containerStatuses": [
        {
            "name": "web",
            "image": "nginx:1.27",
            "imageID": "sha256:1",
            "containerID": "native://1",
            "ready": True,
            "started": True,
            "restartCount": 2,
            "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}},
            "lastState": {
                "terminated": {
                    "exitCode": 3,
                    "reason": "Error",
                    "startedAt": "2026-01-02T03:04:01Z",
                    "finishedAt": "2026-01-02T03:04:02Z",
                }
            },
        }
    ],
}


def _kubectl() -> str:
    """The version that this project speaks for: ``kubectl.1.33`` beside the machine's kubectl, else that one."""
    found = shutil.which("kubectl") or "kubectl"
    versioned = Path(os.path.realpath(found)).with_name("kubectl.1.33")
    return str(versioned) if versioned.exists() else found


KUBECTL = _kubectl()


@dataclass
class Commands:
    """``mk8s`` and the real kubectl against one server."""

    server: ApiServer

    def run(self, program: list[str], *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        env = {**os.environ, "KUBECONFIG": str(self.server.kubeconfig), "PYTHONPATH": str(REPOSITORY), "TZ": "UTC"}
        return subprocess.run([*program, *words], input=stdin, capture_output=True, text=True, env=env, timeout=60)

    def mk8s(self, *words: str, stdin: str = "", ok: bool = True) -> str:
        """What it prints; its error output when it is to fail (``ok=False``), which must be with exit code 1."""
        done = self.run([sys.executable, "-m", "cli"], *words, stdin=stdin)
        assert done.returncode == (0 if ok else 1), f"mk8s {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if ok else done.stderr

    def kubectl(self, *words: str, stdin: str = "") -> str:
        done = self.run([KUBECTL], *words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {words}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> str:
        return self.mk8s("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder: Path = tmp_path_factory.mktemp("cli")
    store = Store(folder / "store", "etcd_raft")
    # No controller makes the default service account here, so its admission would refuse every pod.
    server = ApiServer(folder, store, Pki(folder / "pki"), "--disable-admission-plugins=ServiceAccount")
    try:
        store.start()
        server.start()
        yield Commands(server)
    finally:
        server.stop()
        store.stop()
