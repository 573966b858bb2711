"""Requests on keys: checked, then run against the store. Answers are encoded responses without their header.

Two kinds of checks: ``check_*`` need only the request and are made before it is proposed; the others need the state, are made
when it is applied, and come before the first change, so that a refused request changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from etcd_raft.mvcc import errors, wire
from etcd_raft.mvcc.lease import Lessor
from etcd_raft.mvcc.store import Change, Store, Write
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.proto.kv_pb2 import KeyValue

MAX_OPS = 128


@dataclass(slots=True)
class Applied:
    """What running a request gave: the encoded body, the revision it is about, and what it changed."""

    body: bytes
    revision: int
    changes: list[Change] = field(default_factory=list)


class Keys:
    """Runs requests. Everything here is a function of the state and the request: all members get the same."""

    def __init__(self, store: Store, lessor: Lessor) -> None:
        self.store = store
        self.lessor = lessor
        # Requests, and operations inside of transactions.
        self.ranges = self.puts = self.deletes = self.txns = 0

    # ---- single requests

    def range(self, request: Any, revision: int | None = None) -> Applied:
        """``revision`` is what the answer says; inside a write it is that write's."""
        store = self.store
        self.ranges += 1
        filtered = _has_filters(request)
        by_key = request.sort_target == pb.RangeRequest.KEY
        natural = request.sort_order == pb.RangeRequest.NONE or (
            by_key and request.sort_order == pb.RangeRequest.ASCEND
        )
        limit = request.limit if not filtered and natural else 0
        found = store.range(
            request.key, request.range_end, request.revision, limit + 1 if limit > 0 else 0, request.count_only
        )
        kvs: list[bytes] = found.kvs
        if filtered or not (natural and by_key) or request.keys_only:
            kvs = _arranged(kvs, request, filtered)
        more = 0 < request.limit < len(kvs)
        if more:
            kvs = kvs[: request.limit]
        return Applied(wire.range_body(kvs, more, found.count), store.revision if revision is None else revision)

    def put(self, request: Any) -> Applied:
        self.lessor.check(request.lease)
        self._check_put(request)
        with self.store.writing() as write:
            body = self._put(request, write)
        return Applied(body, write.revision, write.changes)

    def delete_range(self, request: Any) -> Applied:
        with self.store.writing() as write:
            body = self._delete_range(request, write)
        return Applied(body, write.revision, write.changes)

    def revoke(self, lease_id: int) -> Applied:
        """End a lease: its keys go, in one revision."""
        lease = self.lessor.forget(lease_id)
        with self.store.writing() as write:
            for key in sorted(lease.keys):
                write.delete(key)
        return Applied(b"", write.revision, write.changes)

    def txn(self, request: Any) -> Applied:
        self.txns += 1
        path: list[bool] = []
        self._choose(request, path)
        self._check_branch(request, iter(path), puts=True)
        self._check_branch(request, iter(path), puts=False)
        with self.store.writing() as write:
            body = self._run(request, iter(path), write)
        return Applied(body, write.revision, write.changes)

    # ---- inside a write

    def _put(self, request: Any, write: Write) -> bytes:
        store = self.store
        self.puts += 1
        value, lease = request.value, request.lease
        previous: bytes | None = None
        if request.prev_kv or request.ignore_value or request.ignore_lease:
            previous = store.newest(request.key)
        if request.ignore_value or request.ignore_lease:
            assert previous is not None, "checked before"
            old = KeyValue.FromString(previous)
            value = old.value if request.ignore_value else value
            lease = old.lease if request.ignore_lease else lease
        before = write.put(request.key, value, lease)
        old_lease = before.lease if before is not None else 0
        if old_lease or lease:
            self.lessor.move(request.key, old_lease, lease)
        return wire.put_body(previous if request.prev_kv else None)

    def _delete_range(self, request: Any, write: Write) -> bytes:
        store = self.store
        self.deletes += 1
        doomed = [key for key, raw in store.index.scan(request.key, request.range_end) if not raw[-1]]
        previous: list[bytes] = []
        for key in doomed:
            record = store.index.get(key)
            assert record is not None
            if request.prev_kv and (kv := store.newest(key)) is not None:
                previous.append(kv)
            if record.lease:
                self.lessor.move(key, record.lease, 0)
            write.delete(key)
        return wire.delete_body(len(doomed), previous)

    def _run(self, request: Any, path: Any, write: Write) -> bytes:
        succeeded = next(path)
        responses: list[bytes] = []
        for op in request.success if succeeded else request.failure:
            kind = op.WhichOneof("request")
            if kind == "request_range":
                body = self.range(op.request_range).body
                responses.append(wire.nested(0x0A, wire.revision_header(write.revision) + body))
            elif kind == "request_put":
                body = self._put(op.request_put, write)
                responses.append(wire.nested(0x12, wire.revision_header(write.revision) + body))
            elif kind == "request_delete_range":
                body = self._delete_range(op.request_delete_range, write)
                responses.append(wire.nested(0x1A, wire.revision_header(write.revision) + body))
            elif kind == "request_txn":
                body = self._run(op.request_txn, path, write)
                # The header of a nested transaction is there and empty, as etcd's is.
                responses.append(wire.nested(0x22, wire.revision_header(0) + body))
            else:
                responses.append(b"")
        return wire.txn_body(succeeded, responses)

    # ---- conditions and checks against the state

    def _choose(self, request: Any, path: list[bool]) -> None:
        """Decide every branch, the nested ones too, on the state before the transaction."""
        succeeded = all(self._holds(compare) for compare in request.compare)
        path.append(succeeded)
        for op in request.success if succeeded else request.failure:
            if op.WhichOneof("request") == "request_txn":
                self._choose(op.request_txn, path)

    def _holds(self, compare: Any) -> bool:
        found = self.store.range(compare.key, compare.range_end).kvs
        if not found:
            # A value that is not there equals nothing, not even the empty one; a revision that is not there is 0.
            return compare.target != pb.Compare.VALUE and _compare(compare, KeyValue())
        return all(_compare(compare, KeyValue.FromString(kv)) for kv in found)

    def _check_put(self, request: Any) -> None:
        if (request.ignore_value or request.ignore_lease) and self.store.newest(request.key) is None:
            raise errors.KEY_NOT_FOUND
        self.lessor.check(request.lease)

    def _check_branch(self, request: Any, path: Any, *, puts: bool) -> None:
        """Checks of the puts, or of the ranges, in the branches that will run: all puts come first, as in etcd 3.5."""
        for op in request.success if next(path) else request.failure:
            kind = op.WhichOneof("request")
            if kind == "request_range" and not puts:
                self.store.check_revision(op.request_range.revision)
            elif kind == "request_put" and puts:
                self._check_put(op.request_put)
            elif kind == "request_txn":
                self._check_branch(op.request_txn, path, puts=puts)


def is_read_only(request: Any) -> bool:
    """Whether a transaction changes nothing whichever branch it takes."""
    for op in (*request.success, *request.failure):
        kind = op.WhichOneof("request")
        if kind in ("request_put", "request_delete_range"):
            return False
        if kind == "request_txn" and not is_read_only(op.request_txn):
            return False
    return True


def is_serializable(request: Any) -> bool:
    """Whether a read-only transaction is content with a possibly stale state: when all its ranges are."""
    ops = (*request.success, *request.failure)
    ranges = [op.request_range for op in ops if op.WhichOneof("request") == "request_range"]
    return len(ranges) == len(ops) and all(r.serializable for r in ranges)


# ---- checks of the request alone


def check_range(request: Any) -> None:
    if not request.key:
        raise errors.EMPTY_KEY
    if request.sort_order not in (0, 1, 2) or request.sort_target not in (0, 1, 2, 3, 4):
        raise errors.INVALID_SORT


def check_put(request: Any) -> None:
    if not request.key:
        raise errors.EMPTY_KEY
    if request.ignore_value and request.value:
        raise errors.VALUE_PROVIDED
    if request.ignore_lease and request.lease:
        raise errors.LEASE_PROVIDED


def check_delete_range(request: Any) -> None:
    if not request.key:
        raise errors.EMPTY_KEY


def check_txn(request: Any, room: int = MAX_OPS) -> None:
    """First every operation, then whether they go together: the order decides which error a request with two gets."""
    _check_ops(request, room)
    _touched(request.success)
    _touched(request.failure)


def _check_ops(request: Any, room: int) -> None:
    size = max(len(request.compare), len(request.success), len(request.failure))
    if size > room:
        raise errors.TOO_MANY_OPS
    if any(not compare.key for compare in request.compare):
        raise errors.EMPTY_KEY
    for op in (*request.success, *request.failure):
        _check_op(op, room - size)


def _check_op(op: Any, room: int) -> None:
    kind = op.WhichOneof("request")
    if kind == "request_range":
        check_range(op.request_range)
    elif kind == "request_put":
        check_put(op.request_put)
    elif kind == "request_delete_range":
        check_delete_range(op.request_delete_range)
    elif kind == "request_txn":
        _check_ops(op.request_txn, room)
    else:
        raise errors.KEY_NOT_FOUND  # an operation of no kind


_Interval = tuple[bytes, bytes]


def _touched(ops: Sequence[Any]) -> tuple[set[bytes], list[_Interval]]:
    """The keys that a branch puts and the ranges that it deletes; raises when one key would change twice."""
    deleted = [
        (op.request_delete_range.key, op.request_delete_range.range_end)
        for op in ops
        if op.WhichOneof("request") == "request_delete_range"
    ]
    puts: set[bytes] = set()
    for op in ops:
        if op.WhichOneof("request") != "request_txn":
            continue
        then_puts, then_deleted = _touched(op.request_txn.success)
        else_puts, else_deleted = _touched(op.request_txn.failure)
        both = then_puts | else_puts  # only one of the branches will run: the same key in both is no conflict
        if both & puts or any(_within(key, deleted) for key in both):
            raise errors.DUPLICATE_KEY
        puts |= both
        deleted += then_deleted + else_deleted
    for op in ops:
        if op.WhichOneof("request") == "request_put":
            key = op.request_put.key
            if key in puts or _within(key, deleted):
                raise errors.DUPLICATE_KEY
            puts.add(key)
    return puts, deleted


def _within(key: bytes, intervals: Iterable[_Interval]) -> bool:
    # An end of "\0" is compared as it stands: etcd overlooks the overlap of a put with an open-ended deletion, so the two may
    # meet in one transaction, and then they happen one after the other.
    return any(key == start if not end else start <= key < end for start, end in intervals)


# ---- ranges and comparisons


def _has_filters(request: Any) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


_SORT_KEYS = {
    0: lambda kv: kv.key,
    1: lambda kv: kv.version,
    2: lambda kv: kv.create_revision,
    3: lambda kv: kv.mod_revision,
    4: lambda kv: kv.value,
}


def _arranged(kvs: list[bytes], request: Any, filtered: bool) -> list[bytes]:
    """Filter, sort and strip: the options that need a look into the messages."""
    parsed = [KeyValue.FromString(kv) for kv in kvs]
    if filtered:
        parsed = [kv for kv in parsed if _passes(kv, request)]
    if request.sort_order != pb.RangeRequest.NONE or request.sort_target != pb.RangeRequest.KEY:
        # A target without an order sorts upwards.
        parsed.sort(key=_SORT_KEYS[request.sort_target], reverse=request.sort_order == pb.RangeRequest.DESCEND)
    if request.keys_only:
        for kv in parsed:
            kv.ClearField("value")
    return [kv.SerializeToString() for kv in parsed]


def _passes(kv: KeyValue, request: Any) -> bool:
    if request.min_mod_revision and kv.mod_revision < request.min_mod_revision:
        return False
    if request.max_mod_revision and kv.mod_revision > request.max_mod_revision:
        return False
    if request.min_create_revision and kv.create_revision < request.min_create_revision:
        return False
    return not (request.max_create_revision and kv.create_revision > request.max_create_revision)


def _compare(compare: Any, kv: KeyValue) -> bool:
    left: Any
    right: Any
    match compare.target:
        case pb.Compare.VERSION:
            left, right = kv.version, compare.version
        case pb.Compare.CREATE:
            left, right = kv.create_revision, compare.create_revision
        case pb.Compare.MOD:
            left, right = kv.mod_revision, compare.mod_revision
        case pb.Compare.VALUE:
            left, right = kv.value, compare.value
        case pb.Compare.LEASE:
            left, right = kv.lease, compare.lease
        case _:
            return True
    match compare.result:
        case pb.Compare.EQUAL:
            return bool(left == right)
        case pb.Compare.NOT_EQUAL:
            return bool(left != right)
        case pb.Compare.GREATER:
            return bool(left > right)
        case pb.Compare.LESS:
            return bool(left < right)
        case _:
            return True
