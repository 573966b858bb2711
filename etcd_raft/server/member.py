"""A member from its data directory to its sockets: identity, start or restart, joining, stopping.

DATA-DIR/member/wal/      the log
DATA-DIR/member/snap/db   the state; *.snap.db a leader's state that was received and not yet taken over
"""

import asyncio
import fcntl
import json
import logging
import os
import random
import time
from pathlib import Path
from typing import Any

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.hashing import hash_keys
from etcd_raft.proto.internal_pb2 import Request
from etcd_raft.raft.core import Config
from etcd_raft.raft.messages import ConfState, HardState, Message, MessageType, Snapshot
from etcd_raft.raft.node import RawNode
from etcd_raft.server.apply import State
from etcd_raft.server.config import ConfigError, ServerConfig
from etcd_raft.server.membership import member_id
from etcd_raft.server.node import Fatal, Node
from etcd_raft.server.peers import PeerError, Transport
from etcd_raft.wal import WAL, Recovered, WALError

log = logging.getLogger(__name__)

# The first members agree on this much without talking: who they are. It stands for an entry that nobody had to send.
_BOOTSTRAP_INDEX = 1
_BOOTSTRAP_TERM = 1
_LOW_RANDOM = random.SystemRandom()


class Member:
    """What runs in the process: a node, its transport and its state."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.folder = config.data_dir / "member"
        self.state: State
        self.node: Node
        self.transport: Transport
        self.id = 0
        self.started = time.monotonic()
        self._known_peers: dict[int, list[str]] = {}
        self._lock_fd = -1
        self._background: set[asyncio.Task[Any]] = set()

    # ---- starting

    async def start(self) -> None:
        """Open or make the data directory and begin to take part; raises ``ConfigError`` or ``Fatal``."""
        config = self.config
        self._lock()
        snap = self.folder / "snap"
        for leftover in (*snap.glob("*.tmp"), *snap.glob("*.defrag")):
            leftover.unlink()
        try:
            if WAL.exists(self.folder / "wal"):
                wal, recovered = WAL.open(self.folder / "wal")
                raw = self._restart(recovered)
                if not self.state.membership.members:
                    await self._ask_who_we_are()  # we joined, and ended before the leader's state came
            else:
                wal, raw = await self._first_start()
        except WALError as error:
            raise Fatal(str(error)) from error
        self.node = Node(
            raw,
            wal,
            self.state,
            tick_seconds=config.heartbeat_ms / 1000,
            election_seconds=config.election_ms / 1000,
            snapshot_count=config.snapshot_count,
        )
        self.node.max_request_bytes = config.max_request_bytes
        self.node.keep_entries = config.keep_entries
        self._connect()
        await self.transport.listen(config.listen_peer_urls)
        self._update_peers()

    def _lock(self) -> None:
        """Two processes on one data directory would destroy it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.config.data_dir, 0o700)
        self._lock_fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{self.config.data_dir} is in use by another process") from None

    def _open_state(self) -> None:
        # As etcd: a lease shorter than this could run out during an election.
        min_ttl = -(-3 * self.config.election_ms // 2000)
        self.state = State(Backend(self.folder / "snap" / "db", self.config.quota_bytes), min_lease_ttl=min_ttl)

    def _raft_config(self) -> Config:
        return Config(
            id=self.id,
            random=_LOW_RANDOM.randrange,
            election_tick=max(2, self.config.election_ms // self.config.heartbeat_ms),
            heartbeat_tick=1,
        )

    async def _first_start(self) -> tuple[WAL, RawNode]:
        config = self.config
        db = self.folder / "snap" / "db"
        if db.exists():
            db.unlink()  # a first start that never came to its log
        if config.new_cluster:
            self.id = member_id(config.initial_cluster[config.name], config.token)
            self._open_state()
            self.state.membership.bootstrap(config.initial_cluster, config.token)
            self.state.applied, self.state.applied_term = _BOOTSTRAP_INDEX, _BOOTSTRAP_TERM
            self.state.commit()
            start = Snapshot(_BOOTSTRAP_INDEX, _BOOTSTRAP_TERM, self.state.membership.conf_state())
        else:
            self.id, cluster = await self._ask_who_we_are()
            self._open_state()
            self.state.membership.cluster_id = cluster
            start = Snapshot()
        metadata = {"member": self.id, "cluster": self.state.membership.cluster_id}
        wal = WAL.create(self.folder / "wal", json.dumps(metadata).encode(), start)
        state = HardState(start.term, 0, start.index)
        raw = RawNode(self._raft_config(), hard_state=state, snapshot=start, applied=self.state.applied)
        return wal, raw

    async def _ask_who_we_are(self) -> tuple[int, int]:
        """Learn from a member of the cluster our id and its: somebody has added our peer address before."""
        config = self.config
        mine = set(config.initial_advertise_peer_urls)
        others = [url for urls in config.initial_cluster.values() for url in urls if url not in mine]
        asking = Transport(id=0, cluster=lambda: 0, tls=config.peer_tls, folder=self.folder / "snap")
        reasons: list[str] = []
        for _ in range(20):
            for url in others:
                try:
                    known = await asking.ask(url, "members", None)
                except (OSError, PeerError, TimeoutError, asyncio.IncompleteReadError) as error:
                    reasons.append(f"{url}: {error}")
                    continue
                for member in known["members"]:
                    if set(member["peer_urls"]) & mine:
                        # Until the leader's state comes, this is how we know whom to answer.
                        self._known_peers = {m["id"]: m["peer_urls"] for m in known["members"]}
                        return int(member["id"]), int(known["cluster"])
                reasons.append(f"{url}: no member has the address {', '.join(sorted(mine))}")
            await asyncio.sleep(0.5)
        raise ConfigError(
            f"cannot join the cluster: {'; '.join(reasons[-len(others) :]) or 'no other member is named'}"
        )

    def _restart(self, recovered: Recovered) -> RawNode:
        metadata = json.loads(recovered.metadata)
        self.id = metadata["member"]
        if recovered.repaired:
            log.warning("%s", recovered.repaired)
        self._open_state()
        state, snapshot = self.state, recovered.snapshot
        if state.applied < snapshot.index:
            self._finish_install(snapshot)
        for leftover in (self.folder / "snap").glob("*.snap.db"):
            leftover.unlink()
        if not state.membership.cluster_id:
            state.membership.cluster_id = metadata["cluster"]
        last = recovered.entries[-1].index if recovered.entries else snapshot.index
        if state.applied > last:
            raise Fatal(
                f"{self.folder}: the state holds entry {state.applied}, the log ends at {last}: part of the log is missing; "
                "restore this member from a snapshot, or add it again with an empty data directory"
            )
        conf = state.membership.conf_state() if state.membership.members else ConfState()
        raw = RawNode(
            self._raft_config(),
            hard_state=recovered.hard_state,
            snapshot=snapshot,
            entries=recovered.entries,
            conf=conf,
            applied=state.applied,
        )
        if self.config.force_new_cluster:
            self._force_alone(raw)
        log.info(
            "member %x restarts: term %d, log up to %d, applied %d",
            self.id, recovered.hard_state.term, last, state.applied,
        )  # fmt: skip
        return raw

    def _finish_install(self, snapshot: Snapshot) -> None:
        """A crash came between the log's word that a leader's state replaces ours, and the replacing."""
        path = self.folder / "snap" / f"{snapshot.index:016x}.snap.db"
        if not path.exists():
            raise Fatal(
                f"{self.folder}: the log starts behind entry {snapshot.index}, the state holds only {self.state.applied}, "
                f"and {path.name} is not there; restore this member from a snapshot, or add it again with an empty data directory"
            )
        self.state.backend.replace_with(path)
        self.state.reload()

    def _force_alone(self, raw: RawNode) -> None:
        """``--force-new-cluster``: go on as the only member, after the others are lost for good."""
        log.warning("forcing a new cluster with this member alone: whatever the others had and we have not is given up")
        membership = self.state.membership
        for id in [id for id in membership.members if id != self.id]:
            membership.remove(id)
        raw.raft.voters, raw.raft.learners = {self.id}, set()
        raw.raft.become_follower(raw.raft.term, 0)
        if self.id in membership.members:
            membership.promote(self.id)

    # ---- wiring

    def _connect(self) -> None:
        node, state = self.node, self.state
        transport = self.transport = Transport(
            id=self.id,
            cluster=lambda: state.membership.cluster_id,
            tls=self.config.peer_tls,
            folder=self.folder / "snap",
        )
        node.transport = transport
        node.on_membership = self._update_peers
        transport.deliver = node.step
        transport.deliver_snapshot = node.receive_snapshot
        transport.is_removed = lambda id: id in state.membership.removed
        transport.removed = self._on_removed
        transport.copy_state = self._copy_state
        transport.answer = self._answer
        transport.gone = lambda id: node.step(Message(MessageType.UNREACHABLE, sender=id))

    def _update_peers(self) -> None:
        members = self.state.membership.members
        peers = {id: list(m.peerURLs) for id, m in members.items()} if members else self._known_peers
        self.transport.set_peers(peers)

    def _on_removed(self) -> None:
        self.node.removed = True
        self.node.stop()

    async def _copy_state(self, path: Path) -> Message:
        """A copy of the state in a file, and what it is a copy of."""
        state, node = self.state, self.node
        with node.touching_the_state():
            state.commit()
        await asyncio.to_thread(state.backend.copy_to, path)
        copy = await asyncio.to_thread(_about_copy, path)
        return Message(MessageType.SNAPSHOT, snapshot=copy, sender=node.id)

    async def _answer(self, method: str, body: Any) -> Any:
        """What other members may ask."""
        membership, node = self.state.membership, self.node
        if method == "members":
            members = [{"id": m.ID, "peer_urls": list(m.peerURLs)} for m in membership.sorted()]
            return {"cluster": membership.cluster_id, "members": members}
        if method == "ping":
            return None
        if method == "hash":
            at = self.state.store.check_revision(body)
            return {"hash": await hash_keys(self.state.store, at), "compacted": self.state.store.compacted}
        if method == "renew":
            return await self.renew_lease(body)
        if method == "ttl":
            return self.lease_times(body)
        if method == "promotable":
            return self.learner_progress(body)
        raise PeerError(f"this member does not know how to answer {method!r} ({node.id:x})")

    # ---- what only the leader knows

    async def renew_lease(self, id: int) -> int:
        if not self.node.is_leader:
            raise errors.NOT_LEADER
        await self.node.linearizable()  # one that leads no longer must not promise time
        if not self.node.is_leader:
            raise errors.NOT_LEADER
        return self.state.lessor.renew(id, time.monotonic())

    def lease_times(self, id: int) -> list[int]:
        """Remaining and granted seconds."""
        if not self.node.is_leader:
            raise errors.NOT_LEADER
        lease = self.state.lessor.leases.get(id)
        if lease is None or lease.expiry <= time.monotonic():
            raise errors.LEASE_NOT_FOUND
        return [lease.remaining(time.monotonic()), lease.ttl]

    def learner_progress(self, id: int) -> float:
        """How much of our log a learner has, 0 to 1."""
        if not self.node.is_leader:
            raise errors.NOT_LEADER
        progress = self.node.raft.progress.get(id)
        return progress.match / max(1, self.node.raft.log.last_index) if progress is not None else 0.0

    async def ask_leader(self, method: str, body: Any) -> Any:
        """Ask the leader, which may be ourselves; repeats while there is none."""
        deadline = time.monotonic() + self.node.request_seconds
        while time.monotonic() < deadline:
            try:
                if self.node.is_leader:
                    return await self._answer(method, body)
                if self.node.leader:
                    return await self.transport.call(self.node.leader, method, body, 2.0)
            except errors.NOT_LEADER:
                pass
            except PeerError as error:
                if str(error) == errors.LEASE_NOT_FOUND.text:
                    raise errors.LEASE_NOT_FOUND from None
                log.debug("the leader could not be asked: %s", error)
            await asyncio.sleep(self.node.tick_seconds)
        raise errors.NO_LEADER if not self.node.leader else errors.TIMEOUT

    # ---- running

    async def run(self) -> None:
        """Take part until stopped; raises ``Fatal``."""
        self._spawn(self._announce())
        self._spawn(self.transport.probe())
        if len(self.node.raft.voters) > 1:
            self._spawn(self._first_election())
        try:
            await self.node.run()
        finally:
            for task in self._background:
                task.cancel()
            await self.transport.close()

    def close(self) -> None:
        """Let go of the files: after ``run`` has ended and nobody is served any more."""
        if self.node.failure is None:
            self.state.commit()
        self.state.backend.close()
        self.node.wal.close()
        os.close(self._lock_fd)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _announce(self) -> None:
        """Tell all members our name and where our clients find us, unless they know."""
        config = self.config
        while True:
            mine = self.state.membership.members.get(self.id)
            urls = sorted(config.advertise_client_urls)
            if mine is not None and mine.name == config.name and list(mine.clientURLs) == urls:
                return
            try:
                if self.node.leader:
                    attributes = {"id": self.id, "name": config.name, "client_urls": urls}
                    await self.node.propose(Request(member_attributes=attributes))
            except errors.StoreError as error:
                log.debug("could not announce ourselves yet: %s", error)
            await asyncio.sleep(self.node.tick_seconds)

    async def _first_election(self) -> None:
        """Do not wait for a timeout when everybody is just starting: the pre-vote does no harm when there is a leader."""
        node = self.node
        others = len(node.raft.voters) // 2
        rank = sorted(node.raft.voters).index(self.id) if self.id in node.raft.voters else 0
        for _ in range(50):
            connected = sum(1 for id, p in self.transport.peers.items() if p.connected and id in node.raft.voters)
            if node.leader or node.stopped.is_set():
                return
            if connected >= others:
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02 + 0.15 * rank)
        if not node.leader and not node.stopped.is_set():
            node.raw.campaign()
            node.wake()


def _about_copy(path: Path) -> Snapshot:
    """Which index, term and membership a copied state file holds."""
    import lmdb

    from etcd_raft.proto.internal_pb2 import Membership as StoredMembership
    from etcd_raft.server.apply import unpack_applied

    with lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=4) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin() as txn:
            index, term = unpack_applied(txn.get(b"applied", db=meta))
            stored = StoredMembership.FromString(txn.get(b"membership", db=meta) or b"")
    voters = sorted(m.ID for m in stored.members if not m.isLearner)
    learners = sorted(m.ID for m in stored.members if m.isLearner)
    return Snapshot(index, term, ConfState(voters, learners))
