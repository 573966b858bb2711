"""Clusters of real processes for the tests of the store."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from etcd_raft.client import EtcdClient
from tests.etcd_raft.processes import ClusterProcesses, real_etcd

_QUICK = ["--heartbeat-interval=50", "--election-timeout=500", "--log-level=warn"]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[ClusterProcesses]:
    cluster = ClusterProcesses(tmp_path, 1, _QUICK)
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[ClusterProcesses]:
    cluster = ClusterProcesses(tmp_path, 3, _QUICK)
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module", params=["ours", "etcd"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    """One member, ours and then a real etcd: what holds for one has to hold for the other."""
    binary = None
    if request.param == "etcd":
        binary = real_etcd()
        if binary is None:
            pytest.skip("needs the executable etcd")
    cluster = ClusterProcesses(tmp_path_factory.mktemp(request.param), 1, ["--log-level=warn"], binary)
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture
async def client(store: ClusterProcesses) -> AsyncIterator[EtcdClient]:
    await store.ready()
    async with store.client() as client:
        # Each test starts without keys; revisions go on.
        await client.delete(b"\0", range_end=b"\0")
        yield client
