"""Many short lives of clusters, each from its own seed; and proof that the simulator would notice."""

import pytest

from etcd_raft.raft import leader
from etcd_raft.raft.core import Raft
from etcd_raft.raft.messages import Message, MessageType
from tests.etcd_raft.simulator.world import Violation, run


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_lives_full_of_trouble_break_no_guarantee(first: int) -> None:
    for seed in range(first, first + 50):
        run(seed)


def test_a_seed_tells_the_same_story_twice() -> None:
    one, two = run(42), run(42)
    assert (one.history, one.applied, one.leaders) == (two.history, two.applied, two.leaders)


def _caught(seeds: int = 300) -> bool:
    for seed in range(seeds):
        try:
            run(seed)
        except (Violation, AssertionError):
            return True
    return False


def test_a_member_that_votes_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Raft._on_vote_request

    def forgetful(self: Raft, m: Message) -> None:
        if m.type == MessageType.VOTE:
            self.vote = 0
        original(self, m)

    monkeypatch.setattr(Raft, "_on_vote_request", forgetful)
    assert _caught()


def test_a_stale_read_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(raft: Raft, m: Message) -> None:
        leader._answer_read(raft, m, raft.log.committed)  # without asking anybody

    monkeypatch.setattr(leader, "_on_read_index", hasty)
    assert _caught()


def test_committing_what_no_majority_has_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from etcd_raft.raft.progress import committed_index

    def eager(raft: Raft) -> bool:
        index = committed_index(raft.voters, {member: p.match for member, p in raft.progress.items()})
        if index <= raft.log.committed:
            return False
        raft.log.commit_to(min(index + 1, raft.log.last_index))  # and one more than anybody has confirmed
        return True

    monkeypatch.setattr(leader, "maybe_commit", eager)
    assert _caught()
