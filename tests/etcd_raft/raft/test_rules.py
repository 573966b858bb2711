"""The rules of the Raft paper and thesis, each under its name and section."""

import pytest

from etcd_raft.raft.core import CAMPAIGN_TRANSFER, ProposalDropped, Role
from etcd_raft.raft.messages import ConfChange, ConfChangeType, Entry, Message, MessageType, Snapshot
from tests.etcd_raft.raft.network import BASE, Network, log_of, member


def _three(**options: int) -> Network:
    return Network(*(member(id, [1, 2, 3], **options) for id in (1, 2, 3)))


# ---- 5.1 terms


def test_5_1_a_higher_term_makes_anybody_a_follower_of_it() -> None:
    network = _three()
    leader = network.elect(1)
    leader.step(Message(MessageType.APPEND, to=1, sender=2, term=9, index=BASE, log_term=1))
    assert (leader.raft.role, leader.raft.term, leader.raft.leader) == (Role.FOLLOWER, 9, 2)


def test_5_1_a_request_of_an_earlier_term_is_refused() -> None:
    network = _three()
    network.elect(1)
    follower = network.nodes[2]
    before = follower.raft.log.last_index
    follower.step(Message(MessageType.APPEND, to=2, sender=3, term=1, index=before, log_term=1, entries=log_of(1)))
    assert follower.raft.log.last_index == before
    assert follower.raft.leader == 1


# ---- 5.2 elections


def test_5_2_a_follower_that_hears_from_nobody_stands_for_election() -> None:
    network = _three()
    network.tick(11)
    assert network.roles()[1] == "leader"


def test_5_2_a_majority_of_votes_makes_a_leader() -> None:
    network = _three()
    network.isolate(3)
    network.elect(1)
    assert network.roles() == {1: "leader", 2: "follower", 3: "follower"}


def test_5_2_without_a_majority_nobody_leads() -> None:
    network = _three()
    network.isolate(1)
    network.nodes[1].campaign()
    network.pump()
    assert network.roles()[1] == "pre_candidate"


def test_5_2_one_vote_a_term_first_come_first_served() -> None:
    voter = member(1, [1, 2, 3])
    network = Network(voter)
    voter.step(Message(MessageType.VOTE, to=1, sender=2, term=5, index=BASE, log_term=1))
    voter.step(Message(MessageType.VOTE, to=1, sender=3, term=5, index=BASE, log_term=1))
    network.pump()
    answers = [(m.to, m.reject) for m in network.sent if m.type == MessageType.VOTE_RESPONSE]
    assert answers == [(2, False), (3, True)]


def test_5_2_a_vote_is_on_disk_before_it_is_given() -> None:
    voter = member(1, [1, 2, 3])
    voter.step(Message(MessageType.VOTE, to=1, sender=2, term=5, index=BASE, log_term=1))
    ready = voter.ready()
    assert ready.must_sync
    assert ready.hard_state is not None
    assert (ready.hard_state.term, ready.hard_state.vote) == (5, 2)
    assert not ready.messages
    assert [m.type for m in ready.promises] == [MessageType.VOTE_RESPONSE]


def test_5_2_a_vote_survives_a_restart() -> None:
    voter = member(1, [1, 2, 3], term=5, vote=2)
    network = Network(voter)
    voter.step(Message(MessageType.VOTE, to=1, sender=3, term=5, index=BASE, log_term=1))
    network.pump()
    assert network.sent[-1].reject


def test_5_2_a_candidate_gives_way_to_the_leader_of_its_term() -> None:
    candidate = member(1, [1, 2, 3], pre_vote=False)
    candidate.campaign()
    candidate.step(Message(MessageType.HEARTBEAT, to=1, sender=2, term=candidate.raft.term))
    assert (candidate.raft.role, candidate.raft.leader) == (Role.FOLLOWER, 2)


def test_5_2_a_member_alone_does_not_lead_before_its_own_vote_is_on_disk() -> None:
    alone = member(1, [1])
    alone.campaign()
    assert alone.raft.role == Role.PRE_CANDIDATE
    Network(alone).pump()
    assert alone.raft.role == Role.LEADER


# ---- 5.3 replication


def test_5_3_a_committed_entry_is_applied_everywhere_in_order() -> None:
    network = _three()
    leader = network.elect(1)
    for data in (b"a", b"b", b"c"):
        leader.propose(data)
    network.pump()
    network.tick()
    assert network.applied == {id: [b"a", b"b", b"c"] for id in (1, 2, 3)}


def test_5_3_a_follower_without_the_entry_before_refuses() -> None:
    follower = member(2, [1, 2, 3])
    network = Network(follower)
    follower.step(Message(MessageType.APPEND, to=2, sender=1, term=2, index=BASE + 5, log_term=2))
    network.pump()
    answer = network.sent[-1]
    assert answer.reject
    assert answer.reject_hint == BASE


def test_5_3_a_conflicting_tail_is_replaced_by_the_leaders() -> None:
    network = Network(
        member(1, [1, 2, 3], entries=log_of(2, 2, 5), term=5),
        member(2, [1, 2, 3], entries=log_of(2, 3, 3, 3, 4), term=5),
        member(3, [1, 2, 3], entries=log_of(2), term=5),
    )
    network.elect(1)
    network.tick(2)
    assert network.terms() == {id: [2, 2, 5, 6] for id in (1, 2, 3)}


def test_5_3_whole_terms_are_skipped_when_logs_differ() -> None:
    network = Network(
        member(1, [1, 2, 3], entries=log_of(*[1] * 5, *[5] * 40), term=6),
        member(2, [1, 2, 3], entries=log_of(*[1] * 5, *[3] * 30), term=6),
        member(3, [1, 2, 3], entries=log_of(*[1] * 5, *[5] * 40), term=6),
    )
    network.elect(1)
    network.tick(2)
    refusals = [m for m in network.sent if m.type == MessageType.APPEND_RESPONSE and m.reject and m.sender == 2]
    assert network.terms()[2] == network.terms()[1]
    assert len(refusals) <= 2, "the leader stepped back entry by entry"


def test_5_3_a_delayed_append_does_not_cut_off_what_came_after() -> None:
    follower = member(2, [1, 2, 3])
    late = Message(MessageType.APPEND, to=2, sender=1, term=2, index=BASE, log_term=1, entries=log_of(2))
    follower.step(Message(MessageType.APPEND, to=2, sender=1, term=2, index=BASE, log_term=1, entries=log_of(2, 2, 2)))
    follower.step(late)
    assert follower.raft.log.last_index == BASE + 3


def test_5_3_entries_are_on_disk_before_they_are_acknowledged() -> None:
    follower = member(2, [1, 2, 3])
    follower.step(Message(MessageType.APPEND, to=2, sender=1, term=2, index=BASE, log_term=1, entries=log_of(2)))
    ready = follower.ready()
    assert (len(ready.entries), ready.must_sync, ready.messages) == (1, True, [])
    assert [m.type for m in ready.promises] == [MessageType.APPEND_RESPONSE]


def test_5_3_a_leader_does_not_count_itself_before_its_disk_has_the_entry() -> None:
    alone = member(1, [1])
    network = Network(alone)
    network.elect(1)
    committed = alone.raft.log.committed
    alone.propose(b"x")
    ready = alone.ready()
    assert alone.raft.log.committed == committed
    assert not ready.committed
    alone.advance()
    assert alone.raft.log.committed == committed + 1


def test_5_3_one_sync_serves_all_proposals_that_wait() -> None:
    network = _three()
    leader = network.elect(1)
    network.synced[1].clear()
    for number in range(50):
        leader.propose(b"%d" % number)
    network.pump()
    assert network.synced[1] == ["50 entries"]


# ---- 5.4 safety


def test_5_4_1_a_candidate_whose_log_is_behind_gets_no_vote() -> None:
    network = Network(
        member(1, [1, 2, 3], entries=log_of(2), term=3),
        member(2, [1, 2, 3], entries=log_of(2, 3), term=3),
        member(3, [1, 2, 3], entries=log_of(2, 3), term=3),
    )
    network.nodes[1].campaign()
    network.pump()
    assert network.roles()[1] == "follower"


def test_5_4_1_a_later_last_term_beats_a_longer_log() -> None:
    voter = member(1, [1, 2, 3], entries=log_of(2, 2, 2, 2), term=3)
    assert voter.raft.log.is_up_to_date(BASE + 1, 3)
    assert not voter.raft.log.is_up_to_date(BASE + 9, 1)


def test_5_4_2_an_entry_of_an_earlier_term_is_not_committed_by_counting_copies() -> None:
    """Figure 8: a majority has the entry of term 2, and it may still be replaced."""
    network = Network(*(member(id, [1, 2, 3], entries=log_of(2), term=3) for id in (1, 2, 3)))
    # The new leader's own first entry does not get through.
    network.lose = lambda m: m.type == MessageType.APPEND and any(e.term == 4 for e in m.entries)
    leader = network.elect(1)
    network.tick(3)
    assert leader.raft.log.committed == BASE
    network.heal()
    leader.report_unreachable(2)
    leader.report_unreachable(3)
    network.tick(3)
    assert leader.raft.log.committed == BASE + 2


# ---- 6 membership


def test_6_a_new_member_is_caught_up_as_a_learner_and_does_not_count() -> None:
    network = _three()
    leader = network.elect(1)
    network.nodes[4] = member(4, [1, 2, 3])
    network.applied[4], network.synced[4] = [], []
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER, 4))
    network.pump()
    network.tick(2)
    assert leader.raft.learners == {4}
    network.isolate(2)
    network.isolate(3)
    committed = leader.raft.log.committed
    leader.propose(b"x")
    network.pump()
    assert leader.raft.log.committed == committed, "a learner counted towards the majority"


def test_6_one_membership_change_at_a_time() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 3))
    with pytest.raises(ProposalDropped, match="under way"):
        leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 2))


def test_6_a_new_leader_changes_nothing_before_it_has_committed_in_its_term() -> None:
    network = _three()
    network.lose = lambda m: m.type == MessageType.APPEND
    leader = network.elect(1)
    with pytest.raises(ProposalDropped, match="under way"):
        leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 2))


def test_6_a_removed_leader_steps_down_and_the_others_go_on() -> None:
    network = _three()
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 1))
    network.pump()
    assert network.roles()[1] == "follower"
    network.tick(30, only=[2, 3])
    leading = [id for id in (2, 3) if network.roles()[id] == "leader"]
    assert len(leading) == 1
    network.nodes[leading[0]].propose(b"on")
    network.pump()
    assert b"on" in network.applied[2]


def test_6_a_removed_member_does_not_disturb_the_others() -> None:
    network = _three()
    leader = network.elect(1)
    leader.propose_conf_change(ConfChange(ConfChangeType.REMOVE, 3))
    network.pump()
    term = leader.raft.term
    for _ in range(60):
        network.tick()
    assert (leader.raft.role, leader.raft.term) == (Role.LEADER, term)


# ---- 7 snapshots


def test_7_a_follower_behind_the_log_gets_a_snapshot_and_then_entries() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    for number in range(20):
        leader.propose(b"%d" % number)
    network.pump()
    leader.compact(leader.raft.log.applied - 2)
    network.heal()
    network.tick(5)
    leader.propose(b"last")
    network.pump()
    network.tick()
    assert any(m.type == MessageType.SNAPSHOT and m.to == 3 for m in network.sent)
    assert network.applied[3] == network.applied[1]


def test_7_a_snapshot_of_what_is_there_already_only_moves_the_commit_index() -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 1, 1))
    snapshot = Snapshot(BASE + 2, 1, follower.raft.conf_state())
    follower.step(Message(MessageType.SNAPSHOT, to=2, sender=1, term=1, snapshot=snapshot))
    assert follower.raft.log.pending_snapshot is None
    assert follower.raft.log.committed == BASE + 2
    assert follower.raft.log.last_index == BASE + 3


# ---- thesis 3.10 transfer of leadership


def test_3_10_leadership_moves_to_the_chosen_member_at_once() -> None:
    network = _three()
    network.elect(1).transfer_leadership(3)
    network.pump()
    assert network.roles() == {1: "follower", 2: "follower", 3: "leader"}


def test_3_10_nothing_is_proposed_while_leadership_moves() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    leader.transfer_leadership(3)
    with pytest.raises(ProposalDropped, match="transferred"):
        leader.propose(b"x")
    network.tick(10)  # an election timeout later it gives up and leads on
    leader.propose(b"x")


# ---- thesis 4.2.3 and 6.2 leases, check-quorum


def test_4_2_3_a_member_that_hears_from_a_leader_does_not_vote() -> None:
    network = _three()
    network.elect(1)
    follower = network.nodes[2]
    term = follower.raft.term
    ask = Message(MessageType.VOTE, to=2, sender=3, term=term + 5, index=99, log_term=99)
    follower.step(ask)
    assert follower.raft.term == term
    ask.context = CAMPAIGN_TRANSFER  # unless the leader itself has asked for it
    follower.step(ask)
    assert follower.raft.vote == 3


def test_6_2_a_leader_without_a_majority_steps_down() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(1)
    network.tick(20, only=[1])
    assert leader.raft.role == Role.FOLLOWER


def test_9_6_a_member_back_from_a_partition_does_not_raise_the_term() -> None:
    network = _three()
    leader = network.elect(1)
    term = leader.raft.term
    network.isolate(3)
    network.tick(60)
    assert network.nodes[3].raft.term == term
    network.heal()
    network.tick(5)
    assert (leader.raft.role, leader.raft.term) == (Role.LEADER, term)
    assert network.nodes[3].raft.leader == 1


# ---- thesis 6.4 linearizable reads


def test_6_4_a_read_waits_for_a_majority_to_confirm_the_leader() -> None:
    network = _three()
    leader = network.elect(1)
    network.isolate(1)
    leader.read_index(b"read")
    network.pump()
    assert not leader.raft.read_states
    network.heal()
    leader.tick()
    states = []
    while any(node.has_ready() for node in network.nodes.values()):
        for node in network.nodes.values():
            if not node.has_ready():
                continue
            ready = node.ready()
            states += ready.read_states
            node.advance()
            for m in (*ready.messages, *ready.promises):
                network.nodes[m.to].step(m)
    assert [(s.context, s.index) for s in states] == [(b"read", leader.raft.log.committed)]


def test_6_4_a_new_leader_reads_only_after_it_has_committed_in_its_term() -> None:
    network = Network(*(member(id, [1, 2, 3], entries=log_of(1, 1), term=1) for id in (1, 2, 3)))
    network.lose = lambda m: m.type == MessageType.APPEND and bool(m.entries)
    leader = network.elect(1)
    leader.read_index(b"early")
    network.pump()
    assert len(leader.raft.waiting_reads) == 1
    network.heal()
    leader.report_unreachable(2)
    network.tick(3)
    assert not leader.raft.waiting_reads


def test_6_4_a_follower_asks_its_leader() -> None:
    network = _three()
    network.elect(1)
    network.nodes[2].read_index(b"mine")
    network.pump()
    assert any(m.type == MessageType.READ_INDEX_RESPONSE and m.to == 2 for m in network.sent)


# ---- limits


def test_an_uncommitted_log_is_bounded() -> None:
    network = _three(max_uncommitted_size=100)
    leader = network.elect(1)
    network.isolate(1)
    leader.propose(b"x" * 90)
    with pytest.raises(ProposalDropped, match="uncommitted"):
        leader.propose(b"x" * 90)


def test_a_window_of_appends_is_bounded_and_opens_with_the_answers() -> None:
    network = _three(max_inflight=3)
    leader = network.elect(1)
    network.lose = lambda m: m.type == MessageType.APPEND_RESPONSE and m.to == 1
    network.sent.clear()
    for number in range(20):
        leader.propose(b"%d" % number)
        network.pump()
    appends = [m for m in network.sent if m.type == MessageType.APPEND and m.to == 2 and m.entries]
    assert len(appends) == 3
    network.heal()
    network.tick(3)
    assert network.applied[2] == [b"%d" % number for number in range(20)]


def test_an_entry_is_limited_to_what_fits_a_message_but_never_left_out() -> None:
    network = _three(max_message_size=50)
    leader = network.elect(1)
    for _ in range(5):
        leader.propose(b"y" * 80)
    network.pump()
    network.tick(2)
    assert network.applied[3] == [b"y" * 80] * 5


def test_a_leader_whose_process_is_gone_is_replaced_without_waiting_out_the_timeout() -> None:
    network = _three()
    network.elect(1)
    network.tick(1)
    gone = network.nodes.pop(1)
    for node in network.nodes.values():
        node.step(Message(MessageType.UNREACHABLE, sender=gone.raft.id))
    network.tick(6)
    assert "leader" in network.roles().values()


def test_proposals_without_a_leader_are_refused_not_lost() -> None:
    with pytest.raises(ProposalDropped, match="no leader"):
        member(1, [1, 2, 3]).propose(b"x")
    entry = Entry(0, 0, b"x")
    assert entry.size() == 25
