"""A cluster whose members hear each other only through ``Links``, and a run of traffic over it with its verdict."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from etcd_raft.client import EtcdClient
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server.membership import member_id
from tests.etcd_raft.processes import ClusterProcesses, MemberProcess, answers, eventually
from tests.etcd_raft.robustness import checker, watch_guarantees
from tests.etcd_raft.robustness.history import History
from tests.etcd_raft.robustness.links import Links
from tests.etcd_raft.robustness.model import State
from tests.etcd_raft.robustness.traffic import Traffic

QUICK = ["--heartbeat-interval=50", "--election-timeout=500", "--log-level=warn"]
_PREFIXES = itertools.count()
Fault = Callable[["LinkedCluster", Traffic], Awaitable[None]]


class LinkedCluster(ClusterProcesses):
    """Members that tell each other the addresses of the links before them."""

    def __init__(self, folder: Path, size: int = 3, flags: list[str] | None = None, bug: str = "") -> None:
        """``bug``: what is wrong with every member, see ``planted``."""
        super().__init__(folder, size, flags or QUICK)
        where = {member.name: int(member.listen_peer_url.rpartition(":")[2]) for member in self.members}
        ids: dict[int, str] = {}
        self.links = Links(where, ids)
        for member in self.members:
            member.peer_url = f"http://127.0.0.1:{self.links.ports[member.name]}"
            ids[member_id([member.peer_url], "etcd-cluster")] = member.name
        self.initial = [f"{member.name}={member.peer_url}" for member in self.members]
        for member in self.members:
            member.flags = [f"--initial-cluster={','.join(self.initial)}", *member.flags[1:]]
            if bug:
                member.module = ["tests.etcd_raft.robustness.planted", bug]

    def others(self, member: MemberProcess) -> list[MemberProcess]:
        return [other for other in self.members if other is not member]

    async def whole(self) -> None:
        """The end of all misfortune: every member runs, hears the others and answers."""
        self.links.heal()
        for member in self.members:
            if member.process is None or member.process.poll() is not None:
                member.process = None
                member.start()
        await self.ready()

    async def hashes(self, revision: int) -> dict[str, int]:
        """Each member's checksum of all keys as of a revision."""
        request = pb.HashKVRequest(revision=revision).SerializeToString()
        found: dict[str, int] = {}
        for member in self.members:
            async with self.client(member) as client:
                await client.get(b"so that it has everything")
                answer = await client.connection.unary("/etcdserverpb.Maintenance/HashKV", request, 5.0)
                found[member.name] = pb.HashKVResponse.FromString(answer).hash
        return found

    def close(self) -> None:
        super().close()
        self.links.close()


@contextlib.contextmanager
def linked(folder: Path, size: int = 3, flags: list[str] | None = None, bug: str = "") -> Iterator[LinkedCluster]:
    cluster = LinkedCluster(folder, size, flags, bug)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


async def run(
    cluster: LinkedCluster,
    fault: Fault,
    *,
    rounds: int = 1,
    calm: float = 0.3,
    clients: int = 4,
    seed: int = 1,
    patience: float = 20.0,
) -> History:
    """Traffic while ``fault`` happens ``rounds`` times, with some calm before and after; then whole again.

    Watchers have ``patience`` seconds to be told everything."""
    async with EtcdClient(cluster.urls) as client:
        prefix = b"run-%d/" % next(_PREFIXES)
        initial = State((await client.get(prefix)).revision)
    traffic = Traffic(cluster.urls, prefix, seed, initial)
    stop = asyncio.Event()
    last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    working = [asyncio.create_task(traffic.client(n, stop)) for n in range(clients)]
    working += [asyncio.create_task(traffic.reader(url, stop)) for url in cluster.urls]
    watching = [asyncio.create_task(traffic.watcher(n, last)) for n in range(4)]
    watching += [
        asyncio.create_task(traffic.future_watcher(last)), asyncio.create_task(traffic.through_the_client(last))
    ]  # fmt: skip

    async def enough() -> bool:
        return len(traffic.history.writes) >= 30

    try:
        for _ in range(rounds):
            await asyncio.sleep(calm)
            await fault(cluster, traffic)
        await asyncio.sleep(calm)
        await cluster.whole()
        await eventually("enough has happened to be worth a look", enough)
        stop.set()
        await asyncio.gather(*working)
        last.set_result(await traffic.finish())
        traffic.history.hashes = await cluster.hashes(last.result())
        done, slow = await asyncio.wait(watching, timeout=patience)
        for task in done:
            task.result()
        if slow:
            traffic.history.starved = f"Reliable broke: {len(slow)} watchers were never told revision {last.result()}"
    finally:
        for task in (*working, *watching):
            task.cancel()
        await asyncio.gather(*working, *watching, return_exceptions=True)
    events, _ = watch_guarantees.merged(initial, traffic.history.watchers)
    traffic.settle(events)
    return traffic.history


def violations(history: History) -> list[str]:
    """Every way in which what was seen breaks a promise."""
    _, broken = watch_guarantees.violations(history)
    if len(set(history.hashes.values())) > 1:
        broken.append(f"The members hold different things: {history.hashes}")
    if history.starved:
        broken.append(history.starved)
    stuck = checker.stuck(history.operations, history.initial)
    if stuck is not None:
        unfit = "; ".join(operation.what for operation in stuck[:4])
        broken.append(
            f"Linearizability broke: no order explains {len(history.operations)} operations ({history.unknown} unknown), "
            f"the longest ends before: {unfit}"
        )
    return broken


async def gone(member: MemberProcess) -> None:
    async def ended() -> bool:
        return member.process is not None and member.process.poll() is not None

    await eventually(f"{member.name} ends", ended)


__all__ = ["QUICK", "LinkedCluster", "answers", "gone", "linked", "run", "violations"]
