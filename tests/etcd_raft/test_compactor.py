"""When automatic compaction forgets what, and that it does."""

from pathlib import Path

from etcd_raft.client import EtcdClient, EtcdError
from etcd_raft.server.compactor import Periodic, Revisions
from tests.etcd_raft.processes import ClusterProcesses, answers, eventually

HOUR = 3600.0


def run(plan: Periodic, hours: float, per_look: int, leading: bool = True) -> list[tuple[float, int]]:
    """Let so many hours pass, with so many writes between two looks; hours at which it compacted, and where."""
    found, now, revision = [], 0.0, 1
    while now < hours * HOUR - 0.5:
        now += plan.pause
        at = plan.look(now, revision, leading)
        if at:
            plan.done(now, at)
            found.append((round(now / HOUR, 2), at))
        revision += per_look
    return found


def test_a_long_retention_compacts_every_hour_at_the_revision_of_then() -> None:
    # Looks every six minutes: ten an hour, ten writes each.
    found = run(Periodic(24 * HOUR, 0.0), 27, 10)
    assert [hour for hour, _ in found] == [24.0, 25.0, 26.0, 27.0]
    assert [at for _, at in found] == [1, 91, 191, 291]


def test_a_short_retention_compacts_as_often_as_it_says() -> None:
    assert [hour for hour, _ in run(Periodic(HOUR / 2, 0.0), 2, 1)] == [0.5, 1.0, 1.5, 2.0]


def test_nothing_new_is_nothing_to_forget() -> None:
    assert len(run(Periodic(HOUR, 0.0), 10, 0)) == 1


def test_only_the_leader_compacts_and_a_new_one_knows_the_past() -> None:
    plan = Periodic(HOUR, 0.0)
    assert run(plan, 5, 10, leading=False) == []
    assert plan.look(5.1 * HOUR, 1000, True) > 1


def test_so_many_revisions_are_kept() -> None:
    plan = Revisions(1000)
    assert plan.look(0.0, 900, True) == 0
    assert plan.look(0.0, 1500, False) == 0
    assert plan.look(0.0, 1500, True) == 500
    plan.done(0.0, 500)
    assert plan.look(0.0, 1500, True) == 0
    assert plan.look(0.0, 1600, True) == 600


async def test_a_member_forgets_by_itself(tmp_path: Path) -> None:
    cluster = ClusterProcesses(tmp_path, 1, ["--log-level=warn", "--auto-compaction-retention=500ms"])
    cluster.start()
    try:
        await answers(cluster.members[0])
        async with EtcdClient(cluster.urls) as client:
            for number in range(5):
                await client.put(b"k", b"%d" % number)

            async def forgotten() -> bool:
                try:
                    await client.get(b"k", revision=3)
                except EtcdError as error:
                    return "compacted" in str(error)
                return False

            await eventually("revision 3 is forgotten", forgotten)
            assert (await client.get(b"k")).kvs[0].value == b"4"
    finally:
        cluster.close()
