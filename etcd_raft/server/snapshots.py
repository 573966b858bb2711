"""Snapshots in etcd's own format, both ways: what ``etcdctl snapshot save`` gets from us, ``etcdutl`` and a real etcd can restore; and a
snapshot of a real etcd becomes a state of ours.

etcd keeps a bucket for each kind of thing (schema of etcd 3.5). Keys, revisions, leases, alarms, roles and permissions go over whole. A
password does not: etcd keeps a bcrypt hash, this store one of scrypt, and neither can check the other's.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etcd_raft.bbolt import Item, Reader, Writer
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.index import Record
from etcd_raft.mvcc.store import HEADER_SIZE, Change
from etcd_raft.proto import rpc_pb2
from etcd_raft.proto.auth_pb2 import Role, User
from etcd_raft.proto.internal_pb2 import Membership, StoredLease, UserTable
from etcd_raft.proto.kv_pb2 import KeyValue
from etcd_raft.server.apply import State, unpack_applied
from etcd_raft.server.config import API_VERSION

_SECRET = b"token-secret"  # ours: etcd overlooks what it does not know in its bucket `meta`
_TOMBSTONE = b"t"


class Untranslatable(Exception):
    """A snapshot holds what cannot be carried over; the text says what, and what to do."""


# ---- ours -> etcd's


def export(state: Path, to: Path) -> None:
    """Write the state in an LMDB file as etcd would have it. Reads the file alone, so a thread may do it."""
    import lmdb

    with lmdb.open(str(state), subdir=False, readonly=True, lock=False, max_dbs=4) as env:
        log, lease, meta = (env.open_db(name, create=False) for name in (b"log", b"lease", b"meta"))
        with env.begin() as txn, to.open("wb") as file:
            facts = dict(txn.cursor(db=meta).iternext())
            users = UserTable.FromString(facts.get(b"auth", b""))
            writer = Writer(file)
            writer.bucket(b"alarm", _alarms(facts))
            writer.bucket(b"auth", _auth(users))
            writer.bucket(b"authRoles", sorted((role.name, role.SerializeToString()) for role in users.roles))
            writer.bucket(b"authUsers", sorted((user.name, user.SerializeToString()) for user in users.users))
            writer.bucket(b"cluster", [(b"clusterVersion", f"{API_VERSION}.0".encode())])
            writer.bucket(b"key", _keys(txn.cursor(db=log)))
            writer.bucket(b"lease", txn.cursor(db=lease).iternext())
            members = Membership.FromString(facts.get(b"membership", b""))
            writer.bucket(b"members", _members(members))
            writer.bucket(b"members_removed", sorted((f"{id:x}".encode(), b"removed") for id in members.removed))
            writer.bucket(b"meta", _facts(facts, users, members))
            writer.finish()
            file.flush()
            os.fsync(file.fileno())


def _keys(cursor: Any) -> Iterator[Item]:
    for place, raw in cursor.iternext():
        name = place[:8] + b"_" + place[8:].rjust(8, b"\0")
        if raw[0]:
            yield name + _TOMBSTONE, KeyValue(key=KeyValue.FromString(raw[HEADER_SIZE:]).key).SerializeToString()
        else:
            yield name, raw[HEADER_SIZE:]


def _alarms(facts: dict[bytes, bytes]) -> list[Item]:
    stored = rpc_pb2.AlarmResponse.FromString(facts.get(b"alarms", b""))
    return sorted((alarm.SerializeToString(), b"") for alarm in stored.alarms)


def _auth(users: UserTable) -> list[Item]:
    return [(b"authEnabled", bytes((users.enabled,))), (b"authRevision", (users.revision or 1).to_bytes(8, "big"))]


def _members(members: Membership) -> list[Item]:
    return sorted(
        (f"{m.ID:x}".encode(), json.dumps({
            "id": m.ID, "peerURLs": list(m.peerURLs), "name": m.name, "clientURLs": list(m.clientURLs), "isLearner": m.isLearner,
        }).encode())
        for m in members.members
    )  # fmt: skip


def _facts(facts: dict[bytes, bytes], users: UserTable, members: Membership) -> list[Item]:
    index, term = unpack_applied(facts.get(b"applied"))
    voters = sorted(m.ID for m in members.members if not m.isLearner)
    learners = sorted(m.ID for m in members.members if m.isLearner)
    conf: dict[str, Any] = {"voters": voters, "auto_leave": False}
    if learners:
        conf["learners"] = learners
    out = {
        b"confState": json.dumps(conf).encode(),
        b"consistent_index": index.to_bytes(8, "big"),
        b"term": term.to_bytes(8, "big"),
        _SECRET: users.secret,
    }
    for ours, theirs in ((b"compacted", b"scheduledCompactRev"), (b"compact-done", b"finishedCompactRev")):
        if ours in facts:
            out[theirs] = facts[ours] + b"_" + bytes(8)
    return sorted(out.items())


# ---- etcd's -> ours


def load(snapshot: memoryview, to: Path) -> State:
    """Make our state, in a new file, from what etcd's tells; everything but the membership, which a restored cluster makes anew."""
    reader = Reader(snapshot)
    state = State(Backend(to, 2 << 30))
    facts = dict(reader.bucket(b"meta"))
    _load_users(state, reader, facts)
    _load_leases(state, reader)
    _load_keys(state, reader, facts)
    alarms = (rpc_pb2.AlarmMember.FromString(key) for key, _ in reader.bucket(b"alarm"))
    state.alarms = {(alarm.memberID, alarm.alarm) for alarm in alarms}
    state.save_alarms()
    state.applied = int.from_bytes(facts.get(b"consistent_index", b""), "big")
    state.applied_term = int.from_bytes(facts.get(b"term", b""), "big")
    state.commit()
    state.reload()
    return state


def _load_keys(state: State, reader: Reader, facts: dict[bytes, bytes]) -> None:
    store, backend = state.store, state.backend
    revision = 1
    for name, value in reader.bucket(b"key"):
        revision, sub, deleted = (
            int.from_bytes(name[:8], "big"),
            int.from_bytes(name[9:17], "big"),
            name[17:] == _TOMBSTONE,
        )
        kv = KeyValue.FromString(value)
        if deleted:
            kv.mod_revision = revision
        change = Change(kv.key, deleted, kv.SerializeToString(), store.place_of(store.index.get(kv.key)))
        store.take_over(change, Record(revision, sub, kv.create_revision, kv.version, kv.lease, int(deleted)))
    store.revision = revision
    for theirs, ours in ((b"scheduledCompactRev", b"compacted"), (b"finishedCompactRev", b"compact-done")):
        if theirs in facts:
            backend.put_meta(ours, facts[theirs][:8])
            # A compaction that left nothing behind is newer than all that is left.
            store.revision = max(store.revision, int.from_bytes(facts[theirs][:8], "big"))


def _load_leases(state: State, reader: Reader) -> None:
    backend = state.backend
    for name, value in reader.bucket(b"lease"):
        lease = StoredLease.FromString(value)
        backend.txn.put(name, StoredLease(id=lease.id, ttl=lease.ttl).SerializeToString(), db=backend.lease)


def _load_users(state: State, reader: Reader, facts: dict[bytes, bytes]) -> None:
    auth = dict(reader.bucket(b"auth"))
    users = [User.FromString(value) for _, value in reader.bucket(b"authUsers")]
    enabled = auth.get(b"authEnabled") == b"\1"
    if any(user.password.startswith(b"$2") for user in users):
        if enabled:
            raise Untranslatable(
                "authentication is enabled in this snapshot, and etcd's hashes of passwords (bcrypt) cannot be checked here: "
                "save one with authentication disabled, restore it, and set the passwords anew"
            )
        for user in users:
            user.password = b""  # nobody can log in with it until it is set anew
    table = UserTable(
        users=users,
        roles=[Role.FromString(value) for _, value in reader.bucket(b"authRoles")],
        enabled=enabled,
        revision=int.from_bytes(auth.get(b"authRevision", b"\1"), "big"),
        secret=facts.get(_SECRET, b""),
    )
    state.backend.put_meta(b"auth", table.SerializeToString())
