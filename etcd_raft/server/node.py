"""The task that drives Raft: what has arrived is proposed, persisted with one sync, sent and applied, round by round.

Everything happens on one event loop: requests, messages and ticks only put something into the core and ask for a round. While
a round syncs, the next requests pile up, and share the next sync: that is the group commit.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import lmdb

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.errors import StoreError
from etcd_raft.proto.internal_pb2 import Request
from etcd_raft.raft.core import ProposalDropped, Role
from etcd_raft.raft.messages import ConfChange, EntryType, Message, Snapshot
from etcd_raft.raft.node import RawNode, Ready
from etcd_raft.server.apply import Applier, Result, State
from etcd_raft.wal import WAL, WALError

log = logging.getLogger(__name__)

# The state goes to its file at the latest this long after a change, or after this many bytes; until then it is in the log.
_COMMIT_SECONDS = 5.0
_COMMIT_BYTES = 8 << 20
_MAX_PENDING = 10_000
_BATCH_BYTES = 1 << 20
_READ_RETRY_SECONDS = 0.5


class Fatal(Exception):
    """This member cannot go on; the text says why and what to do."""


class Waiter(NamedTuple):
    """Somebody who wants to know what became of a proposal, until the loop's time ``deadline``."""

    future: asyncio.Future[Result]
    deadline: float


class Node:
    """One member at work. ``transport`` sends messages; it is set before ``run``."""

    def __init__(self, raw: RawNode, wal: WAL, state: State, *, tick_seconds: float, election_seconds: float,
                 snapshot_count: int) -> None:  # fmt: skip
        self.raw = raw
        self.raft = raw.raft
        self.wal = wal
        self.state = state
        self.applier = Applier(state)
        self.transport: Any = None
        self.id = raw.raft.id
        self.tick_seconds = tick_seconds
        self.election_seconds = election_seconds
        # As etcd: long enough for two elections on top of what a request may take.
        self.request_seconds = 5.0 + 2 * election_seconds
        self.snapshot_count = snapshot_count
        self.max_request_bytes = 1536 * 1024
        self.keep_entries = 5_000
        self.failure: BaseException | None = None
        self.stopped = asyncio.Event()
        self.removed = False
        self.leader_changes = 0
        self.proposals_failed = 0
        self.proposals_applied = 0
        self.on_membership: Callable[[], None] = lambda: None
        self._syncing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal-sync")  # starts with its first work
        self._wake = asyncio.Event()
        self._tick_due = False
        self._ids = itertools.count(((self.id & 0xFFFF) << 48) | ((int(time.time() * 1000) & 0xFFFFFFFFFF) << 8))
        self._waiters: dict[int, Waiter] = {}
        self._batch: list[tuple[int, bytes]] = []  # to be proposed in the next round: id and request
        self._reads = ReadBatches(self)
        self._leader_known = asyncio.Event()
        self._last_leader = 0
        self._was_leader = False
        self._incoming: dict[int, Any] = {}  # snapshots received, by index: their files
        self._marked = state.applied
        self._dirty_since = 0.0
        self._applied_waiters: list[tuple[int, asyncio.Future[None]]] = []

    # ---- facts

    @property
    def pending(self) -> int:
        """Proposals that somebody waits for."""
        return len(self._waiters)

    @property
    def leader(self) -> int:
        return self.raft.leader

    @property
    def is_leader(self) -> bool:
        return self.raft.role == Role.LEADER

    @property
    def term(self) -> int:
        return self.raft.term

    # ---- the loop

    async def run(self) -> None:
        """Drive until stopped; raises ``Fatal`` when this member cannot be trusted to go on."""
        self._arm_timer()
        if self.raft.is_singleton():
            self.raw.campaign()  # nobody to wait for
            self._wake.set()
        try:
            while not self.stopped.is_set():
                await self._wake.wait()
                self._wake.clear()
                if self.failure is not None:
                    raise self.failure
                if self._tick_due:
                    self._tick_due = False
                    self._tick()
                await self._rounds()
                if self._busy_behind():
                    self._wake.set()
                    await asyncio.sleep(0)
        except (WALError, lmdb.Error, Fatal) as error:
            self.failure = error
            log.critical("%s", error)
            raise Fatal(str(error)) from error
        finally:
            self._timer.cancel()
            self._thread.shutdown(wait=False)
            self._fail_all(errors.STOPPED())

    def _arm_timer(self) -> None:
        # One tick at a time, however late it comes: after a pause of the process, what the others sent meanwhile is read
        # before the next tick can find that nobody was heard.
        self._timer = asyncio.get_running_loop().call_later(self.tick_seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._tick_due = True
        self._arm_timer()
        self._wake.set()

    def stop(self) -> None:
        self.stopped.set()
        self._wake.set()

    def _tick(self) -> None:
        self.raw.tick()
        now = time.monotonic()
        self._expire_waiters(asyncio.get_running_loop().time())
        if self.is_leader and self.state.lessor.primary:
            for lease in self.state.lessor.expired(now):
                self._propose_quietly(Request(lease_revoke={"ID": lease}))
        backend = self.state.backend
        if backend.dirty:
            self._dirty_since = self._dirty_since or now
            if now - self._dirty_since >= _COMMIT_SECONDS:
                self.checkpoint()

    async def _rounds(self) -> None:
        while self._batch or self.raw.has_ready():
            if self._batch:
                self._propose_batch()
                continue
            await self._round(self.raw.ready())
        self._after_rounds()

    async def _round(self, ready: Ready) -> None:
        if ready.messages:
            self.transport.send(ready.messages)
        if ready.snapshot is not None:
            self._install(ready.snapshot)
        if ready.must_sync and self.wal.write(ready.hard_state, ready.entries):
            await self._sync()
        if ready.promises:
            self.transport.send(ready.promises)
        for entry in ready.committed:
            if entry.type == EntryType.CONF_CHANGE:
                self._apply_conf_change(entry)
            else:
                id, result = self.applier.apply_request(entry)
                if id:
                    self.proposals_applied += 1
                    self._resolve(id, result)
        for read in ready.read_states:
            self._reads.confirmed(read.context, read.index)
        self.raw.advance()

    async def _sync(self) -> None:
        """On a fast disk at once; on a slow one in a thread, while what arrives collects for the next round.

        Messages, ticks and proposals may change the core meanwhile: it is made for that. The log and what is promised may not.
        """
        if self.wal.slow:
            self._syncing = True
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.wal.sync)
            finally:
                self._syncing = False
        else:
            self.wal.sync()
        self.wal.settle()

    def _after_rounds(self) -> None:
        self._watch_leadership()
        self._reads.applied(self.raft.log.applied)
        if self._applied_waiters:
            self._release_applied()
        while self._incoming:  # received, and not needed after all
            self._incoming.popitem()[1].unlink(missing_ok=True)
        state = self.state
        if state.backend.dirty >= _COMMIT_BYTES or state.applied - self._marked >= self.snapshot_count:
            self.checkpoint()

    def _busy_behind(self) -> bool:
        """Work that is done a piece at a time, so that requests get their turn: watchers behind, compaction."""
        more = bool(self.state.hub.behind) and self.state.hub.catch_up()
        if self.state.store.compacting:
            more = self.state.store.compact_step() or more
        return more

    def _watch_leadership(self) -> None:
        leader = self.raft.leader
        if leader != self._last_leader:
            self._last_leader = leader
            if leader:
                self.leader_changes += 1
                log.info("member %x: leader is %x in term %d", self.id, leader, self.term)
                self._leader_known.set()
            else:
                log.info("member %x: no leader in term %d", self.id, self.term)
                self._leader_known.clear()
            self._reads.retry()
        if self.is_leader and not self._was_leader:
            self.state.lessor.promote(time.monotonic(), self.election_seconds)
        elif self._was_leader and not self.is_leader:
            self.state.lessor.demote()
        self._was_leader = self.is_leader

    # ---- the state's file

    @contextlib.contextmanager
    def touching_the_state(self) -> Iterator[None]:
        """Around what others than the loop do to the state's file: when that fails, this member stops as if the loop had met it."""
        try:
            yield
        except (WALError, lmdb.Error) as error:
            self.failure = self.failure or error
            self._wake.set()
            raise errors.STOPPED from error

    def checkpoint(self) -> None:
        """Make the state durable, and let go of log that it holds."""
        state = self.state
        state.commit()
        self._dirty_since = 0.0
        term = self.raft.log.term(state.applied)
        # Not while a thread syncs: the log takes one frame at a time. The next checkpoint will do.
        if term is not None and not self._syncing and state.applied - self._marked >= min(self.snapshot_count, 1000):
            self.wal.release(Snapshot(state.applied, term, self.raft.conf_state()))
            self._marked = state.applied
        keep = self.keep_entries if len(self.raft.members()) > 1 else 100
        self.raw.compact(max(0, self.raft.log.applied - keep))

    def receive_snapshot(self, message: Message, path: Any) -> None:
        """A leader's state has arrived, complete and synced, as the file ``path``."""
        assert message.snapshot is not None
        self._incoming[message.snapshot.index] = path
        self.step(message)

    def _install(self, snapshot: Snapshot) -> None:
        """Go on from a leader's state. A crash anywhere here leaves either the old state, or the file to finish with."""
        path = self._incoming.pop(snapshot.index)
        self.wal.append(self.raft.hard_state(), (), snapshot)
        self.state.backend.replace_with(path)
        self.state.reload()
        if self.state.applied != snapshot.index:
            raise Fatal(f"the leader's snapshot says index {snapshot.index} and holds {self.state.applied}")
        self._marked = snapshot.index
        self.on_membership()
        log.info("member %x: took over the leader's state at index %d", self.id, snapshot.index)

    # ---- messages

    def step(self, message: Message) -> None:
        """A message from another member, or a report of the transport."""
        try:
            self.raw.step(message)
        except ProposalDropped:
            self.proposals_failed += 1  # forwarded to us and not taken: whoever waits for it times out
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    # ---- proposals

    async def propose(self, request: Any) -> Result:
        """Have a request agreed on and applied; raises ``StoreError`` when it is refused, or what became of it is unknown."""
        if len(self._waiters) >= _MAX_PENDING:
            raise errors.TOO_MANY_REQUESTS
        request.id = id = next(self._ids)
        data = request.SerializeToString()
        if len(data) > self.max_request_bytes:
            raise errors.REQUEST_TOO_LARGE
        self._check_running()
        deadline = asyncio.get_running_loop().time() + self.request_seconds
        self._batch.append((id, data))
        try:
            return await self._outcome(id, deadline)
        except ProposalDropped:
            return await self._submit(id, lambda: self.raw.propose(data), deadline)

    async def propose_conf_change(self, change: ConfChange, context: Any) -> Result:
        context.id = next(self._ids)
        change.context = context.SerializeToString()
        deadline = asyncio.get_running_loop().time() + self.request_seconds
        return await self._submit(context.id, lambda: self.raw.propose_conf_change(change), deadline)

    async def _outcome(self, id: int, deadline: float) -> Result:
        """Wait for what becomes of a proposal; ``ProposalDropped`` when it surely was not made."""
        waiter = self._waiters[id] = Waiter(asyncio.get_running_loop().create_future(), deadline)
        self._wake.set()
        try:
            result = await waiter.future
        except TimeoutError:
            raise self._timed_out() from None
        finally:
            self._waiters.pop(id, None)
        if result.error is not None:
            raise result.error
        return result

    def _propose_batch(self) -> None:
        """Make one proposal of all that have come since the last round: one append to each follower, one answer of each."""
        batch = [(id, data) for id, data in self._batch if id in self._waiters]  # the others have been given up
        self._batch.clear()
        while batch:
            count, size = 0, 0
            while count < len(batch) and (not count or size + len(batch[count][1]) <= _BATCH_BYTES):
                size += len(batch[count][1])
                count += 1
            try:
                self.raw.propose(*(data for _, data in batch[:count]))
            except ProposalDropped as dropped:
                for id, _ in batch[:count]:
                    self._refuse_dropped(id, dropped)
            del batch[:count]

    def _refuse_dropped(self, id: int, dropped: ProposalDropped) -> None:
        future = self._waiters[id].future
        if future.done():
            return
        if str(dropped) == "too much is uncommitted":
            future.set_result(Result(error=errors.TOO_MANY_REQUESTS()))
        else:
            future.set_exception(dropped)

    async def _submit(self, id: int, propose: Callable[[], None], deadline: float) -> Result:
        """Propose as soon as it is possible: when there is a leader, and nothing is in the way."""
        try:
            async with asyncio.timeout_at(deadline):
                while not self._proposed(propose):
                    # Do not ask `self.leader`: the core may have lost it since the last round, and waiting for an event that is
                    # still set would not yield.
                    if self._leader_known.is_set():
                        await asyncio.sleep(self.tick_seconds)
                    else:
                        await self._leader_known.wait()
        except TimeoutError:
            raise self._timed_out() from None
        return await self._outcome(id, deadline)

    def _proposed(self, propose: Callable[[], None]) -> bool:
        """Whether it is on its way; False: surely not, and it may be tried again."""
        self._check_running()
        try:
            propose()
        except ProposalDropped as dropped:
            if str(dropped) == "too much is uncommitted":
                raise errors.TOO_MANY_REQUESTS from None
            return False
        return True

    def _check_running(self) -> None:
        if self.stopped.is_set() or self.failure is not None:
            raise errors.STOPPED

    def _timed_out(self) -> StoreError:
        self.proposals_failed += 1
        return errors.TIMEOUT() if self.leader else errors.TIMEOUT_LEADER_FAILED()

    def _expire_waiters(self, now: float) -> None:
        """Tell those whose time is over. All have equally long, so the oldest are first; a tick late does not matter."""
        for waiter in self._waiters.values():
            if waiter.deadline > now:
                return
            if not waiter.future.done():
                waiter.future.set_exception(TimeoutError())

    def _propose_quietly(self, request: Any) -> None:
        """A proposal that nobody waits for."""
        request.id = next(self._ids)
        try:
            self.raw.propose(request.SerializeToString())
        except ProposalDropped:
            self.proposals_failed += 1

    def _resolve(self, id: int, result: Any) -> None:
        waiter = self._waiters.pop(id, None)
        if waiter is not None and not waiter.future.done():
            waiter.future.set_result(result)

    def _fail_all(self, error: StoreError) -> None:
        for waiter in self._waiters.values():
            if not waiter.future.done():
                waiter.future.set_result(Result(error=error))
        self._reads.fail(error)

    # ---- membership

    def _apply_conf_change(self, entry: Any) -> None:
        id, change, valid = self.applier.apply_conf_change(entry)
        if valid:
            self.raw.apply_conf_change(change)
            self.on_membership()
            if change.node == self.id and self.id in self.state.membership.removed:
                self.removed = True
                # Not at once: the others have yet to hear that it is committed, and the client that it is done.
                asyncio.get_running_loop().call_later(self.election_seconds, self.stop)
        error = None if valid else errors.MEMBER_NOT_FOUND()
        self._resolve(id, Result(error=error, value=self.state.membership.sorted()))

    # ---- reads

    async def linearizable(self) -> None:
        """Returns when this member's state holds everything that had been acknowledged when this was called."""
        raft = self.raft
        if (
            raft.role == Role.LEADER
            and raft.is_singleton()
            and raft.log.applied == raft.log.committed
            and raft.committed_in_term()
            and self.failure is None
        ):
            return  # nobody else could have acknowledged anything
        await self._reads.wait()

    async def wait_applied(self, index: int) -> None:
        """Returns when this member has applied ``index``."""
        if self.raft.log.applied >= index:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._applied_waiters.append((index, future))
        await asyncio.wait_for(future, self.request_seconds)

    def _release_applied(self) -> None:
        applied = self.raft.log.applied
        for index, future in self._applied_waiters:
            if index <= applied and not future.done():
                future.set_result(None)
        self._applied_waiters = [(i, f) for i, f in self._applied_waiters if not f.done()]


class ReadBatches:
    """Linearizable reads, many to one confirmation: those that come while one is under way share the next."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._next: list[asyncio.Future[None]] = []
        self._flying: list[asyncio.Future[None]] = []
        self._context = b""
        self._index: int | None = None
        self._retry_at: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next.append(future)
        if not self._flying:
            self._launch()
        try:
            async with asyncio.timeout(self._node.request_seconds):
                await future
        except TimeoutError:
            raise errors.TIMEOUT if self._node.leader else errors.NO_LEADER from None

    def _launch(self) -> None:
        self._flying, self._next = self._next, []
        self._index = None
        self._ask()

    def _ask(self) -> None:
        # Every attempt has a name of its own: an answer to an older one, from a leader that was, must not count.
        self._context = random.randbytes(12)
        self._node.raw.read_index(self._context)
        self._node.wake()
        loop = asyncio.get_running_loop()
        self._retry_at = loop.call_later(_READ_RETRY_SECONDS, self.retry)

    def retry(self) -> None:
        """The question or its answer may be lost: ask again."""
        if self._retry_at is not None:
            self._retry_at.cancel()
            self._retry_at = None
        self._flying = [future for future in self._flying if not future.done()]
        if self._flying and self._index is None:
            self._ask()
        elif not self._flying and self._next:
            self._launch()

    def confirmed(self, context: bytes, index: int) -> None:
        if context == self._context and self._flying:
            self._index = index

    def applied(self, index: int) -> None:
        if self._index is None or index < self._index:
            return
        for future in self._flying:
            if not future.done():
                future.set_result(None)
        self._flying, self._index = [], None
        if self._retry_at is not None:
            self._retry_at.cancel()
            self._retry_at = None
        if self._next:
            self._launch()

    def fail(self, error: StoreError) -> None:
        for future in (*self._flying, *self._next):
            if not future.done():
                future.set_exception(error)
        self._flying, self._next = [], []
