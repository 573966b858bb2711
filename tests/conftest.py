"""What the whole suite shares: markers become skips on a machine that lacks something, and only there.

A test that needs root, a Docker engine or an executable says so by a marker. On a user's machine the missing
ones are left out and listed; under ``--no-skips`` (what CI passes) leaving anything out is a failure, so that a
green CI means that everything ran.
"""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import hypothesis  # noqa: F401  # else its plugin imports it in the summary, where CPython 3.11 trips (gh-106905)
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """kubectl keeps what a server said of itself by its address, and here many servers have the same one, one after the other."""
    folder = tempfile.mkdtemp(prefix="mk8s-kubectl-cache-")
    os.environ["KUBECACHEDIR"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail instead of leaving out a test that cannot run here")


def _docker_answers() -> bool:
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
        except OSError:
            return False
    return True


def _missing(item: pytest.Item) -> str | None:
    """Why this item cannot run here, or None."""
    if item.get_closest_marker("root") and (os.geteuid() != 0 or sys.platform != "linux"):
        return "needs root on Linux"
    if item.get_closest_marker("docker") and not _docker_answers():
        return "needs a running Docker engine"
    for marker in item.iter_markers("binary"):
        for name in marker.args:
            if shutil.which(name) is None:
                return f"needs the executable {name}"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        reason = _missing(item)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):  # type: ignore[no-untyped-def]
    report = yield
    if report.skipped and item.config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was left out, which --no-skips forbids: {report.longrepr}"
    return report
