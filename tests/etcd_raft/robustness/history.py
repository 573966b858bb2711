"""What was seen: operations with their answers, and the answers on watches."""

from dataclasses import dataclass, field

from tests.etcd_raft.robustness.checker import FOREVER, Operation
from tests.etcd_raft.robustness.model import State, Values


@dataclass(frozen=True, slots=True)
class Event:
    """A change as a watch tells it."""

    revision: int
    key: bytes
    value: bytes | None  # None: deleted
    created: bool = False
    version: int = 0
    previous: tuple[bytes, int] | None = None  # value and revision before, where the watch asked for it


@dataclass(slots=True)
class Response:
    """One message on a watch: events, or the promise that everything up to ``revision`` has been told."""

    revision: int
    events: list[Event] = field(default_factory=list)
    is_progress: bool = False
    fragment: bool = False  # more of the same revisions follows in the next message
    at: float = 0.0


@dataclass(slots=True)
class Watch:
    """One watch from its creation to its end."""

    key: bytes
    end: bytes
    start: int  # as asked for; 0: from now
    prev_kv: bool = False
    responses: list[Response] = field(default_factory=list)
    created_at: int = 0  # the store's revision when it answered
    compacted: int = 0  # it was cancelled because history before this is gone

    def events(self) -> list[Event]:
        return [event for response in self.responses for event in response.events]

    def wants(self, event: Event) -> bool:
        return event.key == self.key or bool(
            self.end and self.key <= event.key and (event.key < self.end or self.end == b"\0")
        )


@dataclass(slots=True)
class Write:
    """What a client was told about a write that it made: the revision, and what has changed (None: deleted)."""

    revision: int
    changes: dict[bytes, bytes | None]


@dataclass(slots=True)
class StaleRead:
    """A read of one member's view, or of a revision of the past."""

    revision: int
    key: bytes
    end: bytes
    found: Values


@dataclass(slots=True)
class History:
    """All of it. ``watchers``: the watches of each watching client, one after the other."""

    initial: State
    operations: list[Operation] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    stale_reads: list[StaleRead] = field(default_factory=list)
    watchers: list[list[Watch]] = field(default_factory=list)
    compacted: int = 0  # the highest revision that anybody asked to compact at
    hashes: dict[str, int] = field(default_factory=dict)  # of each member's keys, at the end
    starved: str = ""  # who was not told everything in the end

    @property
    def unknown(self) -> int:
        return sum(operation.returned == FOREVER for operation in self.operations)


def states(initial: State, events: list[Event]) -> dict[int, State]:
    """The state at each revision, as a complete list of events tells it."""
    by_revision: dict[int, dict[bytes, bytes | None]] = {}
    for event in events:
        by_revision.setdefault(event.revision, {})[event.key] = event.value
    found = {initial.revision: initial}
    state = initial
    for revision in sorted(by_revision):
        state = found[revision] = State(revision - 1, state.values).after(by_revision[revision])
    return found
