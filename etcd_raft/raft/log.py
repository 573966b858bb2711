"""The replicated log as a member holds it: entries since the last compaction, and three marks in it.

    first ............ applied ............ committed ............ stable ............ last
    (compacted before)  (in the state)       (on a majority)        (on this disk)

``stable`` may be before or after ``committed``; ``applied`` is never after either.
"""

from collections.abc import Sequence

from etcd_raft.raft.messages import Entry, Snapshot


class RaftLog:
    """Entries after ``snapshot``, which stands for everything before them."""

    def __init__(self, snapshot: Snapshot | None = None, entries: Sequence[Entry] = ()) -> None:
        start = snapshot or Snapshot()
        self.offset = start.index  # the entry at this index is the last one that is compacted away
        self.offset_term = start.term
        self._entries: list[Entry] = list(entries)
        for position, entry in enumerate(self._entries):
            assert entry.index == self.offset + 1 + position, f"entry {entry.index} after {self.offset + position}"
        self.stable = self.last_index
        self.committed = self.offset
        self.applied = self.offset
        self.pending_snapshot: Snapshot | None = None  # received, not yet on disk

    @property
    def first_index(self) -> int:
        return self.offset + 1

    @property
    def last_index(self) -> int:
        return self.offset + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.offset_term

    def term(self, index: int) -> int | None:
        """The term of the entry at ``index``; None when it is compacted away or not there yet."""
        if index == self.offset:
            return self.offset_term
        position = index - self.offset - 1
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        return None

    def matches(self, index: int, term: int) -> bool:
        return self.term(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate with such a last entry has at least what we have (paper 5.4.1)."""
        return last_term > self.last_term or (last_term == self.last_term and last_index >= self.last_index)

    def slice(self, low: int, high: int, max_size: int | None = None) -> list[Entry]:
        """Entries ``low <= index < high``; with ``max_size`` only as many as fit, but at least one."""
        entries = self._entries[low - self.offset - 1 : high - self.offset - 1]
        if max_size is None:
            return entries
        total = 0
        for count, entry in enumerate(entries):
            total += entry.size()
            if total > max_size and count:
                return entries[:count]
        return entries

    def unstable(self) -> list[Entry]:
        """Entries that are not on this disk yet."""
        return self._entries[self.stable - self.offset :]

    def to_apply(self, max_size: int) -> list[Entry]:
        """Committed entries that are on this disk and not yet applied."""
        high = min(self.committed, self.stable)
        if high <= self.applied or self.pending_snapshot is not None:
            return []
        return self.slice(self.applied + 1, high + 1, max_size)

    def append(self, entries: Sequence[Entry]) -> int:
        """Put entries at their place, dropping what stood there; returns the new last index."""
        if not entries:
            return self.last_index
        before = entries[0].index - 1
        assert before >= self.committed, f"an entry at {before + 1} would replace one committed up to {self.committed}"
        assert before <= self.last_index, f"an entry at {before + 1} would leave a gap after {self.last_index}"
        if before < self.last_index:
            del self._entries[before - self.offset :]
        self.stable = min(self.stable, before)
        self._entries.extend(entries)
        return self.last_index

    def maybe_append(self, index: int, log_term: int, committed: int, entries: Sequence[Entry]) -> int | None:
        """A leader's append: the index of its last entry, or None when our log does not have the one before it."""
        if not self.matches(index, log_term):
            return None
        last_new = index + len(entries)
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                # Only from the first entry that differs: a delayed append must not cut off what came after it.
                self.append(entries[position:])
                break
        self.commit_to(min(committed, last_new))
        return last_new

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The largest place up to ``index`` whose term is at most ``term``: where two logs may still agree."""
        while index > self.offset:
            ours = self.term(index)
            if ours is None:
                return index, 0
            if ours <= term:
                return index, ours
            index -= 1
        return index, self.term(index) or 0

    def commit_to(self, index: int) -> None:
        if index > self.committed:
            assert index <= self.last_index, f"commit {index} is beyond the last entry {self.last_index}: lost entries?"
            self.committed = index

    def stable_to(self, index: int, term: int) -> None:
        """The entries up to ``index`` are on disk (unless they have been replaced since they were handed out)."""
        if self.matches(index, term):
            self.stable = max(self.stable, index)

    def applied_to(self, index: int) -> None:
        assert self.applied <= index <= min(self.committed, self.stable), (
            f"applied {index}, but applied so far {self.applied}, committed {self.committed}, stable {self.stable}"
        )
        self.applied = index

    def restore(self, snapshot: Snapshot) -> None:
        """Start over from a leader's snapshot."""
        self.offset, self.offset_term = snapshot.index, snapshot.term
        self._entries = []
        self.committed = self.stable = snapshot.index
        self.applied = min(self.applied, snapshot.index)
        self.pending_snapshot = snapshot

    def snapshot_stored(self, index: int) -> None:
        if self.pending_snapshot is not None and self.pending_snapshot.index == index:
            self.pending_snapshot = None
            self.applied = max(self.applied, index)

    def compact(self, index: int) -> None:
        """Forget entries up to ``index``, which must be applied."""
        assert index <= self.applied, f"cannot compact up to {index}: applied only up to {self.applied}"
        if index <= self.offset:
            return
        term = self.term(index)
        assert term is not None
        del self._entries[: index - self.offset]
        self.offset, self.offset_term = index, term
