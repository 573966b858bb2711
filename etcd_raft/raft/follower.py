"""What a follower does with a message: it copies what its leader says, and hands the rest on to it."""

from typing import TYPE_CHECKING

from etcd_raft.raft.messages import Message, MessageType
from etcd_raft.raft.reads import ReadState

if TYPE_CHECKING:
    from etcd_raft.raft.core import Raft


def step(raft: "Raft", m: Message) -> None:
    match m.type:
        case MessageType.PROPOSE | MessageType.READ_INDEX | MessageType.TRANSFER_LEADER:
            _forward(raft, m)
        case MessageType.APPEND:
            _follow(raft, m.sender)
            _on_append(raft, m)
        case MessageType.HEARTBEAT:
            _follow(raft, m.sender)
            raft.log.commit_to(m.commit)
            raft.send(Message(MessageType.HEARTBEAT_RESPONSE, to=m.sender, context=m.context))
        case MessageType.SNAPSHOT:
            _follow(raft, m.sender)
            _on_snapshot(raft, m)
        case MessageType.TIMEOUT_NOW:
            raft.transfer_campaign()
        case MessageType.UNREACHABLE if m.sender == raft.leader:
            _suspect_leader(raft)
        case MessageType.READ_INDEX_RESPONSE:
            raft.read_states.append(ReadState(m.index, m.context))


def _follow(raft: "Raft", sender: int) -> None:
    assert raft.leader in (0, sender), f"two leaders in term {raft.term}: {raft.leader:x} and {sender:x}"
    raft.election_elapsed = 0
    raft.leader = sender


def _suspect_leader(raft: "Raft") -> None:
    """The transport knows that the leader's process is gone: do not wait for the silence to last an election timeout.

    Forgetting the leader ends the lease that makes us refuse others' pre-votes; standing for election after a few ticks of a
    random wait, not at once, keeps the followers from splitting the vote. All of it is about liveness: a vote is still given
    once a term, and only to a log that is up to date, so being wrong costs an election and nothing else.
    """
    raft.leader = 0
    quarter = max(1, raft.config.election_tick // 4)
    raft.election_elapsed = max(raft.election_elapsed, raft.election_timeout - 1 - raft.config.random(quarter))


def _forward(raft: "Raft", m: Message) -> None:
    from etcd_raft.raft.core import ProposalDropped  # here, because core imports this module

    if raft.leader:
        m.to, m.sender = raft.leader, m.sender or raft.id
        raft.send(m)
    elif m.type == MessageType.PROPOSE:
        raise ProposalDropped("no leader")
    # A read or a transfer without a leader goes nowhere; whoever asked asks again.


def _on_append(raft: "Raft", m: Message) -> None:
    log = raft.log
    if m.index < log.committed:  # an old append: everything in it is here
        raft.send(Message(MessageType.APPEND_RESPONSE, to=m.sender, index=log.committed))
        return
    last = log.maybe_append(m.index, m.log_term, m.commit, m.entries)
    if last is not None:
        raft.send(Message(MessageType.APPEND_RESPONSE, to=m.sender, index=last))
        return
    # Refuse, and say where the logs may agree at the latest, so that the leader skips whole terms instead of stepping back
    # one entry a round trip.
    hint, hint_term = log.find_conflict_by_term(min(m.index, log.last_index), m.log_term)
    raft.send(
        Message(
            MessageType.APPEND_RESPONSE, to=m.sender, index=m.index, reject=True, reject_hint=hint, log_term=hint_term
        )
    )


def _on_snapshot(raft: "Raft", m: Message) -> None:
    snapshot, log = m.snapshot, raft.log
    assert snapshot is not None, "a snapshot message without a snapshot"
    if snapshot.index > log.committed and raft.id in (*snapshot.conf.voters, *snapshot.conf.learners):
        if log.matches(snapshot.index, snapshot.term):
            log.commit_to(snapshot.index)  # we have all of it as entries: no need to start over
        else:
            log.restore(snapshot)
            raft.restore_conf(snapshot)
            raft.send(Message(MessageType.APPEND_RESPONSE, to=m.sender, index=log.last_index))
            return
    raft.send(Message(MessageType.APPEND_RESPONSE, to=m.sender, index=log.committed))
