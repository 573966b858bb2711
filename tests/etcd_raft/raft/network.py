"""A few members in one place, messages delivered one by one: for tests that tell a story, not a lottery."""

from collections.abc import Callable, Iterable

from etcd_raft.raft.codec import decode_conf_change
from etcd_raft.raft.core import Config, Role
from etcd_raft.raft.messages import ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot
from etcd_raft.raft.node import RawNode

BASE = 1  # all members start behind a common first entry


def member(
    id: int,
    voters: Iterable[int],
    *,
    learners: Iterable[int] = (),
    entries: list[Entry] | None = None,
    term: int = 1,
    vote: int = 0,
    pre_vote: bool = True,
    check_quorum: bool = True,
    **options: int,
) -> RawNode:
    """A member with its log; election timeouts are fixed: 10 ticks and its place among the voters."""
    conf = ConfState(sorted(voters), sorted(learners))
    return RawNode(
        Config(id, lambda n: (id - 1) % n, pre_vote=pre_vote, check_quorum=check_quorum, **options),  # type: ignore[arg-type]
        hard_state=HardState(term, vote, BASE),
        snapshot=Snapshot(BASE, 1, conf),
        entries=entries or [],
    )


class Network:
    """Delivers until nothing moves. ``cut`` holds broken directed links; ``lose`` may swallow a message."""

    def __init__(self, *nodes: RawNode) -> None:
        self.nodes = {node.raft.id: node for node in nodes}
        self.cut: set[tuple[int, int]] = set()
        self.lose: Callable[[Message], bool] = lambda message: False
        self.applied: dict[int, list[bytes]] = {id: [] for id in self.nodes}
        self.sent: list[Message] = []
        self.synced: dict[int, list[str]] = {id: [] for id in self.nodes}

    def isolate(self, *ids: int) -> None:
        for a in ids:
            for b in self.nodes:
                if b not in ids:
                    self.cut |= {(a, b), (b, a)}

    def heal(self) -> None:
        self.cut.clear()
        self.lose = lambda message: False

    def pump(self, only: Iterable[int] | None = None) -> None:
        """Work off and deliver until all is quiet."""
        moved = True
        while moved:
            moved = False
            for id in sorted(self.nodes if only is None else only):
                node = self.nodes[id]
                while node.has_ready():
                    moved = True
                    self._work(id, node)

    def _work(self, id: int, node: RawNode) -> None:
        ready = node.ready()
        if ready.must_sync:
            self.synced[id].append(f"{len(ready.entries)} entries")
        for entry in ready.committed:
            if entry.type == EntryType.CONF_CHANGE:
                node.apply_conf_change(decode_conf_change(entry.data))
            elif entry.data:
                self.applied[id].append(entry.data)
        node.advance()
        for message in (*ready.messages, *ready.promises):
            self.sent.append(message)
            if (id, message.to) in self.cut or message.to not in self.nodes or self.lose(message):
                continue
            if message.type == MessageType.SNAPSHOT:
                self.applied[message.to] = list(self.applied[id])
            self.nodes[message.to].step(message)

    def tick(self, times: int = 1, only: Iterable[int] | None = None) -> None:
        for _ in range(times):
            for id in sorted(self.nodes if only is None else only):
                self.nodes[id].tick()
            self.pump()

    def elect(self, id: int) -> RawNode:
        node = self.nodes[id]
        node.campaign()
        self.pump()
        assert node.raft.role == Role.LEADER, f"{id} is {node.raft.role.name}"
        return node

    def elect_without(self, *ids: int) -> RawNode:
        """Member 1 leads, and these have not heard of it."""
        self.isolate(*ids)
        return self.elect(1)

    def roles(self) -> dict[int, str]:
        return {id: node.raft.role.name.lower() for id, node in self.nodes.items()}

    def terms(self) -> dict[int, list[int]]:
        """The terms of the entries of each log, behind the common start."""
        return {
            id: [node.raft.log.term(index) or 0 for index in range(BASE + 1, node.raft.log.last_index + 1)]
            for id, node in self.nodes.items()
        }


def log_of(*terms: int) -> list[Entry]:
    """Entries behind the common start with these terms."""
    return [Entry(term, BASE + 1 + position, b"old-%d" % position) for position, term in enumerate(terms)]
