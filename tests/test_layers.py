"""The picture in docs/architecture.md of who may import whom, held by import-linter (contracts in pyproject.toml)."""

import subprocess
import sys

from tests.conftest import REPOSITORY


def test_every_package_imports_only_what_lies_below_it() -> None:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
