"""One cluster of one node, as ``mk8s up`` makes it, that all Python clients are shown with, each test in a namespace of its own."""

import itertools
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import pytest_runtest_makereport
from tests.e2e.running import Running

__all__ = ["pytest_runtest_makereport"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("clients"), "clients")
    try:
        made.up()
        yield made
    finally:
        made.mk8s("down", "--name", "clients", "--purge", check=False)


@pytest.fixture
def namespace(cluster: Running) -> str:
    """A fresh one, with its default service account."""
    name = f"clients-{next(_numbers)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "serviceaccount/default", "--for=create", "-n", name, "--timeout=20s")
    return name


@pytest.fixture
def kubeconfig(cluster: Running) -> str:
    return str(cluster.home.kubeconfig)
