"""Who is in the cluster, by id: changed only by applied entries, stored beside the keys."""

import hashlib
from collections.abc import Sequence
from typing import Any

from etcd_raft.mvcc.backend import Backend
from etcd_raft.proto.internal_pb2 import Membership as StoredMembership
from etcd_raft.proto.rpc_pb2 import Member
from etcd_raft.raft.messages import ConfState


def member_id(peer_urls: Sequence[str], token: str, moment: str = "") -> int:
    """etcd's: from the peer addresses and the cluster's token, and for a later member the time when it was added."""
    digest = hashlib.sha1("".join(sorted(peer_urls)).encode() + token.encode() + moment.encode()).digest()
    return int.from_bytes(digest[:8], "big")


def cluster_id(members: Sequence[int]) -> int:
    digest = hashlib.sha1(b"".join(id.to_bytes(8, "big") for id in sorted(members))).digest()
    return int.from_bytes(digest[:8], "big")


class Membership:
    """``members`` by id, and the ids of those that are gone for good."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.cluster_id = 0
        self.members: dict[int, Any] = {}
        self.removed: set[int] = set()
        self.load()

    def load(self) -> None:
        stored = StoredMembership.FromString(self._backend.get_meta(b"membership") or b"")
        self.cluster_id = stored.cluster_id
        self.members = {member.ID: member for member in stored.members}
        self.removed = set(stored.removed)

    def _save(self) -> None:
        stored = StoredMembership(
            members=[self.members[id] for id in sorted(self.members)],
            removed=sorted(self.removed),
            cluster_id=self.cluster_id,
        )
        self._backend.put_meta(b"membership", stored.SerializeToString())

    def bootstrap(self, initial: dict[str, list[str]], token: str) -> None:
        """The first members: the same on each of them, since all are told the same."""
        # Names are told by each member itself once it has started.
        for urls in initial.values():
            id = member_id(urls, token)
            self.members[id] = Member(ID=id, peerURLs=sorted(urls))
        self.cluster_id = cluster_id(list(self.members))
        self._save()

    def conf_state(self) -> ConfState:
        voters = sorted(id for id, member in self.members.items() if not member.isLearner)
        learners = sorted(id for id, member in self.members.items() if member.isLearner)
        return ConfState(voters, learners)

    def sorted(self) -> list[Any]:
        return [self.members[id] for id in sorted(self.members)]

    def add(self, member: Any) -> None:
        self.members[member.ID] = member
        self._save()

    def promote(self, id: int) -> None:
        if id in self.members:
            self.members[id].isLearner = False
            self._save()

    def remove(self, id: int) -> None:
        self.members.pop(id, None)
        self.removed.add(id)
        self._save()

    def update_peer_urls(self, id: int, urls: Sequence[str]) -> None:
        if id in self.members:
            self.members[id].peerURLs[:] = sorted(urls)
            self._save()

    def update_attributes(self, id: int, name: str, client_urls: Sequence[str]) -> None:
        if id in self.members:
            self.members[id].name = name
            self.members[id].clientURLs[:] = sorted(client_urls)
            self._save()

    def by_peer_url(self, urls: Sequence[str]) -> list[int]:
        wanted = set(urls)
        return [id for id, member in self.members.items() if wanted & set(member.peerURLs)]
