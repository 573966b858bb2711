"""Misfortunes: each happens to a cluster under traffic, takes a while and ends."""

import asyncio
import contextlib
import signal

from etcd_raft.client import EtcdClient, EtcdError
from etcd_raft.proto import rpc_pb2 as pb
from tests.etcd_raft.processes import MemberProcess, answers, eventually
from tests.etcd_raft.robustness.cluster import LinkedCluster
from tests.etcd_raft.robustness.traffic import Traffic

# Longer than the election timeout of these clusters, so that others take over meanwhile.
_WHILE = 1.0


async def nothing(cluster: LinkedCluster, traffic: Traffic) -> None:
    await asyncio.sleep(_WHILE / 2)


async def _restart(member: MemberProcess) -> None:
    member.start()
    await answers(member)


async def _replaced(cluster: LinkedCluster, leader: MemberProcess) -> None:
    """Another one leads, and has done so for a moment: whatever the old one says now is of the past."""

    async def another() -> bool:
        for member in cluster.others(leader):
            async with cluster.client(member, timeout=1.0) as client:
                with contextlib.suppress(EtcdError):
                    status = await client.status()
                    if status.leader == status.member_id:
                        return True
        return False

    await eventually(f"somebody leads instead of {leader.name}", another)
    await asyncio.sleep(_WHILE / 2)


async def kill_leader(cluster: LinkedCluster, traffic: Traffic) -> None:
    leader = await cluster.leader()
    leader.kill()
    await _replaced(cluster, leader)
    await _restart(leader)


async def kill_follower(cluster: LinkedCluster, traffic: Traffic) -> None:
    follower = cluster.others(await cluster.leader())[0]
    follower.kill()
    await asyncio.sleep(_WHILE / 4)
    await _restart(follower)


async def kill_all(cluster: LinkedCluster, traffic: Traffic) -> None:
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    await cluster.ready()


async def stop_leader(cluster: LinkedCluster, traffic: Traffic) -> None:
    """SIGSTOP: it stands still, and goes on without knowing that time has passed."""
    leader = await cluster.leader()
    leader.signal(signal.SIGSTOP)
    await _replaced(cluster, leader)
    leader.signal(signal.SIGCONT)


async def stop_follower(cluster: LinkedCluster, traffic: Traffic) -> None:
    follower = cluster.others(await cluster.leader())[1]
    follower.signal(signal.SIGSTOP)
    await asyncio.sleep(_WHILE)
    follower.signal(signal.SIGCONT)


async def isolate_leader(cluster: LinkedCluster, traffic: Traffic) -> None:
    leader = await cluster.leader()
    cluster.links.isolate(leader.name)
    await _replaced(cluster, leader)
    cluster.links.heal()


async def isolate_follower(cluster: LinkedCluster, traffic: Traffic) -> None:
    cluster.links.isolate(cluster.others(await cluster.leader())[0].name)
    await asyncio.sleep(_WHILE)
    cluster.links.heal()


async def leader_is_not_heard(cluster: LinkedCluster, traffic: Traffic) -> None:
    """One-way: it hears the others, nobody hears it."""
    leader = await cluster.leader()
    cluster.links.block(*((leader.name, other.name) for other in cluster.others(leader)))
    await _replaced(cluster, leader)
    cluster.links.heal()


async def leader_hears_nobody(cluster: LinkedCluster, traffic: Traffic) -> None:
    """One-way the other way round: its heartbeats arrive, no answer does."""
    leader = await cluster.leader()
    cluster.links.block(*((other.name, leader.name) for other in cluster.others(leader)))
    await _replaced(cluster, leader)
    cluster.links.heal()


async def two_do_not_hear_each_other(cluster: LinkedCluster, traffic: Traffic) -> None:
    """Not transitive: the leader and one follower lose each other, the third hears both."""
    leader = await cluster.leader()
    other = cluster.others(leader)[0]
    cluster.links.block((leader.name, other.name), (other.name, leader.name))
    await asyncio.sleep(_WHILE * 1.5)
    cluster.links.heal()


async def slow_links(cluster: LinkedCluster, traffic: Traffic) -> None:
    cluster.links.delay(0.15)
    await asyncio.sleep(_WHILE)
    cluster.links.heal()


async def isolate_and_kill(cluster: LinkedCluster, traffic: Traffic) -> None:
    """The leader is cut off, and dies before it is heard again."""
    leader = await cluster.leader()
    cluster.links.isolate(leader.name)
    await _replaced(cluster, leader)
    leader.kill()
    cluster.links.heal(lose=True)
    await _restart(leader)


async def move_leader(cluster: LinkedCluster, traffic: Traffic) -> None:
    leader = await cluster.leader()
    async with cluster.client(*cluster.others(leader)) as client:
        target = (await client.status()).member_id
    await _call(cluster, leader, "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=target))


async def compact(cluster: LinkedCluster, traffic: Traffic) -> None:
    """History is forgotten close behind the newest revision, again and again, while a member is away and comes back."""
    member = cluster.others(await cluster.leader())[1]
    member.kill()
    for _ in range(8):
        await traffic.compact(behind=traffic.random.choice([0, 1, 5]))
        await asyncio.sleep(_WHILE / 20)
    await _restart(member)


async def defragment(cluster: LinkedCluster, traffic: Traffic) -> None:
    """The file is written anew on one member after the other, and the last one is killed right behind."""
    for member in cluster.members:
        await _call(cluster, member, "Maintenance/Defragment", pb.DefragmentRequest())
    cluster.members[-1].kill()
    await _restart(cluster.members[-1])


async def _call(cluster: LinkedCluster, member: MemberProcess, method: str, request: object) -> None:
    async with EtcdClient([member.url], timeout=5.0) as client:
        await client.connection.unary(f"/etcdserverpb.{method}", request.SerializeToString(), 5.0)  # type: ignore[attr-defined]


ALL = [
    nothing, kill_leader, kill_follower, kill_all, stop_leader, stop_follower, isolate_leader, isolate_follower,
    leader_is_not_heard, leader_hears_nobody, two_do_not_hear_each_other, slow_links, isolate_and_kill, move_leader, compact,
    defragment,
]  # fmt: skip
