"""The black-box acceptance test passes, with the oldest and the newest kubectl, with either runtime."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import acceptance_script
from tests.e2e.running import Running, kubectl_of

SCRIPT = acceptance_script()
pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("kubectl")]


def run_acceptance(cluster: Running, script: Path, kubectl: str, *flags: str) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--kubectl", kubectl, *flags],
        env={**cluster.environment, "KUBECONFIG": str(cluster.home.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "10 passed, 0 failed" in done.stdout, done.stdout + done.stderr


# The script is not part of this repository: without it there is nothing to run here, and the header of the report says so.
if SCRIPT:
    VERSIONS = [v for v in ("1.27", "1.33") if kubectl_of(v)] or ["any"]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_native_runtime(two_nodes: Running, version: str) -> None:
        run_acceptance(two_nodes, SCRIPT, kubectl_of(version) or two_nodes.kubectl_binary)

    @pytest.mark.docker
    def test_docker_runtime(cluster: Running, busybox_image: str) -> None:
        cluster.up("--nodes", "2", "--runtime", "docker")
        run_acceptance(cluster, SCRIPT, cluster.kubectl_binary, "--image", busybox_image)
