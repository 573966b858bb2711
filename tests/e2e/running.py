"""A real cluster for a test: started by ``./mk8s up`` in a home of its own, seen through an unmodified kubectl."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster import pidfile
from cluster.home import Home

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "mk8s"


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60.0, pause: float = 0.1) -> Any:
    """The condition's first true answer; an exception of kubectl counts as not yet."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            found = condition()
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired, KeyError, IndexError, OSError) as error:
            last = getattr(error, "stderr", None) or error
        else:
            if found:
                return found
            last = found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:g} s: {what} (last: {str(last)[:500]})")


def kubectl_of(version: str) -> str | None:
    """``kubectl.1.33`` beside the kubectl of this machine, or that one when it has the version."""
    found = shutil.which("kubectl")
    if found is None:
        return None
    beside = Path(os.path.realpath(found)).parent / f"kubectl.{version}"
    if beside.exists():
        return str(beside)
    said = subprocess.run([found, "version", "--client", "-o", "json"], capture_output=True, text=True, check=False)
    try:
        git_version = json.loads(said.stdout)["clientVersion"]["gitVersion"]
    except (ValueError, KeyError):
        return None
    return found if git_version.startswith(f"v{version}.") else None


class Running:
    """``up`` may be called again; ``down`` is what the fixture does at the end. ``prefix`` goes before every ``mk8s``."""

    def __init__(self, parent: Path, name: str, prefix: tuple[str, ...] = ()) -> None:
        self.parent, self.name, self.prefix = parent, name, prefix
        self.home = Home(name, parent)
        self.kubectl_binary = kubectl_of("1.33") or shutil.which("kubectl") or "kubectl"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "PYTHONPATH")}
        return {**inherited, "MK8S_HOME": str(self.parent)}

    def mk8s(self, *arguments: str, check: bool = True, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.prefix, str(LAUNCHER), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(
                f"mk8s {' '.join(arguments)} exited with {done.returncode}\n{done.stdout}{done.stderr}\n{self.logs()}"
            )
        return done

    def up(self, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.mk8s("up", "--name", self.name, *flags, check=check)

    def down(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return self.mk8s("down", "--name", self.name, *flags)

    def status(self) -> dict[str, Any]:
        return json.loads(self.mk8s("status", "--name", self.name, "-o", "json", check=False).stdout)

    def healthy(self) -> bool:
        return bool(self.status()["healthy"])

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60) -> str:
        return self.kubectl_run(*arguments, stdin=stdin, check=check, timeout=timeout).stdout

    def kubectl_run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.kubectl_binary, "--kubeconfig", str(self.home.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> str:
        return self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def record(self, process: str) -> pidfile.Record:
        record = pidfile.load(self.home.run / f"{process}.pid")
        assert record is not None, f"{process} has no pid file"
        return record

    def logs(self, lines: int = 15) -> str:
        """The end of every log, for the report of a failed test."""
        parts = []
        for log in sorted(self.home.logs.glob("*.log")) if self.home.logs.is_dir() else []:
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {log.name}", *tail]))
        return "\n".join(parts)


def deployment(name: str, replicas: int = 2, image: str = "mk8s.local/host", **environment: str) -> dict[str, Any]:
    """Answers every request with its pod's name on port 8080."""
    serve = (
        "mkdir -p /tmp/www; cd /tmp/www; hostname > index.html; "
        "if command -v python3 >/dev/null; then exec python3 -m http.server 8080; fi; "
        "exec busybox httpd -f -p 8080 -h /tmp/www"
    )
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", serve],
        "env": [{"name": k, "value": v} for k, v in environment.items()],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def node_port_service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
