"""What travels between members and what is stored: entries, messages, hard state, snapshots' metadata."""

from dataclasses import dataclass, field
from enum import IntEnum


class EntryType(IntEnum):
    NORMAL = 0
    CONF_CHANGE = 1


@dataclass(slots=True)
class Entry:
    term: int
    index: int
    data: bytes = b""
    type: int = EntryType.NORMAL

    def size(self) -> int:
        return len(self.data) + 24


class ConfChangeType(IntEnum):
    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2  # addresses only: no change for Raft
    ADD_LEARNER = 3


@dataclass(slots=True)
class ConfChange:
    """One membership change: one member at a time, so that two majorities always overlap (thesis 4.1)."""

    type: ConfChangeType
    node: int
    context: bytes = b""


@dataclass(slots=True)
class ConfState:
    voters: list[int] = field(default_factory=list)
    learners: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Snapshot:
    """Metadata of a state at ``index``. The state itself never passes through the core: the shell knows where it is."""

    index: int = 0
    term: int = 0
    conf: ConfState = field(default_factory=ConfState)


@dataclass(slots=True)
class HardState:
    """What a member must not forget: its term, its vote in it, and (for speed only) how far it knew to be committed."""

    term: int = 0
    vote: int = 0
    commit: int = 0


class MessageType(IntEnum):
    HUP = 0  # local: start an election
    BEAT = 1  # local: send heartbeats
    PROPOSE = 2
    APPEND = 3
    APPEND_RESPONSE = 4
    VOTE = 5
    VOTE_RESPONSE = 6
    SNAPSHOT = 7
    HEARTBEAT = 8
    HEARTBEAT_RESPONSE = 9
    UNREACHABLE = 10  # local: the transport lost a message to `sender`
    SNAPSHOT_STATUS = 11  # local: a snapshot reached `sender` (or not: reject)
    CHECK_QUORUM = 12  # local: does a majority still answer?
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESPONSE = 16
    PRE_VOTE = 17
    PRE_VOTE_RESPONSE = 18


LOCAL = frozenset(
    {
        MessageType.HUP,
        MessageType.BEAT,
        MessageType.UNREACHABLE,
        MessageType.SNAPSHOT_STATUS,
        MessageType.CHECK_QUORUM,
    }
)
RESPONSES = frozenset(
    {
        MessageType.APPEND_RESPONSE,
        MessageType.VOTE_RESPONSE,
        MessageType.HEARTBEAT_RESPONSE,
        MessageType.READ_INDEX_RESPONSE,
        MessageType.PRE_VOTE_RESPONSE,
        MessageType.UNREACHABLE,
        MessageType.SNAPSHOT_STATUS,
    }
)


@dataclass(slots=True)
class Message:
    """One message. For an append, ``index`` and ``log_term`` name the entry before ``entries``."""

    type: MessageType
    to: int = 0
    sender: int = 0
    term: int = 0
    log_term: int = 0
    index: int = 0
    commit: int = 0
    entries: list[Entry] = field(default_factory=list)
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    snapshot: Snapshot | None = None
