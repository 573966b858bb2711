"""Figure 2 of the Raft paper, line by line, as far as ``test_rules`` does not tell its longer stories."""

import pytest

from etcd_raft.raft.core import Config, Raft, Role
from etcd_raft.raft.log import RaftLog
from etcd_raft.raft.messages import ConfState, Entry, HardState, Message, MessageType, Snapshot
from etcd_raft.raft.node import RawNode, Ready
from tests.etcd_raft.raft.network import BASE, Network, log_of, member


def _three() -> Network:
    return Network(*(member(id, [1, 2, 3]) for id in (1, 2, 3)))


def _round(node: RawNode) -> Ready:
    ready = node.ready()
    node.advance()
    return ready


def _append(index: int, log_term: int, *terms: int, commit: int = 0, term: int = 2) -> Message:
    """An append from leader 1 to member 2: entries with these terms behind ``index``."""
    entries = [Entry(t, index + 1 + n, b"new") for n, t in enumerate(terms)]
    return Message(
        MessageType.APPEND, to=2, sender=1, term=term, index=index, log_term=log_term, entries=entries, commit=commit
    )


# ---- persistent state: "updated on stable storage before responding to RPCs"


def test_a_candidates_new_term_and_vote_are_on_disk_before_it_asks_for_votes() -> None:
    candidate = member(1, [1, 2, 3], pre_vote=False)
    candidate.campaign()
    ready = candidate.ready()
    assert ready.hard_state == HardState(2, 1, BASE)
    assert ready.must_sync
    assert not ready.messages
    assert {m.type for m in ready.promises} == {MessageType.VOTE}


def test_a_term_seen_is_on_disk_before_anything_is_said_in_it() -> None:
    follower = member(2, [1, 2, 3])
    follower.step(Message(MessageType.HEARTBEAT, to=2, sender=1, term=7))
    ready = follower.ready()
    assert ready.hard_state is not None
    assert (ready.hard_state.term, ready.must_sync) == (7, True)
    assert not ready.messages
    assert [m.term for m in ready.promises] == [7]


# ---- AppendEntries, receiver


def test_append_1_of_an_earlier_term_is_refused_and_the_sender_told_the_term() -> None:
    follower = member(2, [1, 2, 3], term=5)
    follower.step(_append(BASE, 1, 2, term=2))
    (answer,) = _round(follower).promises
    assert (answer.type, answer.term, answer.index) == (MessageType.APPEND_RESPONSE, 5, 0)
    assert follower.raft.log.last_index == BASE
    assert follower.raft.leader == 0


@pytest.mark.parametrize(("index", "log_term"), [(BASE + 3, 2), (BASE + 2, 3)], ids=["missing", "of another term"])
def test_append_2_without_the_entry_before_it_is_refused(index: int, log_term: int) -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 2), term=3)
    follower.step(_append(index, log_term, 3, term=3))
    (answer,) = _round(follower).promises
    assert answer.reject
    assert follower.raft.log.last_index == BASE + 2


def test_append_3_a_conflicting_entry_goes_with_all_that_follow_it() -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 2, 2, 2), term=3)
    follower.step(_append(BASE + 1, 1, 3, term=3))
    log = follower.raft.log
    assert [log.term(i) for i in range(BASE + 1, log.last_index + 1)] == [1, 3]
    assert [(e.index, e.term) for e in _round(follower).entries] == [(BASE + 2, 3)]


def test_append_4_what_is_there_already_is_not_written_again() -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 2), term=2)
    follower.step(_append(BASE, 1, 1, 2, 2))
    assert [(e.index, e.term) for e in _round(follower).entries] == [(BASE + 3, 2)]


def test_append_5_commits_at_most_up_to_its_last_entry() -> None:
    """What follows in the follower's log may be of a lost term, however far the leader has committed."""
    follower = member(2, [1, 2, 3], entries=log_of(1, 1, 1), term=2)
    follower.step(_append(BASE, 1, 1, commit=BASE + 3))
    assert follower.raft.log.committed == BASE + 1


def test_append_5_never_takes_a_commit_back() -> None:
    follower = member(2, [1, 2, 3], entries=log_of(1, 1, 1), term=2)
    follower.step(_append(BASE + 3, 1, commit=BASE + 3))
    follower.step(_append(BASE + 3, 1, commit=BASE + 1))
    assert follower.raft.log.committed == BASE + 3


def test_an_append_that_comes_twice_is_answered_twice_and_done_once() -> None:
    """5.5: requests are repeated when an answer is lost, and must do no harm."""
    follower = member(2, [1, 2, 3])
    for _ in range(2):
        follower.step(_append(BASE, 1, 2, 2))
    ready = _round(follower)
    assert [(e.index, e.term) for e in ready.entries] == [(BASE + 1, 2), (BASE + 2, 2)]
    assert [(m.index, m.reject) for m in ready.promises] == [(BASE + 2, False)] * 2


# ---- RequestVote, receiver


def test_vote_1_for_an_earlier_term_is_not_given() -> None:
    voter = member(1, [1, 2, 3], term=5)
    voter.step(Message(MessageType.VOTE, to=1, sender=2, term=4, index=99, log_term=4))
    assert voter.raft.vote == 0
    assert not voter.has_ready()


@pytest.mark.parametrize(
    ("index", "log_term", "given"),
    [(BASE + 2, 2, True), (BASE + 9, 2, True), (BASE, 3, True), (BASE + 1, 2, False), (BASE + 9, 1, False)],
    ids=["equal", "longer", "later term", "shorter", "longer of an earlier term"],
)
def test_vote_2_goes_to_a_log_that_is_at_least_as_up_to_date(index: int, log_term: int, given: bool) -> None:
    voter = member(1, [1, 2, 3], entries=log_of(1, 2), term=3)
    voter.step(Message(MessageType.VOTE, to=1, sender=2, term=4, index=index, log_term=log_term))
    (answer,) = _round(voter).promises
    assert answer.reject is not given
    assert voter.raft.vote == (2 if given else 0)


def test_vote_2_is_given_to_the_same_candidate_again() -> None:
    voter = member(1, [1, 2, 3])
    for _ in range(2):
        voter.step(Message(MessageType.VOTE, to=1, sender=2, term=4, index=BASE, log_term=1))
    assert [m.reject for m in _round(voter).promises] == [False, False]


# ---- all servers


@pytest.mark.parametrize(
    "kind", [MessageType.APPEND_RESPONSE, MessageType.HEARTBEAT_RESPONSE, MessageType.VOTE_RESPONSE]
)
def test_an_answer_of_a_later_term_ends_a_leaders_reign(kind: MessageType) -> None:
    network = _three()
    leader = network.elect(1)
    leader.step(Message(kind, to=1, sender=2, term=9, reject=True))
    assert (leader.raft.role, leader.raft.term, leader.raft.vote) == (Role.FOLLOWER, 9, 0)


def test_entries_are_applied_in_order_and_only_what_is_committed() -> None:
    follower = member(2, [1, 2, 3])
    follower.step(_append(BASE, 1, 2, 2, 2, commit=BASE + 2))
    assert not _round(follower).committed, "not on this disk yet"
    assert [e.index for e in _round(follower).committed] == [BASE + 1, BASE + 2]
    assert not follower.has_ready()


# ---- followers


def test_a_follower_that_has_given_its_vote_waits_a_whole_timeout_again() -> None:
    voter = member(1, [1, 2, 3])
    for _ in range(9):
        voter.tick()
    voter.step(Message(MessageType.VOTE, to=1, sender=2, term=4, index=BASE, log_term=1))
    for _ in range(9):
        voter.tick()
    assert voter.raft.role == Role.FOLLOWER
    voter.tick()
    assert voter.raft.role == Role.PRE_CANDIDATE


def test_a_vote_that_was_refused_does_not_put_off_the_followers_own_election() -> None:
    voter = member(1, [1, 2, 3], entries=log_of(3), term=3, pre_vote=False)
    for _ in range(9):
        voter.tick()
    voter.step(Message(MessageType.VOTE, to=1, sender=2, term=3, index=BASE, log_term=1))
    voter.tick()
    assert voter.raft.role == Role.CANDIDATE


def test_an_append_of_the_leader_puts_off_the_followers_election() -> None:
    follower = member(2, [1, 2, 3])
    for _ in range(30):
        follower.tick()
        if follower.raft.election_elapsed == 5:
            follower.step(_append(BASE, 1))
    assert follower.raft.role == Role.FOLLOWER


# ---- candidates


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_others() -> None:
    candidate = member(2, [1, 2, 3, 4, 5], term=6, pre_vote=False)
    for _ in range(11):
        candidate.tick()
    ready = candidate.ready()
    assert (candidate.raft.role, candidate.raft.term, candidate.raft.vote) == (Role.CANDIDATE, 7, 2)
    assert [(m.type, m.to, m.term) for m in ready.promises] == [(MessageType.VOTE, id, 7) for id in (1, 3, 4, 5)]


def test_a_candidate_tries_again_in_a_new_term_after_a_split_vote() -> None:
    candidate = member(1, [1, 2, 3], pre_vote=False)
    candidate.campaign()
    _round(candidate)
    for _ in range(10):
        candidate.tick()
    assert (candidate.raft.role, candidate.raft.term) == (Role.CANDIDATE, 3)


def test_a_candidate_that_a_majority_refused_follows_again() -> None:
    candidate = member(1, [1, 2, 3], pre_vote=False)
    candidate.campaign()
    _round(candidate)
    for sender in (2, 3):
        candidate.step(Message(MessageType.VOTE_RESPONSE, to=1, sender=sender, term=2, reject=True))
    assert (candidate.raft.role, candidate.raft.term) == (Role.FOLLOWER, 2)


def test_a_voter_is_counted_once_however_often_its_vote_arrives() -> None:
    candidate = member(1, [1, 2, 3, 4, 5], pre_vote=False)
    candidate.campaign()
    _round(candidate)
    for _ in range(3):
        candidate.step(Message(MessageType.VOTE_RESPONSE, to=1, sender=2, term=2))
    assert candidate.raft.role == Role.CANDIDATE
    candidate.step(Message(MessageType.VOTE_RESPONSE, to=1, sender=3, term=2))
    assert candidate.raft.role == Role.LEADER


def test_a_vote_of_somebody_who_is_no_voter_does_not_count() -> None:
    candidate = member(1, [1, 2, 3], learners=[4], pre_vote=False)
    candidate.campaign()
    _round(candidate)
    for sender in (4, 99):
        candidate.step(Message(MessageType.VOTE_RESPONSE, to=1, sender=sender, term=2))
    assert candidate.raft.role == Role.CANDIDATE


def test_election_timeouts_are_drawn_anew_between_one_and_two_timeouts() -> None:
    """5.2: so that split votes are rare and resolve themselves."""
    drawn: list[int] = []

    def draw(limit: int) -> int:
        drawn.append(limit)
        return len(drawn) % limit

    raft = Raft(Config(1, draw), RaftLog(Snapshot(BASE, 1)), HardState(1, 0, BASE), ConfState([1, 2, 3]))
    timeouts = set()
    for term in range(2, 30):
        raft.become_follower(term, 0)
        timeouts.add(raft.election_timeout)
    assert timeouts == set(range(10, 20))


# ---- leaders


def test_a_new_leader_speaks_up_at_once_and_keeps_on_when_idle() -> None:
    network = _three()
    network.nodes[1].campaign()
    network.sent.clear()
    network.pump()
    assert {m.to for m in network.sent if m.type == MessageType.APPEND and m.sender == 1} == {2, 3}
    for _ in range(5):
        network.sent.clear()
        network.tick(1, only=[1])
        assert {m.to for m in network.sent if m.type == MessageType.HEARTBEAT} == {2, 3}


def test_a_leader_starts_each_term_with_an_empty_entry() -> None:
    """Section 8: only that way it finds out what is committed."""
    network = _three()
    leader = network.elect(1)
    (entry,) = leader.raft.log.slice(BASE + 1, BASE + 2)
    assert (entry.term, entry.data) == (leader.raft.term, b"")


def test_a_leader_never_changes_or_drops_an_entry_of_its_own_log() -> None:
    """Leader Append-Only: it learns nothing from others' logs, it only finds out where they agree with its own."""
    network = Network(
        member(1, [1, 2, 3], entries=log_of(2, 3, 3), term=4),
        member(2, [1, 2, 3], entries=log_of(2, 2, 2, 2, 2, 2), term=4),
        member(3, [1, 2, 3], entries=log_of(2, 3), term=4),
    )
    leader = network.elect(1)
    before = [(e.index, e.term) for e in leader.raft.log.slice(BASE + 1, BASE + 4)]
    network.tick(3)
    assert [(e.index, e.term) for e in leader.raft.log.slice(BASE + 1, BASE + 4)] == before
    assert network.terms()[2] == network.terms()[1]


def test_next_index_steps_back_after_a_refusal_and_a_late_refusal_changes_nothing() -> None:
    network = Network(
        member(1, [1, 2, 3], entries=log_of(2, 2, 2), term=2), *(member(id, [1, 2, 3], term=2) for id in (2, 3))
    )
    leader = network.elect_without(2)
    progress = leader.raft.progress[2]
    refusal = Message(
        MessageType.APPEND_RESPONSE, to=1, sender=2, term=3, index=BASE + 3, reject=True, reject_hint=BASE
    )
    assert progress.next == BASE + 4
    leader.step(refusal)
    assert progress.next == BASE + 1
    leader.step(Message(MessageType.APPEND_RESPONSE, to=1, sender=2, term=3, index=BASE + 2))
    assert (progress.match, progress.next) == (BASE + 2, BASE + 5)
    leader.step(refusal)
    leader.step(Message(MessageType.APPEND_RESPONSE, to=1, sender=2, term=3, index=BASE + 1))
    assert progress.match == BASE + 2


def test_a_leader_commits_what_a_majority_has_and_no_more() -> None:
    network = Network(*(member(id, [1, 2, 3, 4, 5]) for id in range(1, 6)))
    leader = network.elect(1)
    first = leader.raft.log.last_index
    network.isolate(1)
    for _ in range(3):
        leader.propose(b"x")
    network.pump()
    for sender, index, committed in ((2, first + 3, first), (3, first + 1, first + 1), (4, first + 2, first + 2)):
        leader.step(Message(MessageType.APPEND_RESPONSE, to=1, sender=sender, term=leader.raft.term, index=index))
        assert leader.raft.log.committed == committed


def test_a_follower_that_was_away_gets_everything_it_missed() -> None:
    """5.3: the leader repeats appends until all followers have all entries."""
    network = _three()
    leader = network.elect(1)
    network.isolate(3)
    for number in range(10):
        leader.propose(b"%d" % number)
        network.pump()
    network.heal()
    network.tick(3)
    assert network.applied[3] == network.applied[1] == [b"%d" % number for number in range(10)]
