"""Clients that put, read, delete and swap at random, and watchers of every kind: all that they are told is recorded."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from etcd_raft.client import Compare, EtcdClient, EtcdError, op_get, op_put
from etcd_raft.client.results import prefix_end
from etcd_raft.proto import rpc_pb2 as pb
from tests.etcd_raft.robustness import model
from tests.etcd_raft.robustness.checker import FOREVER, Operation
from tests.etcd_raft.robustness.history import Event, History, Response, StaleRead, Watch, Write
from tests.etcd_raft.robustness.model import State, Step, Values

_WATCH = "/etcdserverpb.Watch/Watch"
_LEADER = (("hasleader", "true"),)
_KEYS = 4
# A watch without a word for so long is given up, and resumed at the next member.
_SILENCE = 1.5


class Traffic:
    """Works below one prefix, of which it is the only user, in a store that nobody else changes meanwhile."""

    def __init__(self, urls: list[str], prefix: bytes, seed: int, initial: State) -> None:
        self.urls = urls
        self.prefix = prefix
        self.end = prefix_end(prefix)
        self.keys = [prefix + b"%c" % (97 + n) for n in range(_KEYS)]
        self.random = random.Random(seed)
        self.history = History(initial)
        self._values = 0
        self._known: dict[bytes, int] = {}  # key -> a mod revision that it had not long ago
        self._unknown: list[tuple[Operation, bytes, Callable[[int], Step]]] = []
        self.acknowledged = initial.revision
        self.rest = 0.01

    # ---- writing and reading

    async def client(self, number: int, stop: asyncio.Event) -> None:
        """One client: one operation after the other, at one member as long as that answers."""
        order = [*self.urls[number % len(self.urls) :], *self.urls[: number % len(self.urls)]]
        async with EtcdClient(order, timeout=2.5) as client:
            while not stop.is_set():
                await self._one(client)
                await asyncio.sleep(self.random.random() * self.rest * 2)

    async def reader(self, url: str, stop: asyncio.Event) -> None:
        """Reads at one member and no other, whatever has become of it: who is asked for the truth must not tell the past."""
        async with EtcdClient([url], timeout=0.7) as client:
            while not stop.is_set():
                await self._get(client, self.prefix, self.end)
                await asyncio.sleep(self.random.random() * self.rest * 4)

    async def _one(self, client: EtcdClient) -> None:
        roll = self.random.random()
        key, other = self.random.sample(self.keys, 2)
        if roll < 0.3:
            await self._put(client, key)
        elif roll < 0.5:
            await self._get(client, key, b"")
        elif roll < 0.6:
            await self._get(client, self.prefix, self.end)
        elif roll < 0.7:
            await self._delete(client, key)
        elif roll < 0.9:
            await self._swap(client, key, other)
        else:
            await self._stale(client)

    def _value(self) -> bytes:
        self._values += 1
        return b"%d" % self._values

    async def _do(self, what: str, call: Awaitable[Any]) -> tuple[Operation, Any]:
        """Make the call; the operation so far, and the answer: None when it is unknown what became of it."""
        operation = Operation(time.monotonic(), FOREVER, lambda state: (True, state), what)
        try:
            answer = await call
        except EtcdError as error:
            return operation, None if error.maybe_applied else error
        operation.returned = time.monotonic()
        self.acknowledged = max(self.acknowledged, answer.revision)
        return operation, answer

    async def _put(self, client: EtcdClient, key: bytes) -> None:
        value = self._value()
        operation, answer = await self._do(f"put {key!r} {value!r}", client.put(key, value))
        if isinstance(answer, EtcdError):
            return
        self.history.operations.append(operation)
        if answer is None:
            self._unknown.append((operation, value, lambda revision: model.put(key, value, revision)))
            return
        operation.step = model.put(key, value, answer.revision)
        self._known[key] = answer.revision
        self.history.writes.append(Write(answer.revision, {key: value}))

    async def _get(self, client: EtcdClient, key: bytes, end: bytes) -> None:
        operation, answer = await self._do(f"get {key!r}", client.get(key, range_end=end))
        if answer is None or isinstance(answer, EtcdError):
            return
        found = _values(answer.kvs)
        self._known |= {k: mod for k, _, mod in found}
        operation.step = model.get(key, end, found, answer.revision)
        operation.what += f" -> {found} at {answer.revision}"
        self.history.operations.append(operation)

    async def _delete(self, client: EtcdClient, key: bytes) -> None:
        operation, answer = await self._do(f"delete {key!r}", client.delete(key))
        if isinstance(answer, EtcdError):
            return
        self.history.operations.append(operation)
        if answer is None:
            operation.step = model.delete(key, None, None)
            return
        operation.step = model.delete(key, answer.deleted, answer.revision)
        if answer.deleted:
            self.history.writes.append(Write(answer.revision, {key: None}))

    async def _swap(self, client: EtcdClient, key: bytes, other: bytes) -> None:
        value, expected = self._value(), self._known.get(key, 0)
        call = client.txn(
            [Compare.mod_revision(key, "=", expected)], [op_put(key, value), op_put(other, value)], [op_get(key)]
        )
        operation, answer = await self._do(f"swap {key!r} {expected} {other!r} {value!r}", call)
        if isinstance(answer, EtcdError):
            return
        self.history.operations.append(operation)
        if answer is None:
            self._unknown.append((operation, value, lambda at: model.swap(key, expected, other, value, True, (), at)))
            return
        found = () if answer.succeeded else _values(answer.responses[0].kvs)
        operation.step = model.swap(key, expected, other, value, answer.succeeded, found, answer.revision)
        if answer.succeeded:
            self._known |= {key: answer.revision, other: answer.revision}
            self.history.writes.append(Write(answer.revision, {key: value, other: value}))
        elif found:
            self._known[key] = found[0][2]
        else:
            self._known.pop(key, None)

    async def _stale(self, client: EtcdClient) -> None:
        """What one member knows, or knew at a revision of the past."""
        past = self.random.random() < 0.5 and self.acknowledged > self.history.initial.revision
        at = (
            self.random.randint(max(self.history.initial.revision, self.acknowledged - 50), self.acknowledged)
            if past
            else 0
        )
        try:
            answer = await client.get(self.prefix, range_end=self.end, serializable=True, revision=at)
        except EtcdError:
            return  # compacted, or ahead of what this member has
        self.history.stale_reads.append(StaleRead(at or answer.revision, self.prefix, self.end, _values(answer.kvs)))

    async def compact(self, behind: int) -> None:
        """Forget all but the newest revisions."""
        at = self.acknowledged - behind
        self.history.compacted = max(self.history.compacted, at)
        async with EtcdClient(self.urls, timeout=2.5) as client:
            with contextlib.suppress(EtcdError):
                await client.compact(at, physical=self.random.random() < 0.5)

    async def finish(self) -> int:
        """A last write that everybody has to be told of."""
        async with EtcdClient(self.urls, timeout=5.0) as client:
            for _ in range(20):
                await self._put(client, self.keys[0])
                if self.history.operations[-1].returned != FOREVER:
                    return self.history.writes[-1].revision
        raise AssertionError("the cluster takes no write although nothing is in its way any more")

    def settle(self, events: list[Event]) -> None:
        """What became of unknown writes shows in what watchers were told: each writes a value that nobody else writes."""
        where = {event.value: event.revision for event in events}
        for operation, value, step in self._unknown:
            if value in where:
                operation.step = step(where[value])
            else:
                self.history.operations.remove(operation)  # it never happened
        self._unknown = []

    # ---- watching

    async def watcher(self, number: int, until: asyncio.Future[int]) -> None:
        """One watching client: watches again from where it was, at the next member, until it has been told the last write."""
        pick = random.Random(number)
        told: list[Watch] = []
        self.history.watchers.append(told)
        single = number % 4 == 1
        start = self.history.initial.revision + 1
        turn = number
        while not (until.done() and _seen(told) >= until.result()):
            key, end = (self.keys[0], b"") if single else (self.prefix, self.end)
            watch = Watch(key, end, start, prev_kv=number % 2 == 0)
            told.append(watch)
            patience = pick.uniform(0.2, 0.8) if number % 4 == 3 else 1e9
            async with EtcdClient([self.urls[turn % len(self.urls)]], timeout=2.5) as client:
                with contextlib.suppress(EtcdError, TimeoutError):
                    await watch_once(client, watch, until, patience, number % 4 == 2)
            start = max(start, watch.compacted, *(e.revision + 1 for e in watch.events()), *_notices(watch))
            turn += 1

    async def future_watcher(self, until: asyncio.Future[int]) -> None:
        """Asks again and again for what has yet to happen, and for notices meanwhile."""
        told: list[Watch] = []
        turn = 0
        while not until.done():
            watch = Watch(self.prefix, self.end, self.acknowledged + 15)
            self.history.watchers.append([watch])
            told.append(watch)
            async with EtcdClient([self.urls[turn % len(self.urls)]], timeout=2.5) as client:
                with contextlib.suppress(EtcdError, TimeoutError):
                    await watch_once(client, watch, until, 0.7, True)
            turn += 1

    async def through_the_client(self, until: asyncio.Future[int]) -> None:
        """The client of the project, which resumes by itself: one watch for its user, whatever happens underneath."""
        watch = Watch(self.prefix, self.end, self.history.initial.revision + 1, prev_kv=True)
        self.history.watchers.append([watch])
        async with EtcdClient(self.urls, timeout=2.5) as client:
            consumer = asyncio.create_task(self._consume(client, watch))
            try:
                last = await until
                while not consumer.done() and _seen([watch]) < last:
                    await asyncio.sleep(0.02)
            finally:
                consumer.cancel()
                await asyncio.gather(consumer, return_exceptions=True)

    async def _consume(self, client: EtcdClient, watch: Watch) -> None:
        async with client.watch(watch.key, watch.end, watch.start, prev_kv=True) as watcher:
            async for batch in watcher:
                events = [_event(e.kv, e.type == "DELETE", e.prev_kv) for e in batch.events]
                watch.responses.append(Response(batch.revision, events, batch.is_progress))


async def watch_once(
    client: EtcdClient,
    watch: Watch,
    until: asyncio.Future[int],
    patience: float,
    progress: bool,
    require_leader: bool = True,
) -> None:
    """One life of one watch; what it was told is in ``watch`` when this returns or raises."""
    stream = await client.connection.stream(_WATCH, _LEADER if require_leader else ())
    create = pb.WatchCreateRequest(
        key=watch.key, range_end=watch.end, start_revision=watch.start, prev_kv=watch.prev_kv, fragment=progress
    )
    asking: asyncio.Task[None] | None = None
    ends = time.monotonic() + patience
    try:
        await stream.send(pb.WatchRequest(create_request=create).SerializeToString())
        if progress:
            asking = asyncio.create_task(_ask_for_progress(stream))
        while (left := ends - time.monotonic()) > 0 and not (until.done() and _seen([watch]) >= until.result()):
            data = await _next(stream, watch, until, min(left, _SILENCE if require_leader else left))
            if data is None:
                return
            answer = pb.WatchResponse.FromString(data)
            if answer.canceled:
                watch.compacted = answer.compact_revision
                return
            if answer.created:
                watch.created_at = answer.header.revision
                continue
            events = [_event(e.kv, bool(e.type), e.prev_kv if e.HasField("prev_kv") else None) for e in answer.events]
            watch.responses.append(
                Response(answer.header.revision, events, not events, answer.fragment, time.monotonic())
            )
    finally:
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        stream.cancel()
        _forget_partial(watch)


async def _next(stream: Any, watch: Watch, until: asyncio.Future[int], timeout: float) -> Any:
    """The next message; None when there is none to wait for, because it is known now which write was the last."""
    receiving = asyncio.ensure_future(stream.receive())
    try:
        if not until.done():
            await asyncio.wait({receiving, until}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done() and until.done() and _seen([watch]) >= until.result():
                return None
        if not receiving.done():
            await asyncio.wait({receiving}, timeout=timeout)
        if not receiving.done():
            raise TimeoutError
        return receiving.result()
    finally:
        receiving.cancel()


async def _ask_for_progress(stream: Any) -> None:
    request = pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString()
    with contextlib.suppress(EtcdError):
        while True:
            await asyncio.sleep(0.05)
            await stream.send(request)


def _event(kv: Any, deleted: bool, previous: Any) -> Event:
    before = (previous.value, previous.mod_revision) if previous is not None else None
    if deleted:
        return Event(kv.mod_revision, kv.key, None, False, 0, before)
    return Event(kv.mod_revision, kv.key, kv.value, kv.create_revision == kv.mod_revision, kv.version, before)


def _values(kvs: Any) -> Values:
    return tuple((kv.key, kv.value, kv.mod_revision) for kv in kvs)


def _forget_partial(watch: Watch) -> None:
    """The stream ended between two fragments: what came of the last revision is not all of it, and will come again."""
    if watch.responses and watch.responses[-1].fragment:
        last = watch.responses[-1].events[-1].revision
        for response in watch.responses:
            response.events = [event for event in response.events if event.revision < last]
        watch.responses[-1].fragment = False


def _notices(watch: Watch) -> list[int]:
    return [response.revision + 1 for response in watch.responses if response.is_progress]


def _seen(told: list[Watch]) -> int:
    """Up to where it has been told everything."""
    seen = [event.revision for watch in told for event in watch.events()]
    return max(seen, default=0)
