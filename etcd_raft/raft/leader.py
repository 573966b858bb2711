"""What a leader does: it replicates, counts copies, confirms reads, hands over."""

from typing import TYPE_CHECKING

from etcd_raft.raft.codec import decode_conf_change
from etcd_raft.raft.messages import ConfChangeType, Entry, EntryType, Message, MessageType, Snapshot
from etcd_raft.raft.progress import Progress, ProgressState, committed_index, quorum
from etcd_raft.raft.reads import ReadState

if TYPE_CHECKING:
    from etcd_raft.raft.core import Raft


def step(raft: "Raft", m: Message) -> None:
    match m.type:
        case MessageType.BEAT:
            broadcast_heartbeat(raft)
        case MessageType.CHECK_QUORUM:
            _check_quorum(raft)
        case MessageType.PROPOSE:
            _on_propose(raft, m)
        case MessageType.READ_INDEX:
            _on_read_index(raft, m)
        case _:
            progress = raft.progress.get(m.sender)
            if progress is None:
                return  # from a member that is gone
            _on_member_message(raft, m, progress)


def _on_member_message(raft: "Raft", m: Message, progress: Progress) -> None:
    match m.type:
        case MessageType.APPEND_RESPONSE:
            _on_append_response(raft, m, progress)
        case MessageType.HEARTBEAT_RESPONSE:
            _on_heartbeat_response(raft, m, progress)
        case MessageType.SNAPSHOT_STATUS:
            _on_snapshot_status(m, progress)
        case MessageType.UNREACHABLE:
            if progress.state == ProgressState.REPLICATE:
                progress.become_probe()  # what was in flight is lost: find out what arrived
        case MessageType.TRANSFER_LEADER:
            _on_transfer(raft, m.sender, progress)


# ---- replication


def broadcast_append(raft: "Raft") -> None:
    for member in sorted(raft.progress):
        if member != raft.id:
            send_append(raft, member)


def send_append(raft: "Raft", to: int, send_if_empty: bool = True) -> bool:
    """Send what a member lacks, as far as its window allows; whether anything was sent."""
    progress = raft.progress[to]
    if progress.paused():
        return False
    log = raft.log
    previous = progress.next - 1
    previous_term = log.term(previous)
    if previous_term is None:
        return _send_snapshot(raft, to, progress)
    entries: list[Entry] = []
    if progress.state != ProgressState.REPLICATE or not progress.inflights.full():
        # A full window still lets empty appends through: their refusal is how the loss of all in flight shows.
        entries = log.slice(progress.next, log.last_index + 1, raft.config.max_message_size)
    if not entries and not send_if_empty:
        return False
    raft.send(
        Message(
            MessageType.APPEND,
            to=to,
            index=previous,
            log_term=previous_term,
            entries=list(entries),
            commit=log.committed,
        )
    )
    progress.sent_entries(len(entries), previous + len(entries))
    return True


def _send_snapshot(raft: "Raft", to: int, progress: Progress) -> bool:
    """The entries that it lacks are compacted: it gets the state as this member has applied it."""
    if not progress.recent_active:
        return False  # it does not answer: a snapshot would be for nobody
    index = raft.log.applied
    term = raft.log.term(index)
    assert term is not None, f"the applied entry {index} is compacted"
    snapshot = Snapshot(index, term, raft.conf_state())
    progress.become_snapshot(index)
    raft.send(Message(MessageType.SNAPSHOT, to=to, snapshot=snapshot))
    return True


def maybe_commit(raft: "Raft") -> bool:
    """Commit what a majority has, if it is of this term (paper 5.4.2: never count copies of older terms)."""
    index = committed_index(raft.voters, {member: p.match for member, p in raft.progress.items()})
    if index <= raft.log.committed or raft.log.term(index) != raft.term:
        return False
    raft.uncommitted_size = max(
        0, raft.uncommitted_size - sum(len(e.data) for e in raft.log.slice(raft.log.committed + 1, index + 1))
    )
    raft.log.commit_to(index)
    return True


def _on_append_response(raft: "Raft", m: Message, progress: Progress) -> None:
    progress.recent_active = True
    if m.reject:
        hint = m.reject_hint
        if m.log_term:
            hint, _ = raft.log.find_conflict_by_term(hint, m.log_term)
        if progress.maybe_decrease(m.index, hint):
            if progress.state == ProgressState.REPLICATE:
                progress.become_probe()
            send_append(raft, m.sender)
        return
    was_paused = progress.paused()
    news = progress.maybe_update(m.index)
    if not news and not (progress.match == m.index and progress.state == ProgressState.PROBE):
        return
    match progress.state:
        case ProgressState.PROBE:
            progress.become_replicate()
        case ProgressState.SNAPSHOT if progress.match + 1 >= raft.log.first_index:
            progress.become_replicate()  # caught up to what is in the log, by whatever way
        case ProgressState.REPLICATE:
            progress.inflights.free_to(m.index)
    if maybe_commit(raft):
        _release_waiting_reads(raft)
        broadcast_append(raft)
    elif was_paused and m.sender != raft.id:
        send_append(raft, m.sender)
    if m.sender != raft.id:
        while send_append(raft, m.sender, send_if_empty=False):
            pass
    if m.sender == raft.transferee and progress.match == raft.log.last_index:
        raft.send(Message(MessageType.TIMEOUT_NOW, to=m.sender))


def _on_snapshot_status(m: Message, progress: Progress) -> None:
    if progress.state != ProgressState.SNAPSHOT:
        return
    if m.reject:
        progress.pending_snapshot = 0
    progress.become_probe()
    # After a success its answer is on the way, after a failure it needs time: either way wait for a sign of life.
    progress.probe_sent = True


# ---- heartbeats and reads


def broadcast_heartbeat(raft: "Raft") -> None:
    _heartbeat_with(raft, raft.read_only.last_context())


def _heartbeat_with(raft: "Raft", context: bytes) -> None:
    for member in sorted(raft.progress):
        if member == raft.id:
            continue
        # Never tell a member of commits beyond what we know it to have: it may hold something else there.
        commit = min(raft.progress[member].match, raft.log.committed)
        raft.send(Message(MessageType.HEARTBEAT, to=member, commit=commit, context=context))


def _on_heartbeat_response(raft: "Raft", m: Message, progress: Progress) -> None:
    progress.recent_active = True
    progress.probe_sent = False
    if progress.match < raft.log.last_index or progress.state == ProgressState.PROBE:
        send_append(raft, m.sender)
    if not m.context:
        return
    acks = raft.read_only.acknowledge(m.sender, m.context)
    if len(acks & raft.voters) < quorum(len(raft.voters)):
        return
    for request, index in raft.read_only.advance(m.context):
        _answer_read(raft, request, index)


def _on_read_index(raft: "Raft", m: Message) -> None:
    if not raft.committed_in_term():
        raft.waiting_reads.append(m)
    else:
        _confirm_read(raft, m)


def _confirm_read(raft: "Raft", m: Message) -> None:
    if raft.is_singleton():
        _answer_read(raft, m, raft.log.committed)
        return
    raft.read_only.add(raft.log.committed, m, raft.id)
    _heartbeat_with(raft, m.context)


def _answer_read(raft: "Raft", request: Message, index: int) -> None:
    if request.sender in (0, raft.id):
        raft.read_states.append(ReadState(index, request.context))
    else:
        raft.send(Message(MessageType.READ_INDEX_RESPONSE, to=request.sender, index=index, context=request.context))


def _release_waiting_reads(raft: "Raft") -> None:
    if raft.waiting_reads and raft.committed_in_term():
        waiting, raft.waiting_reads = raft.waiting_reads, []
        for m in waiting:
            _confirm_read(raft, m)


# ---- leading or not


def _check_quorum(raft: "Raft") -> None:
    """Step down when no majority has answered for an election timeout (thesis 6.2)."""
    active = sum(1 for voter in raft.voters if voter == raft.id or raft.progress[voter].recent_active)
    if active < quorum(len(raft.voters)):
        raft.become_follower(raft.term, 0)
        return
    for member, progress in raft.progress.items():
        progress.recent_active = member == raft.id


def _on_transfer(raft: "Raft", target: int, progress: Progress) -> None:
    if progress.is_learner or target in (raft.id, raft.transferee):
        return
    raft.transferee = target
    raft.election_elapsed = 0  # it has one election timeout to take over
    if progress.match == raft.log.last_index:
        raft.send(Message(MessageType.TIMEOUT_NOW, to=target))
    else:
        send_append(raft, target)


# ---- proposals and membership


def _on_propose(raft: "Raft", m: Message) -> None:
    from etcd_raft.raft.core import ProposalDropped  # here, because core imports this module

    if raft.id not in raft.progress:
        raise ProposalDropped("this member has been removed")
    if raft.transferee:
        raise ProposalDropped("leadership is being transferred")
    pending = raft.pending_conf_index
    for position, entry in enumerate(m.entries):
        if entry.type != EntryType.CONF_CHANGE:
            continue
        if pending > raft.log.applied:
            raise ProposalDropped("another membership change is under way")
        pending = raft.log.last_index + 1 + position
    if not raft.append_entries(m.entries):
        raise ProposalDropped("too much is uncommitted")
    raft.pending_conf_index = pending
    broadcast_append(raft)


def after_membership_change(raft: "Raft") -> None:
    """Somebody may have left, so a smaller majority may do; somebody may have come, who knows nothing yet."""
    if maybe_commit(raft):
        _release_waiting_reads(raft)
        broadcast_append(raft)
    else:
        for member in sorted(raft.progress):
            if member != raft.id:
                send_append(raft, member, send_if_empty=False)
    if raft.transferee and raft.transferee not in raft.voters:
        raft.transferee = 0


def would_leave_quorum(raft: "Raft", entry: Entry) -> bool:
    """Whether enough voters are alive after the membership change in ``entry``: asked before proposing it."""
    change = decode_conf_change(entry.data)
    voters = set(raft.voters)
    if change.type == ConfChangeType.REMOVE:
        voters.discard(change.node)
    elif change.type == ConfChangeType.ADD_VOTER:
        voters.add(change.node)
    active = sum(1 for v in voters if v == raft.id or ((p := raft.progress.get(v)) is not None and p.recent_active))
    return bool(voters) and active >= quorum(len(voters))
