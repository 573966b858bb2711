"""A disk that cannot sync any more: the member says so and ends, having lied to nobody."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcd_raft.client import EtcdClient, EtcdError
from etcd_raft.proto import rpc_pb2 as pb
from tests.etcd_raft.processes import answers
from tests.etcd_raft.robustness.cluster import LinkedCluster, gone, run, violations
from tests.etcd_raft.robustness.sick_disk import SickDisk
from tests.etcd_raft.robustness.traffic import Traffic

pytestmark = pytest.mark.binary("gcc")


@pytest.fixture
def sick(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[LinkedCluster, list[SickDisk]]]:
    """A cluster whose disks can be made to fail, one by one."""
    cluster = LinkedCluster(tmp_path / "cluster", request.param)
    cluster.folder.mkdir()
    disks = [SickDisk(tmp_path / "sick", member) for member in cluster.members]
    try:
        cluster.start()
        yield cluster, disks
    finally:
        cluster.close()


async def _ends_saying(cluster: LinkedCluster, number: int, words: str) -> None:
    member = cluster.members[number]
    await gone(member)
    assert member.process is not None
    assert member.process.returncode == 1
    said = member.log.read_text()
    assert words in said
    assert "Input/output error" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("sick", [3], indirect=True)
async def test_a_leader_whose_disk_cannot_sync_ends_and_the_others_go_on(
    sick: tuple[LinkedCluster, list[SickDisk]],
) -> None:
    cluster, disks = sick
    await cluster.ready()

    async def leader_falls_ill(_: LinkedCluster, traffic: Traffic) -> None:
        leader = await cluster.leader()
        number = cluster.members.index(leader)
        disks[number].fail()
        await _ends_saying(cluster, number, "cannot write the log")
        async with cluster.client(*cluster.others(leader)) as client:
            await client.get(b"they go on")
        disks[number].recover()

    async with asyncio.timeout(60):
        history = await run(cluster, leader_falls_ill)
    assert len(history.writes) > 20
    broken = violations(history)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("sick", [1], indirect=True)
@pytest.mark.parametrize("method", ["Maintenance/Defragment", "Maintenance/Snapshot", "KV/Compact"])
async def test_a_sync_of_the_state_that_fails_ends_the_member_whatever_asked_for_it(
    sick: tuple[LinkedCluster, list[SickDisk]], method: str
) -> None:
    cluster, (disk,) = sick
    (member,) = cluster.members
    await cluster.ready()
    async with cluster.client(timeout=3.0) as client:
        for number in range(20):
            await client.put(b"k%d" % number, b"acknowledged")
        disk.fail()
        with pytest.raises(EtcdError):
            await _ask(client, method)
    await _ends_saying(cluster, 0, "")
    disk.recover()
    member.process = None
    member.start()
    await answers(member)
    async with cluster.client() as client:
        assert (await client.get(b"k", range_end=b"l", count_only=True)).count == 20
        await client.put(b"on", b"it goes")


async def _ask(client: EtcdClient, method: str) -> None:
    if method == "KV/Compact":
        await client.compact(10, physical=True)
    elif method == "Maintenance/Defragment":
        await client.connection.unary(f"/etcdserverpb.{method}", pb.DefragmentRequest().SerializeToString(), 3.0)
    else:
        stream = await client.connection.stream(f"/etcdserverpb.{method}")
        await stream.send(pb.SnapshotRequest().SerializeToString())
        while await asyncio.wait_for(stream.receive(), 3.0):
            pass
