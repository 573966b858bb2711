"""Histories of real members under faults, and what watchers were told meanwhile."""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from etcd_raft.client import Compare, EtcdClient, EtcdError, op_put
from tests.etcd_raft.linearizability import checker
from tests.etcd_raft.linearizability.checker import FOREVER, Operation
from tests.etcd_raft.processes import ClusterProcesses, MemberProcess, answers

_KEYS = [b"x", b"y"]
_SECONDS = 6.0


class Recorder:
    """Clients that work at random and write down what they saw."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.history: list[Operation] = []
        self.written = 0

    async def work(self, client: EtcdClient, end: float) -> None:
        while time.monotonic() < end:
            await self._one(client)
            await asyncio.sleep(self.random.random() * 0.15)

    async def _one(self, client: EtcdClient) -> None:
        key, other = self.random.sample(_KEYS, 2)
        self.written += 1
        value = b"%d" % self.written
        roll = self.random.random()
        if roll < 0.35:
            await self._record("put", client.put(key, value), lambda _: checker.put(key, value), True)
        elif roll < 0.75:

            def seen(result: Any) -> Any:
                return checker.get(key, result.kvs[0].value if result.kvs else None)

            await self._record("get", client.get(key), seen, False)
        elif roll < 0.85:
            await self._record(
                "delete", client.delete(key), lambda r: checker.delete(key, None if r is None else r.deleted), True
            )
        else:
            expected = b"%d" % self.random.randint(max(1, self.written - 6), self.written)
            txn = client.txn([Compare.value(key, "=", expected)], [op_put(key, value), op_put(other, value)])
            await self._record(
                "txn",
                txn,
                lambda r: checker.swap(key, expected, other, value, None if r is None else r.succeeded),
                True,
            )

    async def _record(self, what: str, call: Any, step: Callable[[Any], Any], writes: bool) -> None:
        called = time.monotonic()
        try:
            result = await call
        except EtcdError as error:
            if writes and error.maybe_applied:
                self.history.append(Operation(called, FOREVER, step(None), what))
            return
        self.history.append(Operation(called, time.monotonic(), step(result), what))


async def _kill(member: MemberProcess) -> None:
    member.kill()
    await asyncio.sleep(0.5)
    member.start()
    await answers(member)


async def _pause(member: MemberProcess) -> None:
    member.signal(signal.SIGSTOP)
    await asyncio.sleep(1.2)
    member.signal(signal.SIGCONT)
    await asyncio.sleep(0.5)


@pytest.mark.parametrize("fault", [_kill, _pause], ids=["kill", "pause"])
async def test_histories_under_faults_are_linearizable(three: ClusterProcesses, fault: Callable[..., Any]) -> None:
    await three.ready()
    recorder = Recorder(7)
    end = time.monotonic() + _SECONDS
    told: list[Any] = []

    async def watch() -> None:
        async with three.client() as client, client.watch(b"\0", b"\0", prev_kv=True) as watcher:
            watching.set()
            async for batch in watcher:
                told.extend(batch.events)

    async def misfortune() -> None:
        while time.monotonic() < end - 1.5:
            await fault(await three.leader())

    watching = asyncio.Event()
    watch_task = asyncio.create_task(watch())
    await asyncio.wait_for(watching.wait(), 10)
    # Each client keeps to one member first: stale members are asked, too.
    clients = [EtcdClient([*three.urls[n:], *three.urls[:n]], timeout=3.0) for n in range(3)]
    try:
        await asyncio.gather(*(recorder.work(client, end) for client in clients), misfortune())
    finally:
        for client in clients:
            await client.close()
    assert len(recorder.history) > 20, "nothing much happened"
    unknown = sum(op.unknown for op in recorder.history)
    verdict = await asyncio.wait_for(asyncio.to_thread(checker.linearizable, recorder.history, ()), 60)
    assert verdict, f"Linearizability broke: no order explains {len(recorder.history)} operations ({unknown} unknown)"
    async with three.client() as client:
        last = await client.put(b"end", b"1")
        async with asyncio.timeout(10):
            while not told or told[-1].kv.mod_revision < last.revision:
                await asyncio.sleep(0.02)
    watch_task.cancel()
    _check_watch(told)


def _check_watch(told: list[Any]) -> None:
    """Ordered, unique, nothing missing in between, and with what was there before."""
    places = [(event.kv.mod_revision, event.kv.key) for event in told]
    assert [p[0] for p in places] == sorted(p[0] for p in places), "Ordered broke: a revision came after a later one"
    assert len(places) == len(set(places)), "Unique broke: a change was told twice"
    revisions = sorted({revision for revision, _ in places})
    missing = set(range(revisions[0], revisions[-1] + 1)) - set(revisions)
    assert not missing, f"Reliable broke: revisions {sorted(missing)[:5]} were never told"
    values: dict[bytes, bytes] = {}
    for event in told:
        if event.prev_kv is not None and event.kv.key in values:
            assert event.prev_kv.value == values[event.kv.key], "prev_kv is not what was there before"
        if event.type == "PUT":
            values[event.kv.key] = event.kv.value
        else:
            values.pop(event.kv.key, None)
