"""An asyncio client for the etcd v3 API: works against ``python -m etcd_raft`` and against real etcd alike.

    client = EtcdClient(["https://127.0.0.1:2379"], ca="ca.crt", cert="client.crt", key="client.key")
    got = await client.get(b"/registry/pods/", range_end=prefix_end(b"/registry/pods/"))
    async with client.watch(b"/registry/pods/", prefix_end(b"/registry/pods/"), got.revision + 1) as watcher:
        async for batch in watcher:
            ...

Read ``client`` for the calls and their rules of repetition, ``watch`` for what a watch guarantees, ``errors`` for what
can go wrong, ``connection`` for the wire.
"""

from etcd_raft.client.client import EtcdClient
from etcd_raft.client.errors import (
    Compacted,
    DeadlineExceeded,
    EtcdError,
    FutureRevision,
    LeaseNotFound,
    NoLeader,
    NoSpace,
    PermissionDenied,
    RequestTooLarge,
    Unavailable,
)
from etcd_raft.client.results import (
    Compare,
    DeleteResult,
    Event,
    KeyValue,
    LeaseGrant,
    LeaseTimeToLive,
    Member,
    PutResult,
    RangeResult,
    Status,
    TxnResult,
    WatchBatch,
    op_delete,
    op_get,
    op_put,
    op_txn,
    prefix_end,
)
from etcd_raft.client.watch import Watcher

__all__ = [
    "Compacted",
    "Compare",
    "DeadlineExceeded",
    "DeleteResult",
    "EtcdClient",
    "EtcdError",
    "Event",
    "FutureRevision",
    "KeyValue",
    "LeaseGrant",
    "LeaseNotFound",
    "LeaseTimeToLive",
    "Member",
    "NoLeader",
    "NoSpace",
    "PermissionDenied",
    "PutResult",
    "RangeResult",
    "RequestTooLarge",
    "Status",
    "TxnResult",
    "Unavailable",
    "WatchBatch",
    "Watcher",
    "op_delete",
    "op_get",
    "op_put",
    "op_txn",
    "prefix_end",
]
