"""The client itself: calls with deadlines and failover.

Rules, the same for all calls:

* A call has ``timeout`` seconds in all, over every attempt (default: the client's ``timeout``).
* Reads are repeated at the next endpoint while time lasts whenever an endpoint is unavailable or has no leader.
* Writes are repeated only when they have surely not happened: the request never left this process, or the member
  refused it before proposing it. Otherwise they fail with ``Unavailable`` or ``DeadlineExceeded`` whose
  ``maybe_applied`` is true, and the caller, who knows what the write means, decides.
* An endpoint that fails is left for the next one; the client stays with one that answers.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from etcd_raft.client.connection import Connection, Stream
from etcd_raft.client.errors import DeadlineExceeded, EtcdError, Unavailable
from etcd_raft.client.results import (
    DeleteResult,
    LeaseGrant,
    LeaseTimeToLive,
    Member,
    PutResult,
    RangeResult,
    Status,
    TxnResult,
)
from etcd_raft.client.watch import Watcher, WatchStream
from etcd_raft.proto import rpc_pb2 as pb

# Pause between attempts: short enough not to be felt, long enough that a fallen store is not hammered.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_READS = frozenset({"Range", "Status", "MemberList", "LeaseTimeToLive", "LeaseLeases", "LeaseKeepAlive", "HashKV"})


class EtcdClient:
    """Talks to one cluster through any of its ``endpoints``. Everything shares one connection an endpoint."""

    def __init__(
        self,
        endpoints: Sequence[str],
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 10.0,
    ) -> None:
        if not endpoints:
            raise ValueError("an etcd client needs at least one endpoint")
        self.timeout = timeout
        self._connections = [Connection(endpoint, ca, cert, key) for endpoint in endpoints]
        self._current = 0
        self._watches: WatchStream | None = None

    async def __aenter__(self) -> "EtcdClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._watches is not None:
            await self._watches.close()
            self._watches = None
        for connection in self._connections:
            await connection.close()

    # ---- keys

    async def get(
        self,
        key: bytes,
        *,
        range_end: bytes | None = None,
        limit: int = 0,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        timeout: float | None = None,
        **options: Any,
    ) -> RangeResult:
        """The keys in ``[key, range_end)``; without ``range_end`` the one key. Linearizable unless ``serializable``.

        Further options are those of ``RangeRequest``: ``sort_order``, ``sort_target``, ``min_mod_revision``, ...
        """
        request = pb.RangeRequest(
            key=key, range_end=range_end or b"", limit=limit, revision=revision, serializable=serializable,
            keys_only=keys_only, count_only=count_only, **options,
        )  # fmt: skip
        return RangeResult(await self._call("KV", "Range", request, pb.RangeResponse, timeout))

    async def put(
        self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False, timeout: float | None = None
    ) -> PutResult:
        request = pb.PutRequest(key=key, value=value, lease=lease, prev_kv=prev_kv)
        return PutResult(await self._call("KV", "Put", request, pb.PutResponse, timeout))

    async def delete(
        self, key: bytes, *, range_end: bytes | None = None, prev_kv: bool = False, timeout: float | None = None
    ) -> DeleteResult:
        request = pb.DeleteRangeRequest(key=key, range_end=range_end or b"", prev_kv=prev_kv)
        return DeleteResult(await self._call("KV", "DeleteRange", request, pb.DeleteRangeResponse, timeout))

    async def txn(
        self,
        compare: Sequence[Any] = (),
        success: Sequence[Any] = (),
        failure: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult:
        """If all of ``compare`` hold, run ``success``, else ``failure``, as one atomic step."""
        request = pb.TxnRequest(compare=compare, success=success, failure=failure)
        reads_only = all(op.WhichOneof("request") == "request_range" for op in (*success, *failure))
        return TxnResult(await self._call("KV", "Txn", request, pb.TxnResponse, timeout, repeatable=reads_only))

    async def compact(self, revision: int, physical: bool = False, *, timeout: float | None = None) -> int:
        """Forget history up to ``revision``; returns the store's revision."""
        request = pb.CompactionRequest(revision=revision, physical=physical)
        response = await self._call("KV", "Compact", request, pb.CompactionResponse, timeout)
        return int(response.header.revision)

    # ---- leases

    async def lease_grant(self, ttl: int, id: int = 0, *, timeout: float | None = None) -> LeaseGrant:
        """A new lease of ``ttl`` seconds; the store chooses the id when it is 0."""
        request = pb.LeaseGrantRequest(TTL=ttl, ID=id)
        response = await self._call("Lease", "LeaseGrant", request, pb.LeaseGrantResponse, timeout)
        return LeaseGrant(response.ID, response.TTL)

    async def lease_revoke(self, id: int, *, timeout: float | None = None) -> None:
        """End a lease and delete its keys."""
        await self._call("Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=id), pb.LeaseRevokeResponse, timeout)

    async def lease_keep_alive(self, id: int, *, timeout: float | None = None) -> int:
        """Renew a lease once; returns its ttl, 0 when it is not there."""
        request = pb.LeaseKeepAliveRequest(ID=id)
        response = await self._call("Lease", "LeaseKeepAlive", request, pb.LeaseKeepAliveResponse, timeout, stream=True)
        return int(response.TTL)

    async def lease_time_to_live(self, id: int, keys: bool = False, *, timeout: float | None = None) -> LeaseTimeToLive:
        request = pb.LeaseTimeToLiveRequest(ID=id, keys=keys)
        return LeaseTimeToLive(
            await self._call("Lease", "LeaseTimeToLive", request, pb.LeaseTimeToLiveResponse, timeout)
        )

    async def lease_list(self, *, timeout: float | None = None) -> list[int]:
        response = await self._call("Lease", "LeaseLeases", pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse, timeout)
        return [lease.ID for lease in response.leases]

    # ---- watching

    def watch(
        self,
        key: bytes,
        range_end: bytes | None = None,
        start_revision: int = 0,
        prev_kv: bool = False,
        progress_notify: bool = False,
        filters: Sequence[str] = (),
    ) -> Watcher:
        """Changes of ``[key, range_end)`` from ``start_revision`` on (0: from now). See ``Watcher``.

        ``filters`` may hold ``NOPUT`` and ``NODELETE``.
        """
        request = pb.WatchCreateRequest(
            key=key,
            range_end=range_end or b"",
            start_revision=start_revision,
            prev_kv=prev_kv,
            progress_notify=progress_notify,
            filters=list(filters),
        )
        if self._watches is None:
            self._watches = WatchStream(self)
        return Watcher(self._watches, request)

    # ---- the cluster

    async def status(self, endpoint: str | None = None, *, timeout: float | None = None) -> Status:
        """The view of one member: of ``endpoint`` when given, else of the one in use."""
        path, request = "/etcdserverpb.Maintenance/Status", pb.StatusRequest().SerializeToString()
        if endpoint is None:
            return Status(await self._call("Maintenance", "Status", pb.StatusRequest(), pb.StatusResponse, timeout))
        for connection in self._connections:
            if connection.endpoint == endpoint:
                reply = await connection.unary(path, request, timeout or self.timeout)
                return Status(pb.StatusResponse.FromString(reply))
        raise ValueError(f"{endpoint!r} is none of this client's endpoints")

    async def member_list(self, *, timeout: float | None = None) -> list[Member]:
        request = pb.MemberListRequest(linearizable=True)
        response = await self._call("Cluster", "MemberList", request, pb.MemberListResponse, timeout)
        return [Member(member) for member in response.members]

    # ---- how a call is made

    @property
    def connection(self) -> Connection:
        """The endpoint in use."""
        return self._connections[self._current]

    def leave(self, connection: Connection) -> None:
        """Go on to the next endpoint, unless somebody has already left this one."""
        if self._connections[self._current] is connection:
            self._current = (self._current + 1) % len(self._connections)

    async def _call(
        self,
        service: str,
        method: str,
        request: Any,
        response_type: Any,
        timeout: float | None,
        *,
        repeatable: bool | None = None,
        stream: bool = False,
    ) -> Any:
        path = f"/etcdserverpb.{service}/{method}"
        data = request.SerializeToString()
        if repeatable is None:
            repeatable = method in _READS
        total = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + total
        pause, remaining = _FIRST_PAUSE, total
        while True:
            connection = self.connection
            try:
                if stream:
                    reply = await _one_answer(connection, path, data, remaining)
                else:
                    reply = await connection.unary(path, data, remaining)
                return response_type.FromString(reply)
            except EtcdError as error:
                if not isinstance(error, Unavailable):
                    raise
                self.leave(connection)
                if error.maybe_applied and not repeatable:
                    raise
                remaining = deadline - time.monotonic() - pause
                if remaining <= 0:
                    error.maybe_applied = error.maybe_applied and not repeatable
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


async def _one_answer(connection: Connection, path: str, data: bytes, timeout: float) -> bytes:
    """Send one message on a stream of its own and wait for its answer."""
    stream: Stream | None = None
    try:
        async with asyncio.timeout(timeout):
            stream = await connection.stream(path)
            await stream.send(data)
            reply = await stream.receive()
    except TimeoutError:
        raise DeadlineExceeded("DEADLINE_EXCEEDED", "Deadline Exceeded", maybe_applied=stream is not None) from None
    finally:
        if stream is not None:
            stream.cancel()
    if reply is None:
        raise Unavailable("UNAVAILABLE", "the store ended the stream without an answer", maybe_applied=True)
    return reply
