"""Leases: who lives how long. Granted, revoked and attached through the log; timed by the leader alone.

Every member knows every lease and its keys, but only the leader runs the clock: when it finds one expired it proposes to
revoke it, so that all members delete the same keys at the same revision. A new leader gives every lease its whole time again
(and a little more), because it cannot know when the old one last heard of it: a lease may live longer than promised, never
shorter.
"""

import heapq
from dataclasses import dataclass, field

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.index import RECORD, Record
from etcd_raft.mvcc.store import Store
from etcd_raft.proto.internal_pb2 import StoredLease

MAX_TTL = 9_000_000_000
_FOREVER = float("inf")


@dataclass(slots=True)
class Lease:
    id: int
    ttl: int
    expiry: float = _FOREVER  # on the leader's monotonic clock
    keys: set[bytes] = field(default_factory=set)

    def remaining(self, now: float) -> int:
        return int(self.expiry - now) if self.expiry != _FOREVER else self.ttl


class Lessor:
    """All leases. ``now`` is passed in: a monotonic clock, in seconds."""

    def __init__(self, backend: Backend, min_ttl: int) -> None:
        self._backend = backend
        self.min_ttl = min_ttl
        self.leases: dict[int, Lease] = {}
        self.primary = False
        self._heap: list[tuple[float, int]] = []
        self.granted = self.revoked = self.renewed = 0

    def load(self, store: Store) -> None:
        """Take over what the file says: leases, and which keys hang on them."""
        self.leases = {}
        with self._backend.txn.cursor(db=self._backend.lease) as cursor:
            for value in cursor.iternext(keys=False, values=True):
                stored = StoredLease.FromString(value)
                self.leases[stored.id] = Lease(stored.id, stored.ttl)
        if not self.leases:
            return
        for key, raw in store.index.scan(b"\0", b"\0"):
            record = Record._make(RECORD.unpack(raw))
            if record.lease and (lease := self.leases.get(record.lease)) is not None:
                lease.keys.add(key)

    # ---- through the log

    def grant(self, id: int, ttl: int, now: float) -> Lease:
        if id in self.leases:
            raise errors.LEASE_EXISTS
        if ttl > MAX_TTL:
            raise errors.LEASE_TTL_TOO_LARGE
        lease = Lease(id, max(ttl, self.min_ttl))
        self.leases[id] = lease
        self.granted += 1
        self._backend.txn.put(_place(id), StoredLease(id=id, ttl=lease.ttl).SerializeToString(), db=self._backend.lease)
        self._backend.dirty += 128
        if self.primary:
            self._schedule(lease, now + lease.ttl)
        return lease

    def forget(self, id: int) -> Lease:
        """Remove a lease; deleting its keys is up to the caller."""
        lease = self.leases.pop(id, None)
        if lease is None:
            raise errors.LEASE_NOT_FOUND
        self.revoked += 1
        self._backend.txn.delete(_place(id), db=self._backend.lease)
        self._backend.dirty += 64
        return lease

    def check(self, id: int) -> None:
        if id and id not in self.leases:
            raise errors.LEASE_NOT_FOUND

    def move(self, key: bytes, old: int, new: int) -> None:
        """A key hangs on another lease from now on (0: on none)."""
        if old and old != new and (lease := self.leases.get(old)) is not None:
            lease.keys.discard(key)
        if new:
            self.leases[new].keys.add(key)

    # ---- the leader's clock

    def promote(self, now: float, extra: float) -> None:
        """This member leads: all leases start anew, with the time added that the change of leaders may have taken."""
        self.primary = True
        self._heap = []
        for lease in self.leases.values():
            self._schedule(lease, now + lease.ttl + extra)

    def demote(self) -> None:
        self.primary = False
        self._heap = []
        for lease in self.leases.values():
            lease.expiry = _FOREVER

    def _schedule(self, lease: Lease, expiry: float) -> None:
        lease.expiry = expiry
        heapq.heappush(self._heap, (expiry, lease.id))

    def renew(self, id: int, now: float) -> int:
        """The lease's whole time from now on; raises when it is not there or already over."""
        lease = self.leases.get(id)
        if lease is None or lease.expiry <= now:
            raise errors.LEASE_NOT_FOUND
        self.renewed += 1
        lease.expiry = now + lease.ttl  # the heap finds out when the old time comes
        return lease.ttl

    def expired(self, now: float, limit: int = 500) -> list[int]:
        """Leases whose time is over. Each comes up again a little later, in case its revocation is lost."""
        found: list[int] = []
        while self._heap and self._heap[0][0] <= now and len(found) < limit:
            _, id = heapq.heappop(self._heap)
            lease = self.leases.get(id)
            if lease is None:
                continue
            if lease.expiry > now:
                heapq.heappush(self._heap, (lease.expiry, id))
            else:
                found.append(id)
                heapq.heappush(self._heap, (now + 2.0, id))
        return found


def _place(id: int) -> bytes:
    return (id & (2**64 - 1)).to_bytes(8, "big")
