"""Is there an order in which one store could have done all this? (Wing and Gong's search, with Lowe's memory of states.)

A history is a list of operations with the time of their call and of their return. Operations whose outcome is unknown (a
timeout, a lost connection) return at infinity: they may have happened at any time after the call, or never. Several keys are
one state, because transactions touch more than one.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

FOREVER = float("inf")


@dataclass
class Operation:
    """``step(state) -> (fits, new state)``: whether the observed outcome fits the state, and the state after it."""

    called: float
    returned: float
    step: Callable[[Any], tuple[bool, Any]]
    what: str

    @property
    def unknown(self) -> bool:
        return self.returned == FOREVER


def linearizable(history: list[Operation], initial: Hashable) -> bool:
    """Whether some order of the operations, in which none comes before one that had returned when it was called, explains
    every outcome."""
    operations = sorted(history, key=lambda op: op.called)
    required = sum(1 << i for i, op in enumerate(operations) if not op.unknown)
    # Depth first over (which operations are done, state); a pair that has failed once fails always.
    stack: list[tuple[int, Any]] = [(0, initial)]
    seen: set[tuple[int, Any]] = {(0, initial)}
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        for index in _candidates(operations, done):
            fits, after = operations[index].step(state)
            if not fits:
                continue
            following = (done | 1 << index, after)
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return False


def _candidates(operations: list[Operation], done: int) -> list[int]:
    """What may come next: everything called before the first return among what is not done."""
    first_return = FOREVER
    found: list[int] = []
    for index, operation in enumerate(operations):
        if done >> index & 1:
            continue
        if operation.called > first_return:
            break
        found.append(index)
        first_return = min(first_return, operation.returned)
    return found


# ---- the store as the histories see it: a tuple of (key, value) pairs in order of keys

State = tuple[tuple[bytes, bytes], ...]


def _put(state: State, key: bytes, value: bytes) -> State:
    return tuple(sorted({**dict(state), key: value}.items()))


def put(key: bytes, value: bytes) -> Callable[[State], tuple[bool, State]]:
    return lambda state: (True, _put(state, key, value))


def get(key: bytes, found: bytes | None) -> Callable[[State], tuple[bool, State]]:
    return lambda state: (dict(state).get(key) == found, state)


def delete(key: bytes, deleted: int | None) -> Callable[[State], tuple[bool, State]]:
    """``deleted`` is None when the outcome is unknown."""

    def step(state: State) -> tuple[bool, State]:
        there = dict(state)
        fits = deleted is None or (key in there) == bool(deleted)
        there.pop(key, None)
        return fits, tuple(sorted(there.items()))

    return step


def swap(
    key: bytes, expected: bytes, other: bytes, value: bytes, succeeded: bool | None
) -> Callable[[State], tuple[bool, State]]:
    """A transaction: if ``key`` holds ``expected``, write ``value`` to it and to ``other``."""

    def step(state: State) -> tuple[bool, State]:
        holds = dict(state).get(key) == expected
        if succeeded is not None and holds != succeeded:
            return False, state
        return True, _put(_put(state, key, value), other, value) if holds else state

    return step
