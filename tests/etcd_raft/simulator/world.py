"""A whole cluster in one thread, from one seed: members, disks, a network that misbehaves, and a god who checks.

Nothing here waits or reads a clock, so a failing seed fails again. What may go wrong, all of it drawn from the seed: messages
are lost, delayed, doubled and overtaken; links break in one direction or both; members crash at any of the points where a
real one could (before the sync, within it, after it and before sending, after sending and before applying, between a received
state's word in the log and its taking its place) and lose what was not synced; syncs take their time, and what arrives meanwhile
reaches the core; members stand still; clocks run at different speeds and jump; members are added, promoted and removed.

After every step the invariants of the Raft paper (figure 3) hold, or ``Violation`` says which guarantee broke, and how to see
it again.
"""

import heapq
import random
from dataclasses import dataclass, field

from etcd_raft.raft.codec import decode_conf_change, decode_message, encode_message
from etcd_raft.raft.core import Config, ProposalDropped, Role
from etcd_raft.raft.messages import (
    ConfChange,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
)
from etcd_raft.raft.node import RawNode, Ready


class Violation(AssertionError):
    """A guarantee broke."""


class Crashed(Exception):
    """This member's process has just ended."""


@dataclass
class Machine:
    """The state that the log builds, reduced to what shows a difference: the data of every entry, and the membership."""

    applied: int = 0
    term: int = 0
    data: list[bytes] = field(default_factory=list)
    conf: ConfState = field(default_factory=ConfState)

    def copy(self) -> "Machine":
        conf = ConfState(list(self.conf.voters), list(self.conf.learners))
        return Machine(self.applied, self.term, list(self.data), conf)


@dataclass
class Disk:
    """What survives: the log as of the last sync, and the state as of its last commit."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: list[Entry] = field(default_factory=list)
    machine: Machine = field(default_factory=Machine)
    received: dict[int, Machine] = field(default_factory=dict)  # leaders' states, not yet in the place of ours

    def sync(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self.snapshot, self.entries = ready.snapshot, []
        if ready.hard_state is not None and ready.must_sync:
            state = ready.hard_state
            self.hard_state = HardState(state.term, state.vote, state.commit)
        for entry in ready.entries:
            position = entry.index - self.snapshot.index - 1
            assert 0 <= position <= len(self.entries), f"a hole in the log before {entry.index}"
            del self.entries[position:]
            self.entries.append(Entry(entry.term, entry.index, entry.data, entry.type))

    def commit(self, machine: Machine) -> None:
        self.machine = machine.copy()

    def forget(self, index: int, term: int, conf: ConfState) -> None:
        """The state on disk holds everything up to ``index``."""
        if index > self.snapshot.index:
            self.entries = self.entries[index - self.snapshot.index :]
            self.snapshot = Snapshot(index, term, ConfState(list(conf.voters), list(conf.learners)))


class Process:
    """One member: alive or not, with its disk."""

    def __init__(self, world: "World", id: int, disk: Disk) -> None:
        self.world = world
        self.id = id
        self.disk = disk
        self.node: RawNode | None = None
        self.machine = Machine()
        self.paused_until = 0
        self.speed = 1.0
        self.snapshots: dict[int, Machine] = {}
        self.reads: dict[bytes, int] = {}
        self.syncing: Ready | None = None  # a round whose sync is under way
        self.synced_at = 0

    def start(self) -> None:
        disk = self.disk
        if disk.machine.applied < disk.snapshot.index:
            disk.commit(disk.received[disk.snapshot.index])  # the crash came before the received state took its place
        disk.received.clear()
        self.machine = disk.machine.copy()
        entries = [Entry(e.term, e.index, e.data, e.type) for e in disk.entries]
        state = disk.hard_state
        self.node = RawNode(
            Config(self.id, self.world.random.randrange, max_message_size=200, max_inflight=4, max_apply_size=100),
            hard_state=HardState(state.term, state.vote, state.commit),
            snapshot=disk.snapshot,
            entries=entries,
            conf=self.machine.conf,
            applied=self.machine.applied,
        )

    def crash(self) -> None:
        if self.syncing is not None and self.world.chance(0.5):
            self.disk.sync(self.syncing)  # it had reached the disk, and nobody will ever have known
        self.node = self.syncing = None
        self.reads.clear()
        self.snapshots.clear()

    def work(self) -> None:
        """Work off everything that is ready, until a sync takes its time or the seed says that the process ends here."""
        try:
            while self.node is not None and self.syncing is None and self.node.has_ready():
                self._round(self.node.ready())
        except Crashed:
            self.world.note(f"member {self.id} crashes in a round")
            self.crash()

    def _round(self, ready: Ready) -> None:
        world = self.world
        world.send(self, ready.messages)
        world.maybe_crash()  # nothing of this round is on the disk
        if ready.snapshot is not None:
            self._install(ready)
        elif ready.must_sync and world.chance(world.slow_sync):
            self.syncing, self.synced_at = ready, world.now + world.random.randint(1, 6)
            return
        elif ready.must_sync:
            self.disk.sync(ready)
        self._finish(ready)

    def _install(self, ready: Ready) -> None:
        """In the order of the real one: the received file, the log's word, then the state in its place."""
        assert ready.snapshot is not None
        state = self.snapshots.pop(ready.snapshot.index)
        self.disk.received[ready.snapshot.index] = state
        self.disk.sync(ready)
        self.world.maybe_crash()  # the log starts behind a state that is not there yet
        self.disk.commit(state)
        self.disk.received.clear()
        self.machine = state.copy()
        self.world.check_state(self)

    def sync_ends(self) -> None:
        """The disk has it; what has arrived meanwhile is in the core already."""
        ready, self.syncing = self.syncing, None
        assert ready is not None
        self.disk.sync(ready)
        try:
            self._finish(ready)
        except Crashed:
            self.world.note(f"member {self.id} crashes behind a sync")
            self.crash()
            return
        self.work()

    def _finish(self, ready: Ready) -> None:
        world = self.world
        world.maybe_crash()  # synced, and nobody knows
        world.send(self, ready.promises)
        world.maybe_crash()  # everybody knows, and we do not
        for entry in ready.committed:
            self._apply(entry)
        for read in ready.read_states:
            asked_at = self.reads.pop(read.context, None)
            if asked_at is not None:
                world.check_read(self, read.index, asked_at)
        if world.chance(0.2):
            self.disk.commit(self.machine)
            if world.chance(0.3):
                self.disk.forget(self.machine.applied, self.machine.term, self.machine.conf)
        assert self.node is not None
        self.node.advance()

    def _apply(self, entry: Entry) -> None:
        assert self.node is not None
        machine = self.machine
        if entry.index != machine.applied + 1:
            raise Violation(f"member {self.id} applies entry {entry.index} after {machine.applied}")
        machine.applied, machine.term = entry.index, entry.term
        machine.data.append(entry.data if entry.type == EntryType.NORMAL else b"conf:" + entry.data)
        if entry.type == EntryType.CONF_CHANGE:
            machine.conf = self.node.apply_conf_change(decode_conf_change(entry.data))
        self.world.check_applied(self, entry)

    def compact(self) -> None:
        """Forget log in memory, as a member does after a checkpoint."""
        assert self.node is not None
        self.disk.commit(self.machine)
        if self.syncing is None:  # the log takes one thing at a time
            self.disk.forget(self.machine.applied, self.machine.term, self.machine.conf)
        self.node.compact(max(0, self.node.raft.log.applied - self.world.random.randrange(4)))


class World:
    """The cluster and its bad luck."""

    def __init__(self, seed: int, size: int = 3, *, calm: bool = False) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = 0
        self.steps = 0
        self.calm = calm
        self.drop = 0.0 if calm else self.random.choice([0.0, 0.02, 0.1, 0.3])
        self.duplicate = 0.0 if calm else self.random.choice([0.0, 0.05])
        self.delay = 1 if calm else self.random.choice([1, 3, 12])
        self.crash_chance = 0.0 if calm else self.random.choice([0.0, 0.001, 0.01])
        self.slow_sync = 0.0 if calm else self.random.choice([0.0, 0.2, 0.9])
        self.crashing = False
        self.blocked: set[tuple[int, int]] = set()
        self._queue: list[tuple[int, int, bytes, Machine | None]] = []
        self._sent = 0
        self.history: list[str] = []
        self.leaders: dict[int, int] = {}  # term -> who led in it
        self.applied: dict[int, tuple[int, bytes, int]] = {}  # index -> the entry that somebody applied
        self.committed_in: dict[int, int] = {}  # index -> a term in which it was known to be committed
        self.acknowledged = 1  # the highest index that anybody has applied
        self.proposed = 0
        self.reads_confirmed = 0
        voters = list(range(1, size + 1))
        self.processes: dict[int, Process] = {}
        for id in voters:
            start = Machine(1, 1, [b""], ConfState(list(voters), []))
            disk = Disk(HardState(1, 0, 1), Snapshot(1, 1, ConfState(list(voters), [])), [], start)
            self.processes[id] = Process(self, id, disk)
            self.processes[id].start()
        self.applied[1] = (1, b"", 0)
        self.next_id = size + 1

    # ---- luck

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def maybe_crash(self) -> None:
        if self.crashing and self.chance(self.crash_chance):
            raise Crashed

    def note(self, what: str) -> None:
        self.history.append(f"{self.now}: {what}")

    def alive(self) -> list[Process]:
        return [p for p in self.processes.values() if p.node is not None]

    # ---- network

    def send(self, sender: Process, messages: list[Message]) -> None:
        for message in messages:
            state: Machine | None = None
            if message.type == MessageType.SNAPSHOT:
                # The state goes along as it is now, which may be further than the message says: as in the real one.
                state = sender.machine.copy()
                message.snapshot = Snapshot(state.applied, state.term, state.conf)
                assert sender.node is not None
                delivered = not self.chance(self.drop)
                self._post(message, state, lost=not delivered)
                status = Message(MessageType.SNAPSHOT_STATUS, to=sender.id, sender=message.to, reject=not delivered)
                self._push(status, None, self.random.randint(1, self.delay * 3))
                continue
            self._post(message, state)

    def _post(self, message: Message, state: Machine | None, lost: bool = False) -> None:
        if lost or self.chance(self.drop) or (message.sender, message.to) in self.blocked:
            return
        self._push(message, state, self.random.randint(1, self.delay))
        if self.chance(self.duplicate):
            self._push(message, state, self.random.randint(1, self.delay * 4))

    def _push(self, message: Message, state: Machine | None, after: int) -> None:
        self._sent += 1
        heapq.heappush(self._queue, (self.now + after, self._sent, encode_message(message), state))

    def _deliver(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            _, _, data, state = heapq.heappop(self._queue)
            message = decode_message(data)
            target = self.processes.get(message.to)
            if target is None or target.node is None:
                continue
            if target.paused_until > self.now:
                self._push(message, state, target.paused_until - self.now)
                continue
            if message.type != MessageType.SNAPSHOT_STATUS and (message.sender, message.to) in self.blocked:
                continue
            if state is not None:
                target.snapshots[state.applied] = state.copy()
            try:
                target.node.step(message)
            except ProposalDropped:
                pass
            self.check_members()
            target.work()
            self.check_members()

    # ---- time

    def step(self) -> None:
        """One unit of time: every member ticks now and then, messages arrive, something may happen."""
        self.now += 1
        self._deliver()
        for process in list(self.processes.values()):
            if process.node is None or process.paused_until > self.now:
                continue
            if process.syncing is not None and process.synced_at <= self.now:
                process.sync_ends()
                self.check_members()
            if process.node is None:
                continue
            if self.chance(0.25 * process.speed):
                process.node.tick()
                process.work()
            self.check_members()

    def propose(self) -> bool:
        """Somebody asks a member, any member, for a write."""
        process = self.random.choice(self.alive()) if self.alive() else None
        if process is None or process.node is None:
            return False
        self.proposed += 1
        try:
            process.node.propose(b"%d" % self.proposed)
        except ProposalDropped:
            return False
        process.work()
        return True

    def read(self) -> None:
        """Somebody asks a member for a linearizable read; checked when it is confirmed."""
        process = self.random.choice(self.alive()) if self.alive() else None
        if process is None or process.node is None:
            return
        context = self.random.randbytes(8)
        process.reads[context] = self.acknowledged
        process.node.read_index(context)
        process.work()

    def change_membership(self) -> None:
        leader = self.leader()
        if leader is None or leader.node is None:
            return
        raft = leader.node.raft
        members = sorted(raft.members())
        choice = self.random.random()
        if choice < 0.4 and len(members) < 5:
            id = self.next_id
            self.next_id += 1
            kind = self.random.choice([ConfChangeType.ADD_LEARNER, ConfChangeType.ADD_VOTER])
            change = ConfChange(kind, id)
            self.processes[id] = Process(self, id, Disk())
            self.processes[id].start()
        elif choice < 0.7 and raft.learners:
            change = ConfChange(ConfChangeType.ADD_VOTER, self.random.choice(sorted(raft.learners)))
        elif len(raft.voters) > 2:
            change = ConfChange(ConfChangeType.REMOVE, self.random.choice(members))
        else:
            return
        try:
            leader.node.propose_conf_change(change)
        except ProposalDropped:
            return
        self.note(f"member {leader.id} proposes {change.type.name} {change.node}")
        leader.work()

    def leader(self) -> Process | None:
        """Whoever leads in the highest term."""
        leaders = [p for p in self.alive() if p.node is not None and p.node.raft.role == Role.LEADER]
        return max(leaders, key=lambda p: p.node.raft.term if p.node else 0, default=None)

    def heal(self) -> None:
        """The end of all bad luck."""
        self.drop = self.duplicate = self.slow_sync = 0.0
        self.delay = 1
        self.crashing = False
        self.blocked.clear()
        for process in self.processes.values():
            process.paused_until, process.speed = 0, 1.0
            if process.node is None:
                process.start()

    # ---- what must hold

    def fail(self, guarantee: str) -> Violation:
        recent = "\n  ".join(self.history[-15:])
        return Violation(
            f"{guarantee}\nsee it again: python -m tests.etcd_raft.simulator --seed {self.seed} --steps {self.steps}\n  {recent}"
        )

    def check_members(self) -> None:
        for process in self.processes.values():
            if process.node is None:
                continue
            raft = process.node.raft
            if raft.role == Role.LEADER:
                known = self.leaders.get(raft.term)
                if known is None:
                    self.leaders[raft.term] = process.id
                    self._check_complete(process)
                elif known != process.id:
                    raise self.fail(f"Election Safety broke: {known} and {process.id} both lead in term {raft.term}")
            if process.syncing is None and raft.log.pending_snapshot is None:
                conf = process.machine.conf
                if (raft.voters, raft.learners) != (set(conf.voters), set(conf.learners)):
                    raise self.fail(
                        f"the core of member {process.id} thinks of {raft.voters} and {raft.learners}, its state says {conf}"
                    )
            disk = process.disk.hard_state
            if raft.term < disk.term:
                raise self.fail(f"the term of member {process.id} went back from {disk.term} to {raft.term}")

    def _check_complete(self, process: Process) -> None:
        """A new leader has every entry that had been committed in an earlier term.

        Not in a later one: a member that stood still may come to lead a term that is over for all the others.
        """
        assert process.node is not None
        log, term = process.node.raft.log, process.node.raft.term
        for index, (entry_term, _, _) in self.applied.items():
            if self.committed_in.get(index, term) >= term or index < log.first_index:
                continue
            if log.term(index) != entry_term:
                raise self.fail(
                    f"Leader Completeness broke: {process.id} leads in term {term} without entry {index}, which was "
                    f"committed in term {self.committed_in[index]} or before"
                )

    def check_applied(self, process: Process, entry: Entry) -> None:
        known = self.applied.setdefault(entry.index, (entry.term, entry.data, entry.type))
        if known != (entry.term, entry.data, entry.type):
            raise self.fail(
                f"State Machine Safety broke: {process.id} applies {entry.term, entry.data} at {entry.index}, "
                f"another had applied {known}"
            )
        assert process.node is not None
        self.committed_in.setdefault(entry.index, process.node.raft.term)
        self.acknowledged = max(self.acknowledged, entry.index)

    def check_state(self, process: Process) -> None:
        """A state taken over from a leader is what the log says."""
        machine = process.machine
        for index in range(1, machine.applied + 1):
            term, data, kind = self.applied[index]
            expected = data if kind == EntryType.NORMAL else b"conf:" + data
            if machine.data[index - 1] != expected:
                raise self.fail(
                    f"the state that {process.id} took over differs from the log at entry {index} of term {term}"
                )

    def check_read(self, process: Process, index: int, asked_at: int) -> None:
        self.reads_confirmed += 1
        if index < asked_at:
            raise self.fail(
                f"Linearizability broke: a read at {process.id} may be answered at {index}, "
                f"{asked_at} had been acknowledged when it was asked for"
            )


def bad_luck(world: World) -> None:
    """Let something happen, or not."""
    roll, random_ = world.random.random(), world.random
    if roll < 0.15:
        world.propose()
    elif roll < 0.20:
        world.read()
    elif roll < 0.206:
        world.change_membership()
    elif roll < 0.210 and world.alive():
        random_.choice(world.alive()).compact()
    if world.calm:
        return
    ids = sorted(world.processes)
    if roll > 0.997:
        world.blocked = {(a, b) for a in ids for b in ids if a != b and world.chance(0.3)}
        world.note(f"links broken: {sorted(world.blocked)}")
    elif roll > 0.994:
        side = {id for id in ids if world.chance(0.5)}
        world.blocked = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}
        world.note(f"partition: {sorted(side)}")
    elif roll > 0.988:
        world.blocked = set()
        world.note("all links work")
    elif roll > 0.985 and world.alive():
        victim = random_.choice(world.alive())
        victim.crash()
        world.note(f"member {victim.id} is killed")
    elif roll > 0.975:
        for process in world.processes.values():
            if process.node is None and world.chance(0.7):
                process.start()
                world.note(f"member {process.id} starts")
    elif roll > 0.972 and world.alive():
        victim = random_.choice(world.alive())
        victim.paused_until = world.now + random_.randint(5, 120)
        world.note(f"member {victim.id} stands still until {victim.paused_until}")
    elif roll > 0.970:
        random_.choice(list(world.processes.values())).speed = random_.choice([0.3, 1.0, 3.0])
    elif roll > 0.968 and world.alive():
        victim = random_.choice(world.alive())
        leap = random_.randint(2, 40)
        world.note(f"the clock of member {victim.id} jumps by {leap} ticks")
        for _ in range(leap):
            if victim.node is not None:
                victim.node.tick()
        victim.work()
    elif roll > 0.965 and len(ids) > 1:
        a, b = random_.sample(ids, 2)
        process = world.processes[a]
        if process.node is not None:
            process.node.report_unreachable(b)


def run(seed: int, steps: int = 600) -> World:
    """One life of a cluster: trouble, then peace, in which it has to become whole again."""
    chooser = random.Random(seed)
    world = World(seed, size=chooser.choice([1, 2, 3, 3, 3, 4, 5]))
    world.crashing, world.steps = True, steps
    for _ in range(steps):
        world.step()
        bad_luck(world)
    world.heal()
    _require_recovery(world)
    return world


def _require_recovery(world: World) -> None:
    """After healing somebody leads, a write is committed, and all members hold the same."""
    goal: int | None = None
    for step in range(6000):
        world.step()
        if step % 500 == 499:
            goal = None  # whoever took the write may have lost the lead before anybody else had it: ask again
        leader = world.leader()
        if leader is None or leader.node is None:
            continue
        raft = leader.node.raft
        if goal is None and raft.committed_in_term():
            try:
                leader.node.propose(b"healed")
            except ProposalDropped:
                continue
            goal = raft.log.last_index
            leader.work()
        members = [world.processes[id] for id in raft.members()]
        if goal is not None and all(p.node is not None and p.machine.applied >= goal for p in members):
            return
    state = {
        p.id: (p.node.raft.role.name, p.node.raft.term, p.machine.applied, sorted(p.node.raft.voters))
        for p in world.alive()
        if p.node is not None
    }
    raise world.fail(f"Liveness broke: 6000 steps after healing the members stand at {state}")
