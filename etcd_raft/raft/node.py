"""The surface of the core: what a driver calls, and the ``Ready`` that it works off."""

from dataclasses import dataclass, field

from etcd_raft.raft.codec import encode_conf_change
from etcd_raft.raft.core import Config, Raft, Role
from etcd_raft.raft.log import RaftLog
from etcd_raft.raft.messages import ConfChange, ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot
from etcd_raft.raft.reads import ReadState


@dataclass(slots=True)
class Ready:
    """One round of work, see the package's contract."""

    hard_state: HardState | None
    entries: list[Entry]
    snapshot: Snapshot | None
    messages: list[Message]
    promises: list[Message]
    committed: list[Entry]
    read_states: list[ReadState]
    must_sync: bool


@dataclass(slots=True)
class NodeStatus:
    id: int
    term: int
    vote: int
    role: Role
    leader: int
    committed: int
    applied: int
    last_index: int
    transferee: int
    matches: dict[int, int] = field(default_factory=dict)
    active: set[int] = field(default_factory=set)


class RawNode:
    """A member that somebody drives. Not to be used by two tasks at once: nothing in it waits."""

    def __init__(
        self,
        config: Config,
        *,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: list[Entry] | None = None,
        conf: ConfState | None = None,
        applied: int | None = None,
    ) -> None:
        """``snapshot`` stands for the log before ``entries``; ``applied`` is how far the state on disk has got (from the
        snapshot's index on); ``conf`` is the membership as of there, the snapshot's when not given."""
        start = snapshot or Snapshot()
        state = hard_state or HardState()
        log = RaftLog(start, entries or [])
        self.raft = Raft(config, log, state, conf or start.conf)
        if applied is not None and applied > log.applied:
            log.commit_to(applied)  # what was applied had been committed, whatever the last hard state on disk says
            log.applied_to(applied)
        # The commit index may have moved on since the hard state was written: that is no reason to write it again.
        self._hard_state = HardState(state.term, state.vote, self.raft.log.committed)
        self._ready: Ready | None = None

    # ---- in

    def tick(self) -> None:
        self.raft.tick()

    def step(self, message: Message) -> None:
        """A message from another member."""
        self.raft.step(message)

    def campaign(self) -> None:
        """Stand for election now, without waiting for a timeout."""
        self.raft.step(Message(MessageType.HUP, sender=self.raft.id))

    def propose(self, *data: bytes) -> None:
        """Raises ``ProposalDropped`` when it surely will not happen (none of them); no exception does not mean that it will."""
        self._propose(*(Entry(0, 0, one) for one in data))

    def propose_conf_change(self, change: ConfChange) -> None:
        self._propose(Entry(0, 0, encode_conf_change(change), EntryType.CONF_CHANGE))

    def _propose(self, *entries: Entry) -> None:
        self.raft.step(Message(MessageType.PROPOSE, sender=self.raft.id, entries=list(entries)))

    def read_index(self, context: bytes) -> None:
        """Ask from which applied index on a read is linearizable; the answer is a ``ReadState`` with this context."""
        self.raft.step(Message(MessageType.READ_INDEX, sender=self.raft.id, context=context))

    def transfer_leadership(self, to: int) -> None:
        self.raft.step(Message(MessageType.TRANSFER_LEADER, sender=to))

    def report_unreachable(self, member: int) -> None:
        self.raft.step(Message(MessageType.UNREACHABLE, sender=member))

    def report_snapshot(self, member: int, delivered: bool) -> None:
        self.raft.step(Message(MessageType.SNAPSHOT_STATUS, sender=member, reject=not delivered))

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        if self.raft.log.pending_snapshot is not None:
            # A leader's state came while the round with this entry was being synced: its membership is of later than this.
            return self.raft.conf_state()
        return self.raft.apply_conf_change(change)

    # ---- out

    def has_ready(self) -> bool:
        raft = self.raft
        return bool(
            raft.messages
            or raft.promises
            or raft.read_states
            or raft.log.pending_snapshot
            or raft.log.stable < raft.log.last_index
            or self._hard_state_changed()
            or raft.log.to_apply(1)
        )

    def _hard_state_changed(self) -> bool:
        raft, written = self.raft, self._hard_state
        return raft.log.committed != written.commit or raft.term != written.term or raft.vote != written.vote

    def ready(self) -> Ready:
        """What there is to do now. ``advance`` has to follow before the next one."""
        assert self._ready is None, "the last Ready has not been advanced"
        raft, written = self.raft, self._hard_state
        entries = raft.log.unstable()
        must_sync = bool(entries) or raft.term != written.term or raft.vote != written.vote
        ready = Ready(
            hard_state=raft.hard_state() if self._hard_state_changed() else None,
            entries=entries,
            snapshot=raft.log.pending_snapshot,
            messages=raft.messages,
            promises=[m for m in raft.promises if m.to != raft.id] if raft.promises else [],
            committed=raft.log.to_apply(raft.config.max_apply_size),
            read_states=raft.read_states,
            must_sync=must_sync or raft.log.pending_snapshot is not None,
        )
        self._own = [m for m in raft.promises if m.to == raft.id] if raft.promises else []
        raft.messages, raft.promises, raft.read_states = [], [], []
        self._ready = ready
        return ready

    def advance(self) -> None:
        """All of the last ``Ready`` has been done: persisted, sent, applied."""
        ready, self._ready = self._ready, None
        assert ready is not None, "there is no Ready to advance"
        log = self.raft.log
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        if ready.snapshot is not None:
            log.snapshot_stored(ready.snapshot.index)
        if ready.entries:
            log.stable_to(ready.entries[-1].index, ready.entries[-1].term)
        if ready.committed:
            log.applied_to(ready.committed[-1].index)
        for message in self._own:
            self.raft.step(message)

    def compact(self, index: int) -> None:
        """Forget entries up to ``index``: the state on disk has them."""
        self.raft.log.compact(index)

    def status(self) -> NodeStatus:
        raft = self.raft
        status = NodeStatus(
            raft.id, raft.term, raft.vote, raft.role, raft.leader, raft.log.committed, raft.log.applied,
            raft.log.last_index, raft.transferee,
        )  # fmt: skip
        if raft.role == Role.LEADER:
            status.matches = {member: progress.match for member, progress in raft.progress.items()}
            status.active = {m for m, p in raft.progress.items() if p.recent_active or m == raft.id}
        return status
