"""A member that is killed at every point of writing its log, committing, compacting and defragmenting its state.

etcd's issues 13766, 14370, 14685 and 17780 were bugs of exactly this kind: an entry applied twice, a lost write, a revision
that went back.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import pytest

from etcd_raft.client import EtcdClient, EtcdError
from etcd_raft.proto import rpc_pb2 as pb
from tests.etcd_raft.processes import answers
from tests.etcd_raft.robustness.cluster import QUICK, LinkedCluster, gone, linked, run, violations
from tests.etcd_raft.robustness.traffic import Traffic

# The narrowest; ``python -m tests.etcd_raft.robustness --crash-points`` takes the time for all.
_NARROW = ["within-commit", "after-compact-step", "after-log-sync", "within-replace"]
FLAGS = [*QUICK, "--snapshot-count=60", "--snapshot-catchup-entries=30"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkedCluster]:
    """One member: nobody else has what it loses."""
    with linked(tmp_path_factory.mktemp("alone"), 1, FLAGS) as cluster:
        yield cluster


async def _come_to_the_point(cluster: LinkedCluster, traffic: Traffic) -> None:
    """What has to happen for every point to be passed, besides traffic."""
    (member,) = cluster.members
    for behind in (9, 3, 0):
        await traffic.compact(behind)
    async with EtcdClient([member.url], timeout=1.0) as client:
        with contextlib.suppress(EtcdError):
            path = "/etcdserverpb.Maintenance/Defragment"
            await client.connection.unary(path, pb.DefragmentRequest().SerializeToString(), 1.0)


def crash_at(points: list[str]) -> Callable[[LinkedCluster, Traffic], Awaitable[None]]:
    async def crash(cluster: LinkedCluster, traffic: Traffic) -> None:
        (member,) = cluster.members
        flag = cluster.folder / "crash"
        for point in points:
            member.kill()
            count = traffic.random.choice([1, 2, 5]) if "compact" in point or "apply" in point or "sync" in point else 1
            member.module = ["tests.etcd_raft.robustness.crashing", point, str(count)]
            member.environment["CRASH_WHEN"] = str(flag)
            member.start()
            await answers(member)
            flag.touch()
            while member.process is not None and member.process.poll() is None:
                await _come_to_the_point(cluster, traffic)
            await gone(member)
            assert member.process is not None
            assert member.process.returncode == -9, f"{point}: {member.log.read_text()[-2000:]}"
            flag.unlink()
            member.process = None
            member.module = ["etcd_raft"]
            member.start()
            await answers(member)

    return crash


@pytest.mark.parametrize("points", [_NARROW[:2], _NARROW[2:]], ids=["the state", "the log and the file"])
async def test_a_member_that_is_killed_at_any_point_keeps_every_promise(
    alone: LinkedCluster, points: list[str]
) -> None:
    async with asyncio.timeout(120):
        history = await run(alone, crash_at(points), calm=0.1)
    broken = violations(history)
    assert not broken, "\n".join(broken[:20])
