"""``kubectl apply --server-side`` and its kin with real kubectls: the oldest, a middle one and the newest that we promise."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.conftest import http_client
from tests.apiserver.harness import TOKEN, ApiServer

# What kubectl sees does not depend on the store.
pytestmark = [
    pytest.mark.binary("kubectl"),
    pytest.mark.parametrize("server", ["etcd_raft"], indirect=True, scope="session"),
]
Object = dict[str, Any]
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: "nginx:{version}"}}
"""


def binaries() -> list[str]:
    found = shutil.which("kubectl")
    if found is None:
        return []
    folder = Path(found).resolve().parent
    versions = [folder / f"kubectl.1.{minor}" for minor in (27, 30, 33)]
    return [str(v) for v in versions if v.exists()] or [found]


class Shell:
    """kubectl in a namespace of its own."""

    def __init__(self, binary: str, server: ApiServer, folder: Path, namespace: str) -> None:
        self.binary, self.server, self.folder, self.namespace = binary, server, folder, namespace

    def __call__(self, *args: str, stdin: str = "", code: int = 0) -> str:
        """Both streams, one after the other."""
        command = [
            self.binary, "--kubeconfig", str(self.server.kubeconfig), f"--cache-dir={self.folder}",
            "-n", self.namespace, *args,
        ]  # fmt: skip
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def live(self) -> Object:
        found: Object = json.loads(self("get", "deployment", "web", "-o", "json", "--show-managed-fields"))
        return found


@pytest.fixture(params=binaries() or ["kubectl"], ids=lambda path: Path(path).name)
async def kubectl(request: pytest.FixtureRequest, server: ApiServer, tmp_path: Path) -> Shell:
    name = f"apply-{Path(request.param).name.replace('.', '-')}-{request.node.originalname.replace('_', '-')}"[
        :60
    ].strip("-")
    async with http_client(server, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        answer = await client.post("/api/v1/namespaces", json={"metadata": {"name": name}})
        assert answer.status_code == 201, answer.text
    return Shell(request.param, server, tmp_path, name)


def owners(obj: Object) -> dict[str, str]:
    return {e["manager"]: e["operation"] for e in obj["metadata"].get("managedFields", ())}


def test_server_side_apply(kubectl: Shell) -> None:
    first, second = MANIFEST.format(replicas=2, version=1), MANIFEST.format(replicas=3, version=1)
    ssa = ("apply", "--server-side", "-f", "-")
    assert kubectl(*ssa, "--dry-run=server", stdin=first) == "deployment.apps/web serverside-applied (server dry run)\n"
    assert kubectl(*ssa, stdin=first) == "deployment.apps/web serverside-applied\n"
    created = kubectl.live()
    assert owners(created) == {"kubectl": "Apply"}
    assert kubectl(*ssa, stdin=first) == "deployment.apps/web serverside-applied\n"
    assert kubectl.live() == created
    assert "managedFields" not in kubectl("get", "deployment", "web", "-o", "yaml")

    difference = kubectl("diff", "--server-side", "-f", "-", stdin=second, code=1)
    assert "-  replicas: 2" in difference
    assert "+  replicas: 3" in difference
    assert kubectl(*ssa, "--dry-run=server", stdin=second).endswith("(server dry run)\n")
    assert kubectl.live() == created

    kubectl("scale", "deployment", "web", "--replicas=5")
    conflict = kubectl(*ssa, stdin=second, code=1)
    assert 'error: Apply failed with 1 conflict: conflict with "' in conflict
    assert 'with subresource "scale" using apps/v1: .spec.replicas' in conflict
    assert "re-run the apply\n  command with the `--force-conflicts` flag" in conflict
    kubectl(*ssa, "--force-conflicts", stdin=second)
    assert kubectl.live()["spec"]["replicas"] == 3

    other = kubectl(*ssa, "--field-manager=robot", stdin=MANIFEST.format(replicas=3, version=2), code=1)
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="web"].image' in other
    kubectl(*ssa, "--field-manager=robot", stdin=second)
    assert owners(kubectl.live()) == {"kubectl": "Apply", "robot": "Apply"}
    wrong = kubectl(*ssa, stdin=second.replace("replicas", "replicaz"), code=1)
    assert ".spec.replicaz: field not declared in schema" in wrong


def test_what_is_created_with_its_configuration_is_applied_from_there(kubectl: Shell) -> None:
    first = MANIFEST.format(replicas=2, version=1)
    kubectl("create", "--save-config", "-f", "-", stdin=first)
    assert owners(kubectl.live()) == {"kubectl-create": "Update"}
    assert json.loads(kubectl("apply", "view-last-applied", "deployment", "web", "-o", "json"))["spec"]["replicas"] == 2
    assert kubectl("apply", "-f", "-", stdin=first) == "deployment.apps/web unchanged\n"
    assert kubectl("diff", "-f", "-", stdin=first) == ""


def test_client_side_apply_turns_into_server_side_apply_and_back(kubectl: Shell) -> None:
    first, second = MANIFEST.format(replicas=2, version=1), MANIFEST.format(replicas=2, version=2)
    kubectl("apply", "-f", "-", stdin=first)
    assert "nginx:2" in kubectl("diff", "-f", "-", stdin=second, code=1)
    assert kubectl("apply", "-f", "-", stdin=second) == "deployment.apps/web configured\n"
    assert owners(kubectl.live())["kubectl-client-side-apply"] == "Update"

    # Up: kubectl does not conflict with what it had set itself, and a field that it drops goes away.
    dropped = MANIFEST.format(replicas=2, version=3).replace("  replicas: 2\n", "")
    assert kubectl("apply", "--server-side", "-f", "-", stdin=second) == "deployment.apps/web serverside-applied\n"
    upgraded = kubectl.live()
    assert owners(upgraded)["kubectl"] == "Apply"
    assert "kubectl-client-side-apply" not in owners(upgraded)
    kubectl("apply", "--server-side", "-f", "-", stdin=dropped)
    assert kubectl.live()["spec"]["replicas"] == 1, "the default again"
    assert "nginx:3" in kubectl("apply", "view-last-applied", "deployment", "web")

    # And down again.
    assert kubectl("apply", "-f", "-", stdin=second) == "deployment.apps/web configured\n"
    assert kubectl.live()["spec"]["replicas"] == 2
