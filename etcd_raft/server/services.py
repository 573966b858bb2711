"""The etcd API but for watching: each method takes a decoded request and gives an encoded response, or raises ``StoreError``.

Nothing here knows gRPC: ``endpoints`` carries these over it.
"""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from etcd_raft.histogram import Histogram
from etcd_raft.mvcc import errors, txn, wire
from etcd_raft.mvcc.hashing import hash_all, hash_keys
from etcd_raft.mvcc.lease import MAX_TTL
from etcd_raft.mvcc.txn import Applied
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.proto.internal_pb2 import ConfChangeContext, Request
from etcd_raft.raft.messages import ConfChange, ConfChangeType
from etcd_raft.server.config import VERSION
from etcd_raft.server.member import Member
from etcd_raft.server.membership import member_id

_SNAPSHOT_CHUNK = 32 * 1024
_READY_LEARNER = 0.9  # of the leader's log
_MAX_LEARNERS = 1


# Many answers are about one revision: all of a batch of reads, all watchers of a change.
_header = lru_cache(64)(wire.header)


class Services:
    """Shared by all: the member, headers, and how a request is agreed on."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.node = member.node
        self.state = member.state

    def header(self, revision: int | None = None) -> bytes:
        at = self.state.store.revision if revision is None else revision
        return _header(self.state.membership.cluster_id, self.node.id, at, self.node.raft.term)

    def header_message(self) -> Any:
        return pb.ResponseHeader(
            cluster_id=self.state.membership.cluster_id,
            member_id=self.node.id,
            revision=self.state.store.revision,
            raft_term=self.node.term,
        )

    async def agree(self, request: Request) -> Any:
        auth = self.state.auth
        if auth.enabled:
            from etcd_raft.server.access import current_user  # here, because access builds on this module

            request.username, request.auth_revision = current_user.get(), auth.revision
        return await self.node.propose(request)

    def answer(self, applied: Applied) -> bytes:
        return self.header(applied.revision) + applied.body

    def refuse_learner(self) -> None:
        mine = self.state.membership.members.get(self.node.id)
        if mine is not None and mine.isLearner:
            raise errors.NOT_FOR_LEARNERS

    async def check_space(self) -> None:
        """Raise the alarm when the quota is used up; from then on everybody refuses, until it is disarmed."""
        backend = self.state.backend
        if backend.size() < backend.quota or backend.size_in_use() + backend.dirty < backend.quota:
            return
        if not self.state.has_alarm(pb.NOSPACE):
            alarm = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=self.node.id, alarm=pb.NOSPACE)
            await self.agree(Request(alarm=alarm))
        raise errors.NO_SPACE


class KV(Services):
    async def range(self, request: Any) -> bytes:
        txn.check_range(request)
        if not request.serializable:
            self.refuse_learner()
            await self.node.linearizable()
        return self.answer(self.state.keys.range(request))

    async def put(self, request: Any) -> bytes:
        txn.check_put(request)
        await self.check_space()
        return self.answer((await self.agree(Request(put=request))).applied)

    async def delete_range(self, request: Any) -> bytes:
        txn.check_delete_range(request)
        return self.answer((await self.agree(Request(delete_range=request))).applied)

    async def txn(self, request: Any) -> bytes:
        txn.check_txn(request, self.member.config.max_txn_ops)
        if txn.is_read_only(request):
            if not txn.is_serializable(request):
                self.refuse_learner()
                await self.node.linearizable()
            return self.answer(self.state.keys.txn(request))
        await self.check_space()
        return self.answer((await self.agree(Request(txn=request))).applied)

    async def compact(self, request: Any) -> bytes:
        result = await self.agree(Request(compaction=request))
        if request.physical:
            while self.state.store.compacting:
                await asyncio.sleep(0.005)
            with self.node.touching_the_state():
                self.node.checkpoint()
        return self.answer(result.applied)


class Leases(Services):
    async def grant(self, request: Any) -> bytes:
        await self.check_space()
        if request.TTL > MAX_TTL:
            raise errors.LEASE_TTL_TOO_LARGE
        id = request.ID
        while id == 0 or (request.ID == 0 and id in self.state.lessor.leases):
            id = random.getrandbits(63)
        result = await self.agree(Request(lease_grant=pb.LeaseGrantRequest(ID=id, TTL=request.TTL)))
        lease = result.value
        return self.header() + wire.number(0x10, lease.id) + wire.number(0x18, lease.ttl)

    async def revoke(self, request: Any) -> bytes:
        return self.answer((await self.agree(Request(lease_revoke=request))).applied)

    async def keep_alive(self, request: Any) -> bytes:
        """One renewal; a lease that is not there is answered with a ttl of 0."""
        try:
            ttl = await self.member.ask_leader("renew", request.ID)
        except errors.LEASE_NOT_FOUND:
            ttl = 0
        return self.header() + wire.number(0x10, request.ID) + wire.number(0x18, ttl)

    async def time_to_live(self, request: Any) -> bytes:
        response = pb.LeaseTimeToLiveResponse(header=self.header_message(), ID=request.ID)
        try:
            response.TTL, response.grantedTTL = await self.member.ask_leader("ttl", request.ID)
        except errors.LEASE_NOT_FOUND:
            response.TTL = -1
            return response.SerializeToString()
        if request.keys:
            await self.node.linearizable()
            lease = self.state.lessor.leases.get(request.ID)
            response.keys.extend(sorted(lease.keys) if lease is not None else [])
        return response.SerializeToString()

    async def leases(self, request: Any) -> bytes:
        await self.node.linearizable()
        leases = [pb.LeaseStatus(ID=id) for id in sorted(self.state.lessor.leases)]
        return pb.LeaseLeasesResponse(header=self.header_message(), leases=leases).SerializeToString()


class Cluster(Services):
    def _header(self) -> Any:
        # Membership answers carry no revision, as etcd's do not.
        return pb.ResponseHeader(
            cluster_id=self.state.membership.cluster_id, member_id=self.node.id, raft_term=self.node.term
        )

    async def list(self, request: Any) -> bytes:
        if request.linearizable:
            await self.node.linearizable()
        members = self.state.membership.sorted()
        return pb.MemberListResponse(header=self._header(), members=members).SerializeToString()

    async def add(self, request: Any) -> bytes:
        urls = list(request.peerURLs)
        if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
            raise errors.MEMBER_BAD_URLS
        membership = self.state.membership
        id = member_id(urls, "", str(int(time.time())))
        if id in membership.members:
            raise errors.MEMBER_EXISTS
        if membership.by_peer_url(urls):
            raise errors.PEER_URL_EXISTS
        if request.isLearner and sum(m.isLearner for m in membership.members.values()) >= _MAX_LEARNERS:
            raise errors.TOO_MANY_LEARNERS
        kind = ConfChangeType.ADD_LEARNER if request.isLearner else ConfChangeType.ADD_VOTER
        self._check_quorum_after(kind, id)
        member = pb.Member(ID=id, peerURLs=sorted(urls), isLearner=request.isLearner)
        result = await self.node.propose_conf_change(ConfChange(kind, id), ConfChangeContext(member=member))
        return pb.MemberAddResponse(header=self._header(), member=member, members=result.value).SerializeToString()

    async def remove(self, request: Any) -> bytes:
        self._check_known(request.ID)
        self._check_quorum_after(ConfChangeType.REMOVE, request.ID)
        change = ConfChange(ConfChangeType.REMOVE, request.ID)
        result = await self.node.propose_conf_change(change, ConfChangeContext())
        return pb.MemberRemoveResponse(header=self._header(), members=result.value).SerializeToString()

    async def update(self, request: Any) -> bytes:
        self._check_known(request.ID)
        others = [id for id in self.state.membership.by_peer_url(request.peerURLs) if id != request.ID]
        if others:
            raise errors.PEER_URL_EXISTS
        member = pb.Member(ID=request.ID, peerURLs=request.peerURLs)
        change = ConfChange(ConfChangeType.UPDATE, request.ID)
        result = await self.node.propose_conf_change(change, ConfChangeContext(member=member))
        return pb.MemberUpdateResponse(header=self._header(), members=result.value).SerializeToString()

    async def promote(self, request: Any) -> bytes:
        self._check_known(request.ID)
        if not self.state.membership.members[request.ID].isLearner:
            raise errors.MEMBER_NOT_LEARNER
        if await self.member.ask_leader("promotable", request.ID) < _READY_LEARNER:
            raise errors.LEARNER_NOT_READY
        change = ConfChange(ConfChangeType.ADD_VOTER, request.ID)
        result = await self.node.propose_conf_change(change, ConfChangeContext(is_promote=True))
        return pb.MemberPromoteResponse(header=self._header(), members=result.value).SerializeToString()

    def _check_known(self, id: int) -> None:
        if id not in self.state.membership.members:
            raise errors.MEMBER_NOT_FOUND

    def _check_quorum_after(self, kind: ConfChangeType, id: int) -> None:
        """Refuse a change after which too few members that are known to be alive would be left (strict reconfiguration)."""
        if not self.member.config.strict_reconfig_check:
            return
        voters = {m.ID for m in self.state.membership.members.values() if not m.isLearner}
        alive = {v for v in voters if v == self.node.id or ((p := self.member.transport.peers.get(v)) and p.connected)}
        if kind == ConfChangeType.ADD_VOTER:
            # The new one is not up yet; it counts for the quorum only.
            if len(voters) > 1 and len(alive) < (len(voters) + 1) // 2 + 1:
                raise errors.MEMBER_NOT_ENOUGH_STARTED
            if alive != voters and len(voters) > 1:
                raise errors.UNHEALTHY
        elif kind == ConfChangeType.REMOVE and id in voters:
            left = voters - {id}
            if left and len(alive & left) < len(left) // 2 + 1:
                raise errors.MEMBER_NOT_ENOUGH_STARTED


class Maintenance(Services):
    def __init__(self, member: Member) -> None:
        super().__init__(member)
        self.defrag_times, self.snapshot_times = Histogram(), Histogram()

    async def alarm(self, request: Any) -> bytes:
        if request.action == pb.AlarmRequest.GET:
            found = {a for a in self.state.alarms if request.alarm in (0, a[1])}
        else:
            if request.action == pb.AlarmRequest.DEACTIVATE:
                with self.node.touching_the_state():
                    self.node.checkpoint()  # so that the size is that of now
            found = (await self.agree(Request(alarm=request))).value
        alarms = [pb.AlarmMember(memberID=member, alarm=kind) for member, kind in sorted(found)]  # type: ignore[arg-type]
        return pb.AlarmResponse(header=self.header_message(), alarms=alarms).SerializeToString()

    async def status(self, request: Any) -> bytes:
        raft, backend, node = self.node.raft, self.state.backend, self.node
        mine = self.state.membership.members.get(node.id)
        failures = [
            f"memberID:{member} alarm:{pb.AlarmType.Name(kind)} "  # type: ignore[arg-type]
            for member, kind in sorted(self.state.alarms)
        ]
        if not node.leader:
            failures.insert(0, errors.NO_LEADER.text)
        return pb.StatusResponse(
            header=self.header_message(),
            version=VERSION,
            dbSize=backend.size(),
            dbSizeInUse=min(backend.size(), backend.size_in_use()),
            leader=node.leader,
            raftIndex=raft.log.committed,
            raftTerm=raft.term,
            raftAppliedIndex=raft.log.applied,
            errors=failures,
            isLearner=bool(mine is not None and mine.isLearner),
        ).SerializeToString()

    async def defragment(self, request: Any) -> bytes:
        started = time.monotonic()
        with self.node.touching_the_state():
            self.node.checkpoint()
            self.state.backend.defragment()
        self.defrag_times.observe(time.monotonic() - started)
        return b""  # as in etcd 3.5, without even a header

    async def downgrade(self, request: Any) -> bytes:
        """There is no older release of this store: every well-formed target is refused, as etcd refuses one that cannot be."""
        if request.action == pb.DowngradeRequest.CANCEL:
            raise errors.NO_DOWNGRADE
        if not re.fullmatch(r"\d+\.\d+(\.\d+)?(-[\w.]+)?", request.version):
            raise errors.BAD_VERSION
        raise errors.BAD_DOWNGRADE_TARGET

    async def hash(self, request: Any) -> bytes:
        return pb.HashResponse(header=self.header_message(), hash=hash_all(self.state.backend)).SerializeToString()

    async def hash_kv(self, request: Any) -> bytes:
        store = self.state.store
        if not request.revision:
            await self.node.linearizable()
        at = store.check_revision(request.revision)
        value = await hash_keys(store, at)
        return pb.HashKVResponse(
            header=self.header_message(), hash=value, compact_revision=store.compacted, hash_revision=at
        ).SerializeToString()

    async def snapshot(self) -> AsyncIterator[bytes]:
        """The state in etcd's own format, in pieces, then their SHA-256."""
        import hashlib

        from etcd_raft.server.snapshots import export  # for the few who save one

        started = time.monotonic()
        copy = self.member.folder / "snap" / f"saved-{random.getrandbits(32):08x}.tmp"
        path = copy.with_suffix(".bbolt.tmp")
        try:
            await self.member.transport.copy_state(copy)  # type: ignore[misc]
            await asyncio.to_thread(export, copy, path)
            left = path.stat().st_size
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while blob := file.read(_SNAPSHOT_CHUNK):
                    digest.update(blob)
                    left -= len(blob)
                    yield pb.SnapshotResponse(remaining_bytes=left, blob=blob, version=VERSION).SerializeToString()
            self.snapshot_times.observe(time.monotonic() - started)
            yield pb.SnapshotResponse(remaining_bytes=0, blob=digest.digest(), version=VERSION).SerializeToString()
        finally:
            copy.unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    async def move_leader(self, request: Any) -> bytes:
        node = self.node
        if not node.is_leader:
            raise errors.NOT_LEADER
        target = self.state.membership.members.get(request.targetID)
        if target is None or target.isLearner:
            raise errors.BAD_TRANSFEREE
        if request.targetID != node.id:
            node.raw.transfer_leadership(request.targetID)
            node.wake()
            deadline = time.monotonic() + node.request_seconds
            while node.leader != request.targetID:
                if time.monotonic() > deadline:
                    raise errors.TIMEOUT
                await asyncio.sleep(node.tick_seconds / 4)
        return pb.MoveLeaderResponse(header=self.header_message()).SerializeToString()
