"""Terms, roles and votes: the part of Raft that is the same whatever role a member plays.

``step`` is the only way in for messages, ``tick`` for time. What comes out collects in ``messages`` (may be sent at once),
``promises`` (only after what they promise is on disk) and ``read_states``. A message to oneself is a promise like any
other: a member counts its own vote or copy only after its disk has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from etcd_raft.raft import follower, leader
from etcd_raft.raft.log import RaftLog
from etcd_raft.raft.messages import (
    LOCAL,
    RESPONSES,
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
from etcd_raft.raft.progress import Progress, VoteResult, vote_result
from etcd_raft.raft.reads import ReadOnly, ReadState

CAMPAIGN_TRANSFER = b"transfer"  # a vote request that was asked for by the leader itself: leases do not stop it


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class ProposalDropped(Exception):
    """The proposal was not taken and will not happen; the text says why."""


@dataclass(slots=True)
class Config:
    """``random(n)`` returns a number in ``[0, n)``; ticks are whatever the driver calls one."""

    id: int
    random: Callable[[int], int]
    election_tick: int = 10
    heartbeat_tick: int = 1
    max_message_size: int = 1 << 20
    max_inflight: int = 256
    max_uncommitted_size: int = 64 << 20
    max_apply_size: int = 4 << 20
    check_quorum: bool = True
    pre_vote: bool = True


class Raft:
    """One member."""

    def __init__(self, config: Config, log: RaftLog, hard_state: HardState, conf: ConfState) -> None:
        self.config = config
        self.id = config.id
        self.log = log
        self.term = hard_state.term
        self.vote = hard_state.vote
        log.commit_to(min(hard_state.commit, log.last_index))
        self.voters: set[int] = set(conf.voters)
        self.learners: set[int] = set(conf.learners)
        self.role = Role.FOLLOWER
        self.leader = 0
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}
        self.messages: list[Message] = []
        self.promises: list[Message] = []
        self.read_states: list[ReadState] = []
        self.read_only = ReadOnly()
        self.waiting_reads: list[Message] = []  # asked of a leader that has not committed in its term yet
        self.transferee = 0
        self.pending_conf_index = 0
        self.uncommitted_size = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = config.election_tick
        self._rebuild_progress()
        self.become_follower(self.term, 0)

    # ---- facts

    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.committed)

    def conf_state(self) -> ConfState:
        return ConfState(sorted(self.voters), sorted(self.learners))

    def is_singleton(self) -> bool:
        return self.voters == {self.id}

    def members(self) -> set[int]:
        return self.voters | self.learners

    def promotable(self) -> bool:
        return self.id in self.voters and self.log.pending_snapshot is None

    def committed_in_term(self) -> bool:
        """A leader knows what is committed only once it has committed an entry of its own term (paper 5.4.2)."""
        return self.log.term(self.log.committed) == self.term

    # ---- sending

    def send(self, message: Message) -> None:
        message.sender = message.sender or self.id
        kind = message.type
        if kind in (MessageType.VOTE, MessageType.VOTE_RESPONSE, MessageType.PRE_VOTE, MessageType.PRE_VOTE_RESPONSE):
            assert message.term, f"{kind.name} needs the term that it is about"
        elif kind not in (MessageType.PROPOSE, MessageType.READ_INDEX, MessageType.TRANSFER_LEADER):
            # What is forwarded to a leader is of nobody's term.
            message.term = self.term
        promise = kind in (
            MessageType.APPEND_RESPONSE,
            MessageType.VOTE_RESPONSE,
            MessageType.PRE_VOTE_RESPONSE,
            MessageType.VOTE,
            MessageType.PRE_VOTE,
            MessageType.HEARTBEAT_RESPONSE,
        )
        (self.promises if promise or message.to == self.id else self.messages).append(message)

    # ---- time

    def tick(self) -> None:
        if self.role == Role.LEADER:
            self._tick_leader()
            return
        self.election_elapsed += 1
        if self.promotable() and self.election_elapsed >= self.election_timeout:
            self.election_elapsed = 0
            self.step(Message(MessageType.HUP, sender=self.id))

    def _tick_leader(self) -> None:
        self.heartbeat_elapsed += 1
        self.election_elapsed += 1
        if self.election_elapsed >= self.config.election_tick:
            self.election_elapsed = 0
            if self.config.check_quorum:
                self.step(Message(MessageType.CHECK_QUORUM, sender=self.id))
            if self.role == Role.LEADER and self.transferee:
                self.transferee = 0  # it did not take over in time: go on leading
        if self.role == Role.LEADER and self.heartbeat_elapsed >= self.config.heartbeat_tick:
            self.heartbeat_elapsed = 0
            self.step(Message(MessageType.BEAT, sender=self.id))

    # ---- roles

    def _reset(self, term: int) -> None:
        if self.term != term:
            self.term = term
            self.vote = 0
        self.leader = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = self.config.election_tick + self.config.random(self.config.election_tick)
        self.transferee = 0
        self.votes = {}
        self.pending_conf_index = 0
        self.uncommitted_size = 0
        self.read_only = ReadOnly()
        self.waiting_reads = []
        self._rebuild_progress()

    def _rebuild_progress(self) -> None:
        """Forget what was known of the others: the new leader finds out for itself."""
        self.progress = {
            member: Progress(self.log.last_index + 1, self.config.max_inflight, member in self.learners)
            for member in self.members()
        }
        if self.id in self.progress:
            self.progress[self.id].match = self.log.stable

    def become_follower(self, term: int, leader: int) -> None:
        self._reset(term)
        self.role = Role.FOLLOWER
        self.leader = leader

    def _become_candidate(self) -> None:
        assert self.role != Role.LEADER, "a leader does not stand for election"
        self._reset(self.term + 1)
        self.vote = self.id
        self.role = Role.CANDIDATE

    def _become_pre_candidate(self) -> None:
        """Asks whether an election could be won, and changes neither term nor vote (thesis 9.6)."""
        assert self.role != Role.LEADER, "a leader does not stand for election"
        self.votes = {}
        self.leader = 0
        self.election_elapsed = 0
        self.role = Role.PRE_CANDIDATE

    def become_leader(self) -> None:
        assert self.role != Role.FOLLOWER, "a follower does not become leader without an election"
        self._reset(self.term)
        self.leader = self.id
        self.role = Role.LEADER
        mine = self.progress[self.id]
        mine.become_replicate()
        mine.recent_active = True
        # There may be a membership change among the entries not applied yet: no other one before all are, and before the first
        # entry of this term is (Ongaro 2015: else two leaders could change the membership away from each other).
        self.pending_conf_index = self.log.last_index + 1
        assert self.append_entries([Entry(0, 0)]), "the first entry of a term is never refused"

    def append_entries(self, entries: Sequence[Entry]) -> bool:
        """Put a leader's new entries into its log; False when too much is uncommitted already."""
        size = sum(len(entry.data) for entry in entries)
        if size and self.uncommitted_size and self.uncommitted_size + size > self.config.max_uncommitted_size:
            return False
        self.uncommitted_size += size
        index = self.log.last_index
        for entry in entries:
            index += 1
            entry.term, entry.index = self.term, index
        self.log.append(entries)
        self.send(Message(MessageType.APPEND_RESPONSE, to=self.id, index=index))
        return True

    # ---- elections

    def _hup(self, transfer: bool = False) -> None:
        if self.role == Role.LEADER or not self.promotable() or self._has_unapplied_conf_change():
            return
        if self.config.pre_vote and not transfer:
            self._become_pre_candidate()
            self._ask_for_votes(MessageType.PRE_VOTE, self.term + 1, b"")
        else:
            self._become_candidate()
            self._ask_for_votes(MessageType.VOTE, self.term, CAMPAIGN_TRANSFER if transfer else b"")

    def _has_unapplied_conf_change(self) -> bool:
        """Standing for election under a membership that is already out of date could split the majority."""
        low = max(self.log.applied, self.log.offset) + 1
        entries = self.log.slice(low, self.log.committed + 1)
        return any(entry.type == EntryType.CONF_CHANGE for entry in entries)

    def _ask_for_votes(self, kind: MessageType, term: int, context: bytes) -> None:
        answer = MessageType.VOTE_RESPONSE if kind == MessageType.VOTE else MessageType.PRE_VOTE_RESPONSE
        for voter in sorted(self.voters):
            if voter == self.id:
                self.send(Message(answer, to=self.id, term=term))
                continue
            last, last_term = self.log.last_index, self.log.last_term
            self.send(Message(kind, to=voter, term=term, index=last, log_term=last_term, context=context))

    def _on_vote_response(self, m: Message) -> None:
        self.votes.setdefault(m.sender, not m.reject)
        match vote_result(self.voters, self.votes):
            case VoteResult.WON:
                if self.role == Role.PRE_CANDIDATE:
                    self._become_candidate()
                    self._ask_for_votes(MessageType.VOTE, self.term, b"")
                else:
                    self.become_leader()
                    leader.broadcast_append(self)
            case VoteResult.LOST:
                self.become_follower(self.term, 0)  # a lost pre-vote has not changed the term

    def _on_vote_request(self, m: Message) -> None:
        pre = m.type == MessageType.PRE_VOTE
        answer = MessageType.PRE_VOTE_RESPONSE if pre else MessageType.VOTE_RESPONSE
        free = self.vote == m.sender or (self.vote == 0 and self.leader == 0) or (pre and m.term > self.term)
        if free and self.log.is_up_to_date(m.index, m.log_term):
            # A pre-vote is about a term in the future: the answer carries that term, else it would look stale.
            self.send(Message(answer, to=m.sender, term=m.term))
            if not pre:
                self.election_elapsed = 0
                self.vote = m.sender
        else:
            self.send(Message(answer, to=m.sender, term=self.term, reject=True))

    # ---- messages

    def step(self, m: Message) -> None:
        """Take one message. Raises ``ProposalDropped`` for a proposal that cannot be taken."""
        if m.term > self.term:
            if not self._accept_higher_term(m):
                return
        elif m.term < self.term and not self._is_termless(m):
            self._answer_stale(m)
            return
        match m.type:
            case MessageType.HUP:
                self._hup()
            case MessageType.VOTE | MessageType.PRE_VOTE:
                self._on_vote_request(m)
            case _:
                if self.role == Role.LEADER:
                    leader.step(self, m)
                elif self.role == Role.FOLLOWER:
                    follower.step(self, m)
                else:
                    self._step_candidate(m)

    @staticmethod
    def _is_termless(m: Message) -> bool:
        asked = (MessageType.PROPOSE, MessageType.READ_INDEX, MessageType.TRANSFER_LEADER)
        return m.term == 0 and (m.type in LOCAL or m.type in asked)

    def _accept_higher_term(self, m: Message) -> bool:
        """Move to the sender's term, as far as its message justifies that; False when it is to be ignored."""
        if m.type in (MessageType.VOTE, MessageType.PRE_VOTE):
            in_lease = self.config.check_quorum and self.leader and self.election_elapsed < self.config.election_tick
            if in_lease and m.context != CAMPAIGN_TRANSFER:
                return False  # we hear from a leader: someone who does not may not depose it (thesis 4.2.3)
        if m.type == MessageType.PRE_VOTE:
            return True  # never a reason to change our term
        if m.type == MessageType.PRE_VOTE_RESPONSE and not m.reject:
            return True  # the term that we asked about: we get there when a majority agrees
        from_leader = m.type in (MessageType.APPEND, MessageType.HEARTBEAT, MessageType.SNAPSHOT)
        self.become_follower(m.term, m.sender if from_leader else 0)
        return True

    def _answer_stale(self, m: Message) -> None:
        if (self.config.check_quorum or self.config.pre_vote) and m.type in (MessageType.HEARTBEAT, MessageType.APPEND):
            # A leader of an earlier term cannot be told by our vote requests (leases, pre-vote): tell it our term now,
            # or a member that came back from a partition with a higher term would stay outside for ever.
            self.send(Message(MessageType.APPEND_RESPONSE, to=m.sender))
        elif m.type == MessageType.PRE_VOTE:
            self.send(Message(MessageType.PRE_VOTE_RESPONSE, to=m.sender, term=self.term, reject=True))

    def _step_candidate(self, m: Message) -> None:
        mine = MessageType.PRE_VOTE_RESPONSE if self.role == Role.PRE_CANDIDATE else MessageType.VOTE_RESPONSE
        match m.type:
            case MessageType.PROPOSE:
                raise ProposalDropped("no leader")
            case MessageType.APPEND | MessageType.HEARTBEAT | MessageType.SNAPSHOT:
                self.become_follower(m.term, m.sender)  # same term: it has won
                follower.step(self, m)
            case kind if kind == mine:
                self._on_vote_response(m)

    def transfer_campaign(self) -> None:
        """The leader told us to take over: no pre-vote, because it knows that we may."""
        self._hup(transfer=True)

    # ---- membership

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Take over a committed membership change; returns the membership from now on."""
        match change.type:
            case ConfChangeType.ADD_VOTER:
                self.learners.discard(change.node)
                self.voters.add(change.node)
            case ConfChangeType.ADD_LEARNER:
                if change.node not in self.voters:  # a voter is never demoted: remove it and add it again
                    self.learners.add(change.node)
            case ConfChangeType.REMOVE:
                self.voters.discard(change.node)
                self.learners.discard(change.node)
        self._membership_changed()
        return self.conf_state()

    def _membership_changed(self) -> None:
        for gone in set(self.progress) - self.members():
            del self.progress[gone]
        for member in self.members():
            known = self.progress.get(member)
            if known is None:
                fresh = Progress(self.log.last_index + 1, self.config.max_inflight)
                # Counted as alive from its first moment, or check-quorum could depose us before it ever answers.
                fresh.recent_active = True
                known = self.progress[member] = fresh
            known.is_learner = member in self.learners
        if self.role != Role.LEADER:
            return
        if self.id not in self.voters:
            self.become_follower(self.term, 0)  # removed: lead no further than the entry that says so
            return
        leader.after_membership_change(self)

    def restore_conf(self, snapshot: Snapshot) -> None:
        self.voters = set(snapshot.conf.voters)
        self.learners = set(snapshot.conf.learners)
        self._rebuild_progress()

    @staticmethod
    def is_response(m: Message) -> bool:
        return m.type in RESPONSES
