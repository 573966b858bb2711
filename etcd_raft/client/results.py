"""What the client hands back, and how a transaction is written down.

``KeyValue`` is the protobuf message itself (``key, value, create_revision, mod_revision, version, lease``): nothing is
copied on the way. Results are small slotted classes around the response.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etcd_raft.proto import kv_pb2, rpc_pb2

if TYPE_CHECKING:
    from etcd_raft.proto.kv_pb2 import KeyValue
else:
    KeyValue = kv_pb2.KeyValue

PUT = "PUT"
DELETE = "DELETE"


class RangeResult:
    """``revision`` is the store's revision when it answered; ``count`` counts all matches, also those beyond a limit."""

    __slots__ = ("count", "kvs", "more", "revision")

    def __init__(self, response: Any, revision: int = 0) -> None:
        self.kvs: Sequence[KeyValue] = response.kvs
        self.more: bool = response.more
        self.count: int = response.count
        self.revision: int = response.header.revision or revision


class PutResult:
    __slots__ = ("prev_kv", "revision")

    def __init__(self, response: Any, revision: int = 0) -> None:
        self.revision: int = response.header.revision or revision
        self.prev_kv: KeyValue | None = response.prev_kv if response.HasField("prev_kv") else None


class DeleteResult:
    __slots__ = ("deleted", "prev_kvs", "revision")

    def __init__(self, response: Any, revision: int = 0) -> None:
        self.revision: int = response.header.revision or revision
        self.deleted: int = response.deleted
        self.prev_kvs: Sequence[KeyValue] = response.prev_kvs


class TxnResult:
    """``responses`` follow the order of the operations in the branch that ran."""

    __slots__ = ("responses", "revision", "succeeded")

    def __init__(self, response: Any, revision: int = 0) -> None:
        self.succeeded: bool = response.succeeded
        self.revision: int = response.header.revision or revision
        self.responses: list[Any] = [_response(op, self.revision) for op in response.responses]


def _response(op: Any, revision: int) -> "RangeResult | PutResult | DeleteResult | TxnResult":
    match op.WhichOneof("response"):
        case "response_range":
            return RangeResult(op.response_range, revision)
        case "response_put":
            return PutResult(op.response_put, revision)
        case "response_delete_range":
            return DeleteResult(op.response_delete_range, revision)
        case "response_txn":
            return TxnResult(op.response_txn, revision)
        case other:
            raise ValueError(f"the store answered a transaction with an operation of kind {other!r}")


class LeaseGrant:
    __slots__ = ("id", "ttl")

    def __init__(self, id: int, ttl: int) -> None:
        self.id = id
        self.ttl = ttl


class LeaseTimeToLive:
    """``ttl`` is -1 for a lease that is not there; ``keys`` is filled when asked for."""

    __slots__ = ("granted_ttl", "id", "keys", "ttl")

    def __init__(self, response: Any) -> None:
        self.id: int = response.ID
        self.ttl: int = response.TTL
        self.granted_ttl: int = response.grantedTTL
        self.keys: list[bytes] = list(response.keys)


class Member:
    __slots__ = ("client_urls", "id", "is_learner", "name", "peer_urls")

    def __init__(self, message: Any) -> None:
        self.id: int = message.ID
        self.name: str = message.name
        self.peer_urls: list[str] = list(message.peerURLs)
        self.client_urls: list[str] = list(message.clientURLs)
        self.is_learner: bool = message.isLearner


class Status:
    """One member's view: its version, leader (0 = none), indexes and database size."""

    __slots__ = ("db_size", "db_size_in_use", "errors", "is_learner", "leader", "member_id", "raft_applied_index",
                 "raft_index", "raft_term", "revision", "version")  # fmt: skip

    def __init__(self, response: Any) -> None:
        self.version: str = response.version
        self.member_id: int = response.header.member_id
        self.revision: int = response.header.revision
        self.leader: int = response.leader
        self.raft_index: int = response.raftIndex
        self.raft_applied_index: int = response.raftAppliedIndex
        self.raft_term: int = response.raftTerm
        self.db_size: int = response.dbSize
        self.db_size_in_use: int = response.dbSizeInUse
        self.is_learner: bool = response.isLearner
        self.errors: list[str] = list(response.errors)


class Event:
    """One change: ``type`` is ``PUT`` or ``DELETE``. A deletion's ``kv`` has only ``key`` and ``mod_revision``."""

    __slots__ = ("kv", "prev_kv", "type")

    def __init__(self, message: Any) -> None:
        self.type: str = DELETE if message.type else PUT
        self.kv: KeyValue = message.kv
        self.prev_kv: KeyValue | None = message.prev_kv if message.HasField("prev_kv") else None


class WatchBatch:
    """Changes in order, or, with ``is_progress``, the promise that all changes up to ``revision`` have been delivered."""

    __slots__ = ("events", "is_progress", "revision")

    def __init__(self, events: list[Event], revision: int, is_progress: bool = False) -> None:
        self.events = events
        self.revision = revision
        self.is_progress = is_progress


_RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}


class Compare:
    """Conditions of a transaction: ``Compare.mod_revision(key, "=", 7)``; a key that is not there has revisions 0."""

    @staticmethod
    def version(key: bytes, op: str, number: int, range_end: bytes = b"") -> Any:
        return rpc_pb2.Compare(target=0, result=_RESULTS[op], key=key, version=number, range_end=range_end)  # type: ignore[arg-type]

    @staticmethod
    def create_revision(key: bytes, op: str, number: int, range_end: bytes = b"") -> Any:
        return rpc_pb2.Compare(target=1, result=_RESULTS[op], key=key, create_revision=number, range_end=range_end)  # type: ignore[arg-type]

    @staticmethod
    def mod_revision(key: bytes, op: str, number: int, range_end: bytes = b"") -> Any:
        return rpc_pb2.Compare(target=2, result=_RESULTS[op], key=key, mod_revision=number, range_end=range_end)  # type: ignore[arg-type]

    @staticmethod
    def value(key: bytes, op: str, value: bytes, range_end: bytes = b"") -> Any:
        return rpc_pb2.Compare(target=3, result=_RESULTS[op], key=key, value=value, range_end=range_end)  # type: ignore[arg-type]

    @staticmethod
    def lease(key: bytes, op: str, lease: int, range_end: bytes = b"") -> Any:
        return rpc_pb2.Compare(target=4, result=_RESULTS[op], key=key, lease=lease, range_end=range_end)  # type: ignore[arg-type]


def op_get(key: bytes, range_end: bytes | None = None, **options: Any) -> Any:
    """A range inside a transaction; options are those of ``RangeRequest`` (``limit``, ``keys_only``, ...)."""
    return rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key, range_end=range_end or b"", **options))


def op_put(key: bytes, value: bytes, lease: int = 0, prev_kv: bool = False) -> Any:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease, prev_kv=prev_kv))


def op_delete(key: bytes, range_end: bytes | None = None, prev_kv: bool = False) -> Any:
    request = rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end or b"", prev_kv=prev_kv)
    return rpc_pb2.RequestOp(request_delete_range=request)


def op_txn(compare: Sequence[Any] = (), success: Sequence[Any] = (), failure: Sequence[Any] = ()) -> Any:
    return rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(compare=compare, success=success, failure=failure))


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that start with ``prefix``; ``b"\\0"`` (no end) when there is none after it."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
