"""The checker finds what it is for."""

from tests.etcd_raft.linearizability.checker import FOREVER, Operation, delete, get, linearizable, put, swap


def _history(*rows: tuple[float, float, object]) -> list[Operation]:
    return [Operation(called, returned, step, "") for called, returned, step in rows]  # type: ignore[arg-type]


def test_reads_in_order_are_fine() -> None:
    assert linearizable(_history((0, 1, put(b"a", b"1")), (2, 3, get(b"a", b"1")), (4, 5, get(b"b", None))), ())


def test_a_stale_read_is_found() -> None:
    stale = _history((0, 1, put(b"a", b"1")), (2, 3, put(b"a", b"2")), (4, 5, get(b"a", b"1")))
    assert not linearizable(stale, ())


def test_overlapping_operations_may_go_either_way() -> None:
    assert linearizable(_history((0, 9, put(b"a", b"1")), (1, 2, get(b"a", None)), (3, 4, get(b"a", b"1"))), ())
    assert not linearizable(_history((0, 9, put(b"a", b"1")), (1, 2, get(b"a", b"1")), (3, 4, get(b"a", None))), ())


def test_a_lost_write_is_found_but_an_unknown_one_may_be_lost() -> None:
    assert not linearizable(_history((0, 1, put(b"a", b"1")), (2, 3, get(b"a", None))), ())
    assert linearizable(_history((0, FOREVER, put(b"a", b"1")), (2, 3, get(b"a", None))), ())
    assert linearizable(_history((0, FOREVER, put(b"a", b"1")), (2, 3, get(b"a", None)), (4, 5, get(b"a", b"1"))), ())


def test_half_a_transaction_is_found() -> None:
    torn = _history(
        (0, 1, put(b"a", b"1")),
        (2, 3, swap(b"a", b"1", b"b", b"2", True)),
        (4, 5, get(b"a", b"2")),
        (6, 7, get(b"b", None)),
    )
    assert not linearizable(torn, ())


def test_a_deletion_says_what_was_there() -> None:
    assert not linearizable(_history((0, 1, put(b"a", b"1")), (2, 3, delete(b"a", 0))), ())
