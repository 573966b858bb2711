"""Compaction: one of several servers wins each round and forgets what is a round old."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from apiserver.storage import Store
from apiserver.storage.compactor import Compactor
from etcd_raft.client import Compacted, EtcdClient
from tests.apiserver import harness


@pytest.fixture(params=[pytest.param("etcd", marks=pytest.mark.binary("etcd")), "etcd_raft"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[harness.Store]:
    store = harness.Store(tmp_path, request.param)
    store.start()
    yield store
    store.stop()


@pytest.fixture
async def client(process: harness.Store) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([process.url]) as client:
        yield client


async def test_history_is_forgotten_one_round_late_and_by_one_server(client: EtcdClient) -> None:
    one, two = Compactor(Store(client)), Compactor(Store(client))
    first = (await client.put(b"/registry/a", b"1")).revision
    mine = await one.step(0, 0)
    theirs = await two.step(0, 0)
    assert theirs[0] == mine[0] == 1, "the second sees that a round has begun"
    await client.put(b"/registry/a", b"2")
    assert (await client.get(b"/registry/a", revision=first)).kvs[0].value == b"1"
    await one.step(*mine)
    await two.step(*theirs)
    with pytest.raises(Compacted):
        await client.get(b"/registry/a", revision=first)
    assert (await client.get(b"/registry/a")).kvs[0].value == b"2"
