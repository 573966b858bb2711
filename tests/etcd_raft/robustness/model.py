"""The store as its clients may see it, one operation after the other: steps for ``checker``.

A state is the revision and what each key holds. Every answer names a revision, and it has to be exactly the one that the model
is at: that is more than linearizability asks for, and it makes the search short.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

Values = tuple[tuple[bytes, bytes, int], ...]  # (key, value, mod revision) in order of keys


class State(NamedTuple):
    revision: int
    values: Values = ()

    def get(self, key: bytes) -> tuple[bytes, int] | None:
        return next(((value, mod) for k, value, mod in self.values if k == key), None)

    def range(self, key: bytes, end: bytes) -> Values:
        return tuple(row for row in self.values if row[0] == key or (end and key <= row[0] < end))

    def after(self, changes: Mapping[bytes, bytes | None]) -> "State":
        """One revision later; None deletes."""
        rows = {k: (value, mod) for k, value, mod in self.values}
        for key, value in changes.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = (value, self.revision + 1)
        return State(self.revision + 1, tuple((k, *rows[k]) for k in sorted(rows)))


Step = Callable[[State], tuple[bool, State]]


def _at(expected: int | None, state: State) -> tuple[bool, State]:
    return expected is None or state.revision == expected, state


def put(key: bytes, value: bytes, revision: int | None) -> Step:
    """``revision`` (here and below) is None when the outcome is unknown."""
    return lambda state: _at(revision, state.after({key: value}))


def get(key: bytes, end: bytes, found: Values, revision: int) -> Step:
    def step(state: State) -> tuple[bool, State]:
        return state.revision == revision and state.range(key, end) == found, state

    return step


def delete(key: bytes, deleted: int | None, revision: int | None) -> Step:
    def step(state: State) -> tuple[bool, State]:
        there = state.get(key) is not None
        if deleted is not None and there != bool(deleted):
            return False, state
        return _at(revision, state.after({key: None}) if there else state)

    return step


def swap(
    key: bytes, expected: int, other: bytes, value: bytes, succeeded: bool | None, found: Values, revision: int | None
) -> Step:
    """A transaction: if ``key`` was last changed at ``expected``, write ``value`` to it and to ``other``, else read it."""

    def step(state: State) -> tuple[bool, State]:
        now = state.get(key)
        holds = (now[1] if now else 0) == expected
        if succeeded is not None and holds != succeeded:
            return False, state
        if holds:
            return _at(revision, state.after({key: value, other: value}))
        fits = succeeded is None or state.range(key, b"") == found
        return fits and _at(revision, state)[0], state

    return step
