"""The checker finds what it is for, with the model of the store."""

from tests.etcd_raft.robustness.checker import FOREVER, Operation, linearizable, stuck
from tests.etcd_raft.robustness.model import State, delete, get, put, swap

_EMPTY = State(1)
_A1 = ((b"a", b"1", 2),)


def _history(*rows: tuple[float, float, object]) -> list[Operation]:
    return [Operation(called, returned, step, f"at {called}") for called, returned, step in rows]  # type: ignore[arg-type]


def test_operations_in_order_are_fine() -> None:
    put_a, seen, none = put(b"a", b"1", 2), get(b"a", b"", _A1, 2), get(b"b", b"", (), 2)
    assert linearizable(_history((0, 1, put_a), (2, 3, seen), (4, 5, none)), _EMPTY)


def test_a_stale_read_is_found_and_named() -> None:
    stale = _history((0, 1, put(b"a", b"1", 2)), (2, 3, put(b"a", b"2", 3)), (4, 5, get(b"a", b"", _A1, 2)))
    found = stuck(stale, _EMPTY)
    assert found is not None
    assert [operation.what for operation in found] == ["at 4"]


def test_overlapping_operations_may_go_either_way_but_not_back() -> None:
    write, before, after = (0, 9, put(b"a", b"1", 2)), get(b"a", b"", (), 1), get(b"a", b"", _A1, 2)
    assert linearizable(_history(write, (1, 2, before), (3, 4, after)), _EMPTY)
    assert not linearizable(_history(write, (1, 2, after), (3, 4, before)), _EMPTY)


def test_a_lost_write_is_found() -> None:
    assert not linearizable(_history((0, 1, put(b"a", b"1", 2)), (2, 3, get(b"a", b"", (), 2))), _EMPTY)
    assert not linearizable(_history((0, 1, put(b"a", b"1", 2)), (2, 3, get(b"a", b"", (), 1))), _EMPTY)


def test_a_write_whose_outcome_is_unknown_may_have_happened_at_any_time_or_never() -> None:
    unknown = (0, FOREVER, put(b"a", b"1", None))
    nothing = (2, 3, get(b"a", b"", (), 1))
    assert linearizable(_history(unknown, nothing), _EMPTY)
    assert linearizable(_history(unknown, nothing, (4, 5, get(b"a", b"", _A1, 2))), _EMPTY)
    assert not linearizable(_history((0, 1, put(b"b", b"9", 2)), nothing, (4, 5, get(b"a", b"", _A1, 2))), _EMPTY)


def test_two_writes_at_one_revision_are_found() -> None:
    assert not linearizable(_history((0, 1, put(b"a", b"1", 2)), (2, 3, put(b"b", b"1", 2))), _EMPTY)


def test_a_revision_that_goes_back_is_found() -> None:
    assert not linearizable(_history((0, 1, get(b"a", b"", (), 1)), (2, 3, get(b"a", b"", (), 0))), _EMPTY)


def test_half_a_transaction_is_found() -> None:
    torn = _history(
        (0, 1, put(b"a", b"1", 2)),
        (2, 3, swap(b"a", 2, b"b", b"2", True, (), 3)),
        (4, 5, get(b"a", b"c", ((b"a", b"2", 3),), 3)),
    )
    assert not linearizable(torn, _EMPTY)


def test_a_transaction_that_took_the_wrong_branch_is_found() -> None:
    first = (0, 1, put(b"a", b"1", 2))
    assert linearizable(_history(first, (2, 3, swap(b"a", 1, b"b", b"2", False, _A1, 2))), _EMPTY)
    assert not linearizable(_history(first, (2, 3, swap(b"a", 1, b"b", b"2", True, (), 3))), _EMPTY)
    assert not linearizable(_history(first, (2, 3, swap(b"a", 2, b"b", b"2", False, _A1, 2))), _EMPTY)


def test_a_deletion_says_what_was_there() -> None:
    first = (0, 1, put(b"a", b"1", 2))
    assert linearizable(_history(first, (2, 3, delete(b"a", 1, 3)), (4, 5, delete(b"a", 0, 3))), _EMPTY)
    assert not linearizable(_history(first, (2, 3, delete(b"a", 0, 2))), _EMPTY)
