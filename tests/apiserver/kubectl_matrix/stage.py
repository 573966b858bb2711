"""The cluster that one version of kubectl meets, and the playing of a transcript on it."""

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.apiserver.harness import ApiServer, Pki, Process, Store, eventually
from tests.apiserver.kubectl_matrix.transcript import Command, Transcript, mask

MANIFESTS = Path(__file__).parent / "manifests"
PATIENCE = 20.0


def binary(version: str) -> Path | None:
    """``kubectl.1.30`` beside the kubectl on the path."""
    found = shutil.which("kubectl")
    beside = Path(found).resolve().parent / f"kubectl.{version}" if found else None
    return beside if beside and beside.exists() else None


class Stage:
    """Store, API server, controller manager and two hollow nodes, for one version of kubectl."""

    def __init__(self, folder: Path, version: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.version = folder, version
        self._store = Store(folder / "store", "etcd_raft")
        self._server = ApiServer(folder, self._store, Pki(folder / "pki"), "--authorization-mode=Node,RBAC")
        self._others: list[Process] = []
        found = binary(version)
        assert found is not None, f"no kubectl {version} here"
        self._kubectl = folder / "bin" / "kubectl"
        self._kubectl.parent.mkdir()
        self._kubectl.symlink_to(found)

    def start(self) -> None:
        self._store.start()
        self._server.start()
        config = self._server.write_kubeconfig(
            self.folder / "manager.kubeconfig", "controllers", "system:kube-controller-manager", ["system:masters"]
        )
        manager = [
            sys.executable,
            "-m",
            "controllers",
            f"--kubeconfig={config}",
            "--secure-port=0",
            "--leader-elect=false",
        ]
        self._others.append(Process("manager", [*manager, "--cluster-cidr=10.244.0.0/16"], self.folder))
        nodes = [sys.executable, "-m", "tests.controllers.hollow", str(self._server.kubeconfig)]
        self._others.append(Process("nodes", nodes, self.folder))
        eventually("two nodes with a pod network", self._nodes_are_there, 20)

    def _nodes_are_there(self) -> bool:
        shown = self._run("kubectl get nodes -o jsonpath={.items[*].spec.podCIDR}", self._server.kubeconfig)
        return len(shown.split()) == 2

    def stop(self) -> None:
        for process in self._others:
            process.stop()
        self._server.stop()
        self._store.stop()

    def play(self, transcript: Transcript, *, writing: bool = False) -> list[Command]:
        """The commands of this version with what they printed now."""
        home = self.folder / transcript.name
        shutil.copytree(MANIFESTS, home)
        for file, source in zip(("tls.crt", "tls.key"), self._server.pki.issue("web", "web", server=True), strict=True):
            shutil.copy(source, home / file)
        document = json.loads(self._server.kubeconfig.read_text())
        document["contexts"][0]["context"]["namespace"] = transcript.name
        config = home / ".kubeconfig"
        config.write_text(json.dumps(document))
        self._run(f"kubectl create namespace {transcript.name}", config)
        made = "kubectl get serviceaccount/default configmap/kube-root-ca.crt -o name"
        eventually("what every namespace has", lambda: "exit" not in self._run(made, config), PATIENCE)
        played = []
        for command in transcript.for_version(self.version):
            output = mask(self._run(command.line, config))
            deadline = changed = time.monotonic()
            deadline += PATIENCE
            while command.until and output != command.output and time.monotonic() < deadline:
                if writing and time.monotonic() > changed + 3:
                    break  # nothing is expected yet; it has stopped to change
                time.sleep(0.05)
                before, output = output, mask(self._run(command.line, config))
                if output != before:
                    changed = time.monotonic()
            played.append(dataclasses.replace(command, output=output))
        self._run(f"kubectl delete namespace {transcript.name} --timeout=20s", config)
        return played

    def _run(self, line: str, config: Path) -> str:
        words = shlex.split(line)
        given = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            given[name] = value
        assert words[0] == "kubectl", line
        scratch = self.folder / "scratch"  # kubectl leaves what could not be saved after an edit
        scratch.mkdir(exist_ok=True)
        environment = {
            "TMPDIR": str(scratch),
            "KUBECONFIG": str(config), "KUBECACHEDIR": str(self.folder / "cache"), "HOME": str(self.folder),
            "PATH": f"{self._kubectl.parent}:{os.environ['PATH']}", "TZ": "UTC", "LC_ALL": "C", **given,
        }  # fmt: skip
        try:
            done = subprocess.run(
                [str(self._kubectl), *words[1:]], cwd=config.parent, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired as e:
            return (e.stdout or b"").decode() + f"[no end within {PATIENCE} s]\n"
        return done.stdout + (f"[exit {done.returncode}]\n" if done.returncode else "")
