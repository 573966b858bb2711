"""ReadIndex: linearizable reads without a log entry (thesis 6.4).

The leader notes its commit index, asks a majority by heartbeat whether it still leads, and only then says: whoever has
applied that index may read. Requests are confirmed in order: a confirmation of a later one confirms all before it.
"""

from dataclasses import dataclass, field

from etcd_raft.raft.messages import Message


@dataclass(slots=True)
class ReadState:
    """The reads that were asked for under ``context`` may happen once ``index`` is applied."""

    index: int
    context: bytes


@dataclass(slots=True)
class _Pending:
    request: Message
    index: int
    acks: set[int] = field(default_factory=set)


class ReadOnly:
    """Read requests of a leader, by context, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[bytes, _Pending] = {}

    def add(self, index: int, request: Message, own: int) -> None:
        self._pending.setdefault(request.context, _Pending(request, index, {own}))

    def acknowledge(self, sender: int, context: bytes) -> set[int]:
        """Who has confirmed the request so far."""
        pending = self._pending.get(context)
        if pending is None:
            return set()
        pending.acks.add(sender)
        return pending.acks

    def advance(self, context: bytes) -> list[tuple[Message, int]]:
        """The request under ``context`` is confirmed: it and all older ones, removed."""
        if context not in self._pending:
            return []
        done: list[tuple[Message, int]] = []
        for key in list(self._pending):
            pending = self._pending.pop(key)
            done.append((pending.request, pending.index))
            if key == context:
                break
        return done

    def last_context(self) -> bytes:
        return next(reversed(self._pending)) if self._pending else b""

    def __len__(self) -> int:
        return len(self._pending)
