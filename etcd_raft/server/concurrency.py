"""The services Lock and Election: the recipes for keys and leases that etcd's clients know, run on the server for clients without them.

Whoever wants the lock (or to lead) puts a key of its own under the name, bound to its lease, and waits until the keys that were made
before it are gone. The key of the first is the lock. A lease that ends, or a caller that goes away while it waits, takes its key along.

What is refused here is refused with the code UNKNOWN, as by etcd, which calls itself through its own client and passes on the text.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from etcd_raft.mvcc.errors import COMPACTED, StoreError
from etcd_raft.mvcc.watch import Watcher
from etcd_raft.proto import election_pb2, lock_pb2
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.proto.kv_pb2 import Event, KeyValue
from etcd_raft.server.access import check_permission
from etcd_raft.server.services import KV, Leases, Services

_SESSION_SECONDS = 60


class Unknown(StoreError):
    """A refusal without a gRPC code of its own."""


def _not_leader() -> Unknown:
    return Unknown("election: not leader")


class Recipes(Services):
    """What both are made of."""

    def __init__(self, member: Any) -> None:
        super().__init__(member)
        self._kv, self._leases = KV(member), Leases(member)
        self._cleaning: set[asyncio.Task[Any]] = set()

    async def session(self, lease: int) -> int:
        """The caller's lease, renewed once, or a new one."""
        if lease:
            await self._leases.keep_alive(pb.LeaseKeepAliveRequest(ID=lease))
            return lease
        granted = await self._leases.grant(pb.LeaseGrantRequest(TTL=_SESSION_SECONDS))
        return pb.LeaseGrantResponse.FromString(granted).ID

    async def get(self, request: pb.RangeRequest) -> pb.RangeResponse:
        check_permission(self.member, "Range", request)
        return pb.RangeResponse.FromString(await self._kv.range(request))

    async def delete(self, key: bytes) -> pb.DeleteRangeResponse:
        request = pb.DeleteRangeRequest(key=key)
        check_permission(self.member, "DeleteRange", request)
        return pb.DeleteRangeResponse.FromString(await self._kv.delete_range(request))

    async def when_created(
        self, key: bytes, revision: int, then: pb.RequestOp, otherwise: pb.RequestOp | None = None
    ) -> pb.TxnResponse:
        """Do ``then`` if the key was made at ``revision`` (0: is not there), else ``otherwise``."""
        made = pb.Compare(target=pb.Compare.CREATE, key=key, create_revision=revision)
        request = pb.TxnRequest(compare=[made], success=[then], failure=[otherwise] if otherwise is not None else [])
        check_permission(self.member, "Txn", request)
        return pb.TxnResponse.FromString(await self._kv.txn(request))

    async def wait_for_older(self, prefix: bytes, revision: int) -> None:
        """Returns when no key under ``prefix`` is left that was made before ``revision``."""
        while True:
            newest = pb.RangeRequest(
                key=prefix, range_end=after(prefix), limit=1, max_create_revision=revision - 1,
                sort_order=pb.RangeRequest.DESCEND, sort_target=pb.RangeRequest.CREATE,
            )  # fmt: skip
            found = await self.get(newest)
            if not found.kvs:
                return
            async with aclosing(self.events(found.kvs[0].key, b"", found.header.revision)) as events:
                async for event in events:
                    if event.type == Event.DELETE:
                        break

    async def events(self, key: bytes, end: bytes, revision: int) -> AsyncGenerator[Event, None]:
        """What happens to keys from ``revision`` on."""
        hub = self.state.hub
        queue = _Queue()
        watcher = Watcher(queue, 0, key, end, revision)
        hub.add(watcher)
        if not hub.is_synced(watcher):
            self.node.wake()
        try:
            while True:
                event = await queue.get()
                if event is None:
                    raise Unknown(COMPACTED.text)
                yield event
        finally:
            hub.remove(watcher)

    def forget(self, key: bytes) -> None:
        """Give up a key whose owner no longer waits."""
        task = asyncio.ensure_future(self.delete(key))
        self._cleaning.add(task)
        task.add_done_callback(self._forgotten)

    def _forgotten(self, task: asyncio.Task[Any]) -> None:
        self._cleaning.discard(task)
        if not task.cancelled():
            task.exception()  # refused or no leader: its lease will take the key


class _Queue:
    """A sink of the hub: unbounded, because the keys of one lock change no faster than somebody waits for them."""

    full = False

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.get = self._queue.get

    def events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        for event in events:
            self._queue.put_nowait(Event.FromString(event))

    def compacted(self, watcher: Watcher, revision: int) -> None:
        self._queue.put_nowait(None)


class Lock(Recipes):
    async def lock(self, request: lock_pb2.LockRequest) -> bytes:
        try:
            return await self._lock(request)
        except StoreError as error:
            raise Unknown(error.text) from error

    async def _lock(self, request: lock_pb2.LockRequest) -> bytes:
        lease = await self.session(request.lease)
        prefix = request.name + b"/"
        mine = b"%s%x" % (prefix, lease & (2**64 - 1))
        put = pb.RequestOp(request_put=pb.PutRequest(key=mine, lease=lease))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=mine))
        reply = await self.when_created(mine, 0, put, get)
        revision = reply.header.revision
        if not reply.succeeded:
            revision = reply.responses[0].response_range.kvs[0].create_revision
        try:
            await self.wait_for_older(prefix, revision)
        except BaseException:
            self.forget(mine)
            raise
        held = await self.get(pb.RangeRequest(key=mine))
        if not held.kvs:
            raise Unknown("mutex: session is expired")
        return lock_pb2.LockResponse(header=held.header, key=mine).SerializeToString()

    async def unlock(self, request: lock_pb2.UnlockRequest) -> bytes:
        try:
            gone = await self.delete(request.key)
        except StoreError as error:
            raise Unknown(error.text) from error
        return lock_pb2.UnlockResponse(header=gone.header).SerializeToString()


class Election(Recipes):
    async def campaign(self, request: election_pb2.CampaignRequest) -> bytes:
        try:
            return await self._campaign(request)
        except StoreError as error:
            raise Unknown(error.text) from error

    async def _campaign(self, request: election_pb2.CampaignRequest) -> bytes:
        lease = await self.session(request.lease)
        prefix = request.name + b"/"
        mine = b"%s%x" % (prefix, lease & (2**64 - 1))
        put = pb.RequestOp(request_put=pb.PutRequest(key=mine, value=request.value, lease=lease))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=mine))
        reply = await self.when_created(mine, 0, put, get)
        revision, header = reply.header.revision, reply.header
        if not reply.succeeded:
            standing = reply.responses[0].response_range.kvs[0]
            revision = standing.create_revision
            if standing.value != request.value:
                await self._say(mine, revision, lease, request.value)
        try:
            await self.wait_for_older(prefix, revision)
        except BaseException:
            self.forget(mine)
            raise
        leader = election_pb2.LeaderKey(name=request.name, key=mine, rev=revision, lease=lease)
        return election_pb2.CampaignResponse(header=header, leader=leader).SerializeToString()

    async def _say(self, key: bytes, revision: int, lease: int, value: bytes) -> pb.ResponseHeader:
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        reply = await self.when_created(key, revision, put)
        if not reply.succeeded:
            raise _not_leader()
        return reply.header

    async def proclaim(self, request: election_pb2.ProclaimRequest) -> bytes:
        leader = _leader(request)
        try:
            await self.session(leader.lease)
            header = await self._say(leader.key, leader.rev, leader.lease, request.value)
        except StoreError as error:
            raise Unknown(error.text) from error
        return election_pb2.ProclaimResponse(header=header).SerializeToString()

    async def resign(self, request: election_pb2.ResignRequest) -> bytes:
        leader = _leader(request)
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=leader.key))
        try:
            await self.session(leader.lease)
            reply = await self.when_created(leader.key, leader.rev, delete)
        except StoreError as error:
            raise Unknown(error.text) from error
        return election_pb2.ResignResponse(header=reply.header).SerializeToString()

    async def leader(self, request: election_pb2.LeaderRequest) -> bytes:
        try:
            found = await self._first(request.name)
        except StoreError as error:
            raise Unknown(error.text) from error
        if not found.kvs:
            raise Unknown("election: no leader")
        return election_pb2.LeaderResponse(header=found.header, kv=found.kvs[0]).SerializeToString()

    async def _first(self, name: bytes) -> pb.RangeResponse:
        prefix = name + b"/"
        return await self.get(
            pb.RangeRequest(
                key=prefix, range_end=after(prefix), limit=1,
                sort_order=pb.RangeRequest.ASCEND, sort_target=pb.RangeRequest.CREATE,
            )
        )  # fmt: skip

    async def observe(self, duplex: Any) -> None:
        """Who leads and what it says, from now on; not every word in between."""
        request = election_pb2.LeaderRequest.FromString(await duplex.receive() or b"")
        try:
            while True:
                found = await self._first(request.name)
                header = found.header
                kv = found.kvs[0] if found.kvs else await self._next_candidate(request.name, header)
                await self._tell(duplex, header, kv)
                async with aclosing(self.events(kv.key, b"", header.revision + 1)) as events:
                    async for event in events:
                        if event.type == Event.DELETE:
                            break
                        header.revision = event.kv.mod_revision
                        await self._tell(duplex, header, event.kv)
        except StoreError as error:
            raise Unknown(error.text) from error

    async def _next_candidate(self, name: bytes, header: pb.ResponseHeader) -> KeyValue:
        prefix = name + b"/"
        async with aclosing(self.events(prefix, after(prefix), header.revision + 1)) as events:
            async for event in events:
                if event.type == Event.PUT:
                    header.revision = event.kv.mod_revision
                    return event.kv
        raise AssertionError("the events of a range have no end")

    async def _tell(self, duplex: Any, header: pb.ResponseHeader, kv: KeyValue) -> None:
        await duplex.send(election_pb2.LeaderResponse(header=header, kv=kv).SerializeToString())


def _leader(request: Any) -> election_pb2.LeaderKey:
    if not request.HasField("leader"):
        raise Unknown('"leader" field must be provided')
    found: election_pb2.LeaderKey = request.leader
    return found


def after(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with ``prefix``."""
    short = prefix.rstrip(b"\xff")
    return short[:-1] + bytes((short[-1] + 1,)) if short else b"\0"
