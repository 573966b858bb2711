"""Entries become state: each committed entry is run once, in order, on every member with the same outcome.

The applied index goes into the same transaction as what the entry changed, so a restart can never run an entry twice or skip
one. A refusal (``StoreError``) is an outcome like any other. Any other exception is a bug that would let members differ: it
stops the member.
"""

import logging
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.auth import AuthStore
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.errors import StoreError
from etcd_raft.mvcc.lease import Lessor
from etcd_raft.mvcc.store import Store
from etcd_raft.mvcc.txn import Applied, Keys, is_read_only
from etcd_raft.mvcc.watch import WatchHub
from etcd_raft.proto import internal_pb2, rpc_pb2
from etcd_raft.raft.codec import decode_conf_change
from etcd_raft.raft.messages import ConfChange, ConfChangeType, Entry
from etcd_raft.server.membership import Membership

log = logging.getLogger(__name__)
_AUTH_CHANGES = (
    "auth_enable", "auth_disable", "user_add", "user_delete", "user_change_password", "user_grant_role", "user_revoke_role",
    "role_add", "role_delete", "role_grant_permission", "role_revoke_permission",
)  # fmt: skip
_APPLIED = struct.Struct(">QQ")


def unpack_applied(stored: bytes | None) -> tuple[int, int]:
    """Index and term of the last applied entry, as stored in the state."""
    return _APPLIED.unpack(stored) if stored else (0, 0)


@dataclass(slots=True)
class Result:
    """What became of an entry: an answer or a refusal."""

    applied: Applied | None = None
    error: StoreError | None = None
    value: Any = None


@dataclass(slots=True)
class State:
    """Everything that the log determines, opened from one file."""

    backend: Backend
    store: Store = field(init=False)
    lessor: Lessor = field(init=False)
    hub: WatchHub = field(init=False)
    membership: Membership = field(init=False)
    auth: AuthStore = field(init=False)
    keys: Keys = field(init=False)
    min_lease_ttl: int = 1
    applied: int = 0
    applied_term: int = 0
    alarms: set[tuple[int, int]] = field(default_factory=set)  # member, kind

    def __post_init__(self) -> None:
        self.store = Store(self.backend)
        self.lessor = Lessor(self.backend, self.min_lease_ttl)
        self.hub = WatchHub(self.store)
        self.membership = Membership(self.backend)
        self.auth = AuthStore(self.backend)
        self.keys = Keys(self.store, self.lessor)
        self._load()

    def _load(self) -> None:
        self.lessor.load(self.store)
        self.applied, self.applied_term = unpack_applied(self.backend.get_meta(b"applied"))
        stored = rpc_pb2.AlarmResponse.FromString(self.backend.get_meta(b"alarms") or b"")
        self.alarms = {(alarm.memberID, alarm.alarm) for alarm in stored.alarms}

    def reload(self) -> None:
        """The file was replaced."""
        seen = self.store.revision
        self.store.load()
        self.membership.load()
        self.auth.load()
        self._load()
        self.hub.reset(seen)

    def commit(self) -> None:
        """Everything applied so far becomes durable."""
        self.store.save()
        self.backend.put_meta(b"applied", _APPLIED.pack(self.applied, self.applied_term))
        self.backend.commit()

    def save_alarms(self) -> None:
        stored = rpc_pb2.AlarmResponse(
            alarms=[rpc_pb2.AlarmMember(memberID=member, alarm=kind) for member, kind in sorted(self.alarms)]  # type: ignore[arg-type]
        )
        self.backend.put_meta(b"alarms", stored.SerializeToString())

    def has_alarm(self, kind: int) -> bool:
        return any(found == kind for _, found in self.alarms)


class Applier:
    """Runs entries against a ``State``."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._operations: dict[str, Callable[[Any], Result]] = {
            "put": self._put,
            "delete_range": self._delete_range,
            "txn": self._txn,
            "compaction": self._compact,
            "lease_grant": self._lease_grant,
            "lease_revoke": self._lease_revoke,
            "alarm": self._alarm,
            "member_attributes": self._member_attributes,
            **{name: self._auth_change(name) for name in _AUTH_CHANGES},
        }

    def apply_request(self, entry: Entry) -> tuple[int, Result | None]:
        """Run a normal entry; the id of its proposal (0: an empty entry) and what became of it."""
        state = self.state
        state.applied, state.applied_term = entry.index, entry.term
        if not entry.data:
            return 0, None
        request = internal_pb2.Request.FromString(entry.data)
        operation = request.WhichOneof("operation")
        if operation is None:
            raise ValueError(f"entry {entry.index} holds an operation that this version does not know")
        try:
            self._check_access(request, operation)
            result = self._operations[operation](getattr(request, operation))
        except StoreError as error:
            return request.id, Result(error=error)
        if result.applied is not None and result.applied.changes:
            state.hub.notify(result.applied.revision, result.applied.changes)
        return request.id, result

    def apply_conf_change(self, entry: Entry) -> tuple[int, ConfChange, bool]:
        """Run a membership change; the id of its proposal, the change, and whether it is valid (else: no change)."""
        state = self.state
        state.applied, state.applied_term = entry.index, entry.term
        change = decode_conf_change(entry.data)
        context = internal_pb2.ConfChangeContext.FromString(change.context)
        membership = state.membership
        member = context.member
        known = change.node in membership.members
        if change.node in membership.removed:
            return context.id, change, False
        match change.type:
            case ConfChangeType.ADD_VOTER if context.is_promote:
                if not known or not membership.members[change.node].isLearner:
                    return context.id, change, False
                membership.promote(change.node)
            case ConfChangeType.ADD_VOTER | ConfChangeType.ADD_LEARNER:
                if known or membership.by_peer_url(member.peerURLs):
                    return context.id, change, False
                membership.add(member)
            case ConfChangeType.REMOVE:
                if not known:
                    return context.id, change, False
                membership.remove(change.node)
            case ConfChangeType.UPDATE:
                if not known:
                    return context.id, change, False
                membership.update_peer_urls(change.node, member.peerURLs)
        return context.id, change, True

    def _check_access(self, request: Any, operation: str) -> None:
        """Users and roles may have changed between the question whether somebody may, and now."""
        auth = self.state.auth
        if not auth.enabled or not request.auth_revision:
            return  # authentication is off, or members speak among themselves
        if request.auth_revision < auth.revision:
            raise errors.AUTH_OLD_REVISION
        if operation == "put":
            auth.require_put(request.username, request.put)
        elif operation == "delete_range":
            auth.require_delete(request.username, request.delete_range)
        elif operation == "txn":
            auth.require_request(request.username, request.txn)

    def _auth_change(self, name: str) -> Callable[[Any], Result]:
        def change(request: Any) -> Result:
            getattr(self.state.auth, name.removeprefix("auth_"))(request)
            return Result()

        return change

    # ---- operations

    def _refuse_without_space(self) -> None:
        if self.state.has_alarm(rpc_pb2.NOSPACE):
            raise errors.NO_SPACE

    def _put(self, request: Any) -> Result:
        self._refuse_without_space()
        return Result(self.state.keys.put(request))

    def _delete_range(self, request: Any) -> Result:
        return Result(self.state.keys.delete_range(request))

    def _txn(self, request: Any) -> Result:
        if not is_read_only(request) and _puts(request):
            self._refuse_without_space()
        return Result(self.state.keys.txn(request))

    def _compact(self, request: Any) -> Result:
        self.state.store.compact(request.revision)
        return Result(Applied(b"", self.state.store.revision))

    def _lease_grant(self, request: Any) -> Result:
        self._refuse_without_space()
        lease = self.state.lessor.grant(request.ID, request.TTL, time.monotonic())
        return Result(value=lease)

    def _lease_revoke(self, request: Any) -> Result:
        return Result(self.state.keys.revoke(request.ID))

    def _alarm(self, request: Any) -> Result:
        state = self.state
        found = (request.memberID, request.alarm)
        if request.action == rpc_pb2.AlarmRequest.ACTIVATE:
            if found not in state.alarms:
                log.warning("alarm %s raised by member %x", rpc_pb2.AlarmType.Name(request.alarm), request.memberID)
            state.alarms.add(found)
            changed = {found}
        elif request.action == rpc_pb2.AlarmRequest.DEACTIVATE:
            changed = {found} & state.alarms
            state.alarms -= changed
        else:
            return Result(value={a for a in state.alarms if request.alarm in (0, a[1])})
        state.save_alarms()
        return Result(value=changed)

    def _member_attributes(self, request: Any) -> Result:
        self.state.membership.update_attributes(request.id, request.name, request.client_urls)
        return Result()


def _puts(request: Any) -> bool:
    for op in (*request.success, *request.failure):
        kind = op.WhichOneof("request")
        if kind == "request_put" or (kind == "request_txn" and _puts(op.request_txn)):
            return True
    return False
