"""Ongaro's thesis, section by section, as far as ``test_rules`` does not tell its longer stories; and what etcd's Raft adds."""

import pytest

from etcd_raft.raft.core import ProposalDropped, Role
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
from etcd_raft.raft.node import RawNode
from etcd_raft.raft.progress import ProgressState
from tests.etcd_raft.raft.network import BASE, Network, log_of, member


def _three(**options: int) -> Network:
    return Network(*(member(id, [1, 2, 3], **options) for id in (1, 2, 3)))  # type: ignore[arg-type]


def _with_learner() -> Network:
    """Three voters, of which 1 leads, and a learner that has everything."""
    network = Network(*(member(id, [1, 2, 3], learners=[4]) for id in (1, 2, 3, 4)))
    network.elect(1)
    network.tick(2)
    return network


def _round(node: RawNode) -> list[Message]:
    """Work one round off; what it sends."""
    ready = node.ready()
    node.advance()
    return [*ready.messages, *ready.promises]


# ---- 3.10 transfer of leadership


def test_3_10_the_chosen_one_is_brought_up_to_date_first() -> None:
    network = _three()
    leader = network.elect(1)
    network.lose = lambda m: m.to == 3 and m.type == MessageType.APPEND
    leader.propose(b"x")
    network.pump()
    network.sent.clear()
    leader.transfer_leadership(3)
    network.pump()
    assert not any(m.type == MessageType.TIMEOUT_NOW for m in network.sent)
    network.heal()
    leader.report_unreachable(3)
    network.tick(1)
    assert network.roles()[3] == "leader"
    assert network.applied[3] == [b"x"]


def test_3_10_a_follower_that_is_asked_passes_it_on() -> None:
    network = _three()
    network.elect(1)
    network.nodes[2].transfer_leadership(3)
    network.pump()
    assert network.roles()[3] == "leader"


@pytest.mark.parametrize("target", [1, 4, 99], ids=["the leader", "a learner", "a stranger"])
def test_3_10_leadership_does_not_move_to(target: int) -> None:
    network = _with_learner()
    leader = network.nodes[1]
    leader.transfer_leadership(target)
    network.pump()
    assert (leader.raft.role, leader.raft.transferee) == (Role.LEADER, 0)
    leader.propose(b"taken")


def test_3_10_a_removed_target_ends_the_transfer() -> None:
    network = _three()
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 3))
    network.isolate(3)
    leader.transfer_leadership(3)
    network.pump()
    assert leader.raft.transferee == 0
    leader.propose(b"taken")


def test_3_10_a_later_choice_replaces_the_earlier() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    leader.transfer_leadership(3)
    leader.transfer_leadership(2)
    network.pump()
    assert network.roles()[2] == "leader"


# ---- 4.1 membership, one at a time


def test_4_1_a_change_counts_from_when_it_is_applied() -> None:
    network = _three()
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_VOTER, 4))
    assert leader.raft.voters == {1, 2, 3}
    network.pump()
    assert leader.raft.voters == {1, 2, 3, 4}


def test_4_1_the_next_change_waits_until_this_one_is_applied_not_only_committed() -> None:
    network = _three()
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER, 4))
    index = leader.raft.log.last_index
    _round(leader)
    leader.step(Message(MessageType.APPEND_RESPONSE, to=1, sender=2, term=leader.raft.term, index=index))
    assert leader.raft.log.committed == index
    with pytest.raises(ProposalDropped, match="under way"):
        leader.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER, 5))
    network.pump()
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER, 5))


def test_4_1_two_changes_in_one_proposal_are_refused() -> None:
    network = _three()
    leader = network.elect(1)
    changes = [Entry(0, 0, b"", EntryType.CONF_CHANGE), Entry(0, 0, b"", EntryType.CONF_CHANGE)]
    with pytest.raises(ProposalDropped, match="under way"):
        leader.step(Message(MessageType.PROPOSE, sender=1, entries=changes))


def test_4_1_nobody_stands_for_election_with_a_change_committed_and_not_applied() -> None:
    """It would count votes by a membership that is over."""
    follower = member(2, [1, 2, 3])
    change = Entry(2, BASE + 1, b"\0" * 9, EntryType.CONF_CHANGE)
    follower.step(
        Message(MessageType.APPEND, to=2, sender=1, term=2, index=BASE, log_term=1, entries=[change], commit=BASE + 1)
    )
    for _ in range(40):
        follower.tick()
    assert follower.raft.role == Role.FOLLOWER


def test_4_1_a_removal_that_makes_a_majority_smaller_commits_what_waited_for_it() -> None:
    network = _three()
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 3))
    network.isolate(3)
    network.pump()
    network.isolate(2)
    leader.propose(b"waits")
    network.pump()
    assert not network.applied[1]
    leader.raft.apply_conf_change(ConfChange(ConfChangeType.REMOVE, 2))
    network.pump()
    assert network.applied[1] == [b"waits"]


def test_4_1_the_last_voter_left_leads_alone() -> None:
    network = Network(member(1, [1, 2]), member(2, [1, 2]))
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 2))
    network.pump()
    del network.nodes[2]
    leader.propose(b"alone")
    network.pump()
    assert network.applied[1] == [b"alone"]


# ---- 4.2.1 learners


def test_4_2_1_a_learner_does_not_stand_for_election_and_is_not_told_to() -> None:
    learner = member(4, [1, 2, 3], learners=[4])
    for _ in range(60):
        learner.tick()
    learner.step(Message(MessageType.TIMEOUT_NOW, to=4, sender=1, term=1))
    learner.campaign()
    assert learner.raft.role == Role.FOLLOWER
    assert not learner.has_ready()


def test_4_2_1_a_learner_that_does_not_know_of_its_promotion_yet_gives_its_vote() -> None:
    """The candidate may know more: refusing could leave a promoted majority without a leader for ever (as in etcd)."""
    learner = member(4, [1, 2, 3], learners=[4])
    learner.step(Message(MessageType.VOTE, to=4, sender=2, term=5, index=BASE, log_term=1))
    (answer,) = _round(learner)
    assert not answer.reject


def test_4_2_1_a_learner_does_not_confirm_reads() -> None:
    network = _with_learner()
    leader = network.nodes[1]
    network.isolate(2)
    network.isolate(3)
    leader.read_index(b"read")
    network.sent.clear()
    network.pump()
    assert [m.sender for m in network.sent if m.type == MessageType.HEARTBEAT_RESPONSE] == [4]
    assert len(leader.raft.read_only) == 1, "a learner's word made a majority"


def test_4_2_1_a_learner_does_not_keep_a_leader_in_office() -> None:
    network = _with_learner()
    network.isolate(2)
    network.isolate(3)
    network.tick(20, only=[1, 4])
    assert network.roles()[1] == "follower"


def test_4_2_1_a_voter_is_not_made_a_learner() -> None:
    node = member(1, [1, 2, 3])
    conf = node.apply_conf_change(ConfChange(ConfChangeType.ADD_LEARNER, 2))
    assert conf == ConfState([1, 2, 3], [])


# ---- 4.2.2 a leader that is removed


def test_4_2_2_a_leader_that_removes_itself_does_not_count_itself_any_more() -> None:
    network = Network(*(member(id, [1, 2, 3, 4]) for id in (1, 2, 3, 4)))
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 1))
    network.pump()
    assert network.roles()[1] == "follower"
    network.tick(40, only=[1])
    assert network.roles()[1] == "follower"
    with pytest.raises(ProposalDropped):
        leader.propose(b"x")


# ---- 6.2 check-quorum, 6.3, 6.4 reads


def test_6_2_a_leader_whose_followers_answer_stays() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    term = leader.raft.term
    network.tick(60, only=[1, 2])
    assert (leader.raft.role, leader.raft.term) == (Role.LEADER, term)


def test_6_2_a_member_that_has_just_joined_counts_as_alive() -> None:
    network = Network(member(1, [1]))
    leader = network.elect(1)
    for _ in range(9):
        leader.tick()
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_VOTER, 2))
    network.pump()
    leader.tick()
    assert leader.raft.role == Role.LEADER


def test_6_4_a_read_is_answered_from_what_was_committed_when_it_was_asked() -> None:
    network = _three()
    leader = network.elect(1)
    asked_at = leader.raft.log.committed
    leader.read_index(b"read")
    messages = _round(leader)
    leader.propose(b"later")
    network.pump()
    assert leader.raft.log.committed > asked_at
    answer = Message(MessageType.HEARTBEAT_RESPONSE, to=1, sender=2, term=leader.raft.term, context=b"read")
    leader.step(answer)
    assert [(m.type, m.context) for m in messages][:1] == [(MessageType.HEARTBEAT, b"read")]
    assert [(s.context, s.index) for s in leader.ready().read_states] == [(b"read", asked_at)]


def test_6_4_reads_are_forgotten_with_the_leadership() -> None:
    network = _three()
    leader = network.elect(1)
    leader.read_index(b"read")
    term = leader.raft.term
    leader.step(Message(MessageType.HEARTBEAT, to=1, sender=2, term=term + 1))
    leader.step(Message(MessageType.HEARTBEAT_RESPONSE, to=1, sender=3, term=term, context=b"read"))
    assert len(leader.raft.read_only) == 0
    assert not leader.ready().read_states


def test_6_4_a_confirmation_of_an_earlier_term_does_not_count() -> None:
    network = _three()
    leader = network.elect(1)
    leader.read_index(b"read")
    leader.step(Message(MessageType.HEARTBEAT_RESPONSE, to=1, sender=2, term=leader.raft.term - 1, context=b"read"))
    assert len(leader.raft.read_only) == 1


# ---- 9.6 pre-vote


def test_9_6_asking_changes_nobodys_term_or_vote() -> None:
    asking, asked = member(1, [1, 2, 3], term=5, vote=3), member(2, [1, 2, 3], term=5, vote=3)
    asking.campaign()
    for message in _round(asking):
        if message.to == 2:
            assert (message.type, message.term) == (MessageType.PRE_VOTE, 6)
            asked.step(message)
    for node in (asking, asked):
        assert (node.raft.term, node.raft.vote) == (5, 3)
    (answer,) = _round(asked)
    assert (answer.reject, answer.term) == (False, 6), "who voted for another in term 5 may yet vote in term 6"


def test_9_6_who_hears_from_a_leader_does_not_even_answer() -> None:
    network = _three()
    network.elect(1)
    follower = network.nodes[2]
    follower.step(Message(MessageType.PRE_VOTE, to=2, sender=3, term=follower.raft.term + 1, index=99, log_term=9))
    assert not follower.has_ready()


def test_9_6_a_log_that_is_behind_is_told_no() -> None:
    asked = member(2, [1, 2, 3], entries=log_of(1), term=1)
    asked.step(Message(MessageType.PRE_VOTE, to=2, sender=3, term=2, index=BASE, log_term=1))
    (answer,) = _round(asked)
    assert answer.reject


def test_9_6_a_refusal_of_a_later_term_brings_that_term() -> None:
    asking = member(1, [1, 2, 3])
    asking.campaign()
    asking.step(Message(MessageType.PRE_VOTE_RESPONSE, to=1, sender=2, term=8, reject=True))
    assert (asking.raft.role, asking.raft.term) == (Role.FOLLOWER, 8)


def test_9_6_who_asks_for_an_earlier_term_is_told_the_later() -> None:
    """Else a member that is behind could ask for ever, and nobody that could be elected would hear of it."""
    asked = member(2, [1, 2, 3], term=8)
    asked.step(Message(MessageType.PRE_VOTE, to=2, sender=3, term=5, index=99, log_term=9))
    (answer,) = _round(asked)
    assert (answer.type, answer.term, answer.reject) == (MessageType.PRE_VOTE_RESPONSE, 8, True)


def test_9_6_an_answer_to_the_question_is_not_a_vote() -> None:
    candidate = member(1, [1, 2, 3])
    candidate.campaign()
    _round(candidate)
    candidate.step(Message(MessageType.PRE_VOTE_RESPONSE, to=1, sender=2, term=2))
    assert candidate.raft.role == Role.CANDIDATE
    candidate.step(Message(MessageType.PRE_VOTE_RESPONSE, to=1, sender=3, term=2))
    assert candidate.raft.role == Role.CANDIDATE


def test_9_6_a_member_with_a_higher_term_gets_back_into_the_cluster() -> None:
    """Votes it asked for before may have raised its term: the leader has to learn of it, or it would stay outside."""
    network = _three()
    leader = network.elect(1)
    stray = network.nodes[3]
    stray.raft.become_follower(leader.raft.term + 4, 0)
    network.tick(40)
    assert len({node.raft.term for node in network.nodes.values()}) == 1
    leading = [id for id, role in network.roles().items() if role == "leader"]
    assert len(leading) == 1
    assert all(node.raft.leader == leading[0] for node in network.nodes.values())


# ---- snapshots (paper 7)


def test_7_a_snapshot_replaces_a_log_that_differs_and_brings_the_membership() -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 1, 1))
    snapshot = Snapshot(BASE + 9, 4, ConfState([1, 2], [5]))
    follower.step(Message(MessageType.SNAPSHOT, to=2, sender=1, term=4, snapshot=snapshot))
    ready = follower.ready()
    assert (ready.snapshot, ready.must_sync) == (snapshot, True)
    assert [(m.type, m.index) for m in ready.promises] == [(MessageType.APPEND_RESPONSE, BASE + 9)]
    follower.advance()
    log = follower.raft.log
    assert (log.first_index, log.last_index, log.committed, log.applied) == (BASE + 10, BASE + 9, BASE + 9, BASE + 9)
    assert follower.raft.conf_state() == ConfState([1, 2], [5])


def test_7_a_snapshot_of_the_past_is_ignored() -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 1, 1))
    follower.step(Message(MessageType.HEARTBEAT, to=2, sender=1, term=1, commit=BASE + 3))
    snapshot = Snapshot(BASE + 1, 1, ConfState([2], []))
    follower.step(Message(MessageType.SNAPSHOT, to=2, sender=1, term=1, snapshot=snapshot))
    assert follower.raft.log.pending_snapshot is None
    assert follower.raft.conf_state() == ConfState([1, 2, 3], [])


def test_7_a_leader_sends_no_snapshot_to_one_that_does_not_answer() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    for number in range(5):
        leader.propose(b"%d" % number)
    network.pump()
    leader.compact(leader.raft.log.applied)
    network.tick(25)
    leader.report_unreachable(3)
    network.sent.clear()
    network.tick(5)
    assert not any(m.type == MessageType.SNAPSHOT for m in network.sent)


def test_7_a_snapshot_that_failed_is_sent_again_when_the_member_shows_up() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    leader.propose(b"x")
    network.pump()
    leader.compact(leader.raft.log.applied)
    network.heal()
    network.lose = lambda m: m.type == MessageType.SNAPSHOT
    network.tick(2)
    assert leader.raft.progress[3].state == ProgressState.SNAPSHOT
    network.heal()
    leader.report_snapshot(3, False)
    network.tick(3)
    assert network.applied[3] == network.applied[1] == [b"x"]


# ---- restart


def test_what_was_applied_is_not_applied_again_after_a_restart() -> None:
    entries = log_of(1, 1, 1)
    node = RawNode(
        member(1, [1]).raft.config,
        hard_state=HardState(1, 1, BASE + 1),
        snapshot=Snapshot(BASE, 1, ConfState([1])),
        entries=entries,
        applied=BASE + 2,
    )
    network = Network(node)
    network.elect(1)
    assert network.applied[1] == [b"old-2"]


def test_a_heartbeat_never_commits_beyond_what_the_follower_is_known_to_have() -> None:
    """Its own entries there may be of a lost term."""
    network = Network(
        member(1, [1, 2, 3], entries=log_of(1, 2, 2), term=2),
        member(2, [1, 2, 3], entries=log_of(1, 2, 2), term=2),
        member(3, [1, 2, 3], entries=log_of(1, 1, 1), term=2),
    )
    network.lose = lambda m: m.to == 3 and m.type == MessageType.APPEND
    leader = network.elect(1)
    network.sent.clear()
    network.tick(3)
    beats = [m.commit for m in network.sent if m.type == MessageType.HEARTBEAT and m.to == 3]
    assert beats
    assert max(beats) == 0
    assert leader.raft.log.committed == BASE + 4
    assert network.nodes[3].raft.log.committed == BASE
