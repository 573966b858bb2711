"""Clusters for the end-to-end tests; when one of these tests fails, the logs of the cluster's processes follow its report."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, Running


def acceptance_script() -> Path | None:
    """The black-box acceptance test: ``$MK8S_SMOKE``, or ``../shared/acceptance/smoke.py`` seen from this clone or its origin."""
    if os.environ.get("MK8S_SMOKE"):
        return Path(os.environ["MK8S_SMOKE"])
    asked = ["git", "-C", str(ROOT), "config", "--get", "remote.origin.url"]
    origin = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().removeprefix("file://")
    for clone in (ROOT, *([Path(origin)] if origin.startswith("/") else [])):
        beside = clone.parent / "shared" / "acceptance" / "smoke.py"
        if beside.exists():
            return beside
    return None


def pytest_report_header() -> str:
    found = acceptance_script()
    return (
        f"acceptance: {found}"
        if found
        else "acceptance: smoke.py is not beside this repository; set MK8S_SMOKE to include it"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):  # type: ignore[no-untyped-def]
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Running):
                report.sections.append((f"logs of cluster {value.name} (fixture {name})", value.logs()))
    return report


def _running(parent: Path, name: str) -> Iterator[Running]:
    made = Running(parent, name)
    try:
        yield made
    finally:
        made.mk8s("down", "--name", name, "--purge", check=False)
        shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Running]:
    """Not started yet."""
    yield from _running(tmp_path / "home", "e2e")


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Running]:
    """A second one, in a home of its own."""
    yield from _running(tmp_path / "other-home", "e2e")


@pytest.fixture(scope="session")
def busybox_image() -> str:
    """An image with a shell and busybox in the Docker engine of this machine."""
    subprocess.run([str(ROOT / "tests" / "images" / "build.sh")], check=True, capture_output=True, timeout=300)
    return "mk8s.local/busybox"


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One cluster of two nodes that several tests share: each leaves it healthy and empty."""
    for made in _running(tmp_path_factory.mktemp("two-nodes"), "two-nodes"):
        made.up("--nodes", "2")
        yield made
