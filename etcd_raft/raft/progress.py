"""What a leader knows of each member, and the arithmetic of majorities over it."""

from collections import deque
from collections.abc import Collection, Mapping
from enum import IntEnum


def quorum(size: int) -> int:
    return size // 2 + 1


def committed_index(voters: Collection[int], match: Mapping[int, int]) -> int:
    """The largest index that a majority of ``voters`` has."""
    if not voters:
        return 0
    ordered = sorted((match.get(voter, 0) for voter in voters), reverse=True)
    return ordered[quorum(len(ordered)) - 1]


class VoteResult(IntEnum):
    PENDING = 0
    WON = 1
    LOST = 2


def vote_result(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Who has a majority, if anybody can tell yet. No voters: nobody can win."""
    yes = sum(1 for voter in voters if votes.get(voter) is True)
    no = sum(1 for voter in voters if votes.get(voter) is False)
    needed = quorum(len(voters))
    if voters and yes >= needed:
        return VoteResult.WON
    if yes + (len(voters) - yes - no) < needed:
        return VoteResult.LOST
    return VoteResult.PENDING


class ProgressState(IntEnum):
    PROBE = 0  # one append per heartbeat until we know where the logs agree
    REPLICATE = 1  # appends are pipelined, `next` runs ahead of the answers
    SNAPSHOT = 2  # a snapshot is under way; appends wait for it


class Inflights:
    """The window of appends that are not answered yet: a count limit, as indexes of their last entries."""

    __slots__ = ("_indexes", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._indexes: deque[int] = deque()

    def add(self, last: int) -> None:
        assert not self.full(), "the window of appends is full"
        self._indexes.append(last)

    def free_to(self, index: int) -> None:
        while self._indexes and self._indexes[0] <= index:
            self._indexes.popleft()

    def full(self) -> bool:
        return len(self._indexes) >= self.limit

    def reset(self) -> None:
        self._indexes.clear()

    def __len__(self) -> int:
        return len(self._indexes)


class Progress:
    """One member as its leader sees it: it has everything up to ``match``; ``next`` is what to send next."""

    __slots__ = ("inflights", "is_learner", "match", "next", "pending_snapshot", "probe_sent", "recent_active", "state")

    def __init__(self, next: int, limit: int, is_learner: bool = False) -> None:
        self.match = 0
        self.next = next
        self.state = ProgressState.PROBE
        self.probe_sent = False
        self.pending_snapshot = 0
        self.recent_active = False
        self.is_learner = is_learner
        self.inflights = Inflights(limit)

    def _reset(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.pending_snapshot = 0
        self.inflights.reset()

    def become_probe(self) -> None:
        # After a snapshot that has arrived, everything up to it is there even if nobody said so yet.
        pending = self.pending_snapshot if self.state == ProgressState.SNAPSHOT else 0
        self._reset(ProgressState.PROBE)
        self.next = max(self.match + 1, pending + 1)

    def become_replicate(self) -> None:
        self._reset(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        self._reset(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1

    def sent_entries(self, count: int, last: int) -> None:
        if self.state == ProgressState.REPLICATE:
            if count:
                self.next = last + 1
                self.inflights.add(last)
            self.probe_sent = self.inflights.full()
        elif self.state == ProgressState.PROBE:
            self.probe_sent = True

    def maybe_update(self, index: int) -> bool:
        """It has everything up to ``index``; whether that is news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.probe_sent = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """It refused an append after ``rejected`` and may agree at ``hint``; False when that is old news."""
        if self.state == ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.probe_sent = False
        return True

    def paused(self) -> bool:
        """Whether to send it nothing until it answers (an append, or a heartbeat, which opens the way for one more)."""
        match self.state:
            case ProgressState.PROBE | ProgressState.REPLICATE:
                return self.probe_sent
            case _:
                return True
