"""One cluster for a module: each run has keys of its own and leaves the cluster whole."""

from collections.abc import Iterator

import pytest

from tests.etcd_raft.robustness.cluster import LinkedCluster, linked


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkedCluster]:
    with linked(tmp_path_factory.mktemp("linked")) as cluster:
        yield cluster
