"""Is there an order in which one store could have done all this? (Wing and Gong's search, with Lowe's memory of states.)

A history is a list of operations with the time of their call and of their return. Operations whose outcome is unknown (a
timeout, a lost connection) return at infinity: they may have happened at any time after the call, or never. Several keys are
one state, because transactions touch more than one. What a state is, is the model's business.
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


def stuck(history: list[Operation], initial: Hashable) -> list[Operation] | None:
    """None when some order of the operations, in which none comes before one that had returned when it was called, explains every
    outcome. Else what could have come next where the longest explanation ends, and does not fit there."""
    operations = sorted(history, key=lambda op: op.called)
    required = sum(1 << i for i, op in enumerate(operations) if not op.unknown)
    # Depth first over (which operations are done, state); a pair that has failed once fails always.
    stack: list[tuple[int, Any]] = [(0, initial)]
    seen: set[tuple[int, Any]] = {(0, initial)}
    longest = 0
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return None
        if done.bit_count() > longest.bit_count():
            longest = done
        for index in _candidates(operations, done):
            fits, after = operations[index].step(state)
            if not fits:
                continue
            following = (done | 1 << index, after)
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return [operations[index] for index in _candidates(operations, longest)]


def linearizable(history: list[Operation], initial: Hashable) -> bool:
    return stuck(history, initial) is None


def _candidates(operations: list[Operation], done: int) -> list[int]:
    """What may come next: everything called before the first return among what is not done."""
    first_return = FOREVER
    found: list[int] = []
    # Operations are done roughly in order: skip what is done without a gap.
    start = (~done & (done + 1)).bit_length() - 1
    for index in range(start, len(operations)):
        if done >> index & 1:
            continue
        operation = operations[index]
        if operation.called > first_return:
            break
        found.append(index)
        first_return = min(first_return, operation.returned)
    return found
