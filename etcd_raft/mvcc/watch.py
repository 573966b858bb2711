"""Who wants to know: watchers, kept up with what is written, or caught up from history.

A watcher is *synced* when it has been handed everything up to the newest revision: then each revision goes to it as it is made.
Else it is *behind* (it starts in the past, or its stream could not take more), and ``catch_up`` reads what it lacks from the
store's log, which holds everything that is not compacted. A slow reader therefore costs no memory, and can lose nothing.

Guarantees, etcd's: events in order of revision; none twice, none missing; all events of one revision together; no event
before its revision can be read; a progress notice only after all events up to it.
"""

from collections.abc import Iterable
from typing import Protocol

from etcd_raft.mvcc import wire
from etcd_raft.mvcc.index import NO_END
from etcd_raft.mvcc.store import Change, Store

# One turn of catching up: enough to be fast, little enough that others get their turn.
_TURN_CHANGES = 1000
_TURN_BYTES = 1 << 20


class Sink(Protocol):
    """Where a watcher's events go: a stream. ``full`` means: not now, I will ask again."""

    @property
    def full(self) -> bool: ...

    def events(self, watcher: "Watcher", revision: int, events: list[bytes]) -> None:
        """Events of one or more whole revisions, the newest of them being ``revision``."""

    def compacted(self, watcher: "Watcher", revision: int) -> None:
        """What it needs is gone; the watcher has been removed."""


class Watcher:
    """``next`` is the first revision that it has not been handed."""

    __slots__ = ("end", "fragment", "id", "key", "next", "no_delete", "no_put", "prev_kv", "progress_notify", "quiet", "sink")  # fmt: skip

    def __init__(self, sink: Sink, id: int, key: bytes, end: bytes, next: int) -> None:
        self.sink = sink
        self.id = id
        self.key = key
        self.end = end
        self.next = next
        self.prev_kv = False
        self.no_put = False
        self.no_delete = False
        self.progress_notify = False
        self.fragment = False
        self.quiet = True  # no event since the last periodic progress notice

    def wants(self, change: Change) -> bool:
        key = change.key
        if not self.end:
            if key != self.key:
                return False
        elif key < self.key or (self.end != NO_END and key >= self.end):
            return False
        return not (self.no_delete if change.deleted else self.no_put)


class WatchHub:
    """All watchers of this member."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Synced watchers: those of one key by that key, the others in order of arrival.
        self._by_key: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: dict[Watcher, None] = {}
        self.behind: dict[Watcher, None] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values())) + len(self._ranges) + len(self.behind)

    def add(self, watcher: Watcher) -> None:
        if watcher.next > self._store.revision:
            self._sync(watcher)
        else:
            self.behind[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        self.behind.pop(watcher, None)
        self._unsync(watcher)

    def is_synced(self, watcher: Watcher) -> bool:
        return watcher not in self.behind

    def synced(self) -> Iterable[Watcher]:
        yield from self._ranges
        for watchers in self._by_key.values():
            yield from watchers

    def reset(self, seen: int) -> None:
        """The state was replaced by a leader's snapshot: whoever had everything up to ``seen`` reads on from there."""
        for watcher in list(self.synced()):
            self._unsync(watcher)
            watcher.next = max(watcher.next, seen + 1)
            self.behind[watcher] = None

    def _sync(self, watcher: Watcher) -> None:
        if watcher.end:
            self._ranges[watcher] = None
        else:
            self._by_key.setdefault(watcher.key, {})[watcher] = None

    def _unsync(self, watcher: Watcher) -> None:
        if watcher.end:
            self._ranges.pop(watcher, None)
        elif (group := self._by_key.get(watcher.key)) is not None:
            group.pop(watcher, None)
            if not group:
                del self._by_key[watcher.key]

    # ---- the present

    def notify(self, revision: int, changes: list[Change]) -> None:
        """A revision has been made: hand it to whom it concerns."""
        if not self._ranges and not self._by_key:
            return
        wanted: dict[Watcher, list[bytes]] = {}
        for change in changes:
            plain = full = None
            watchers: Iterable[Watcher] = self._ranges
            if (group := self._by_key.get(change.key)) is not None:
                watchers = (*self._ranges, *group)
            for watcher in watchers:
                if revision < watcher.next or not watcher.wants(change):
                    continue
                if watcher.prev_kv:
                    full = full or self._event(change, True)
                    wanted.setdefault(watcher, []).append(full)
                else:
                    plain = plain or self._event(change, False)
                    wanted.setdefault(watcher, []).append(plain)
        for watcher, events in wanted.items():
            if watcher.sink.full:
                self._unsync(watcher)
                watcher.next = revision
                self.behind[watcher] = None
            else:
                watcher.next = revision + 1
                watcher.quiet = False
                watcher.sink.events(watcher, revision, events)

    def _event(self, change: Change, with_previous: bool) -> bytes:
        previous = self._store.kv_at(change.previous) if with_previous else None
        return wire.event(change.deleted, change.kv, previous)

    # ---- the past

    def catch_up(self) -> bool:
        """Bring watchers that are behind forward by a turn; whether there is more that can be done now."""
        more = False
        for watcher in list(self.behind):
            if not watcher.sink.full:
                more = self._forward(watcher) or more
        return more

    def _forward(self, watcher: Watcher) -> bool:
        store = self._store
        if watcher.next < store.compacted:
            del self.behind[watcher]
            watcher.sink.compacted(watcher, store.compacted)
            return False
        events: list[bytes] = []
        size = 0
        last = watcher.next - 1
        full_turn = False
        for seen, (revision, change) in enumerate(store.changes(watcher.next, store.revision + 1)):
            if revision != last and (seen >= _TURN_CHANGES or size >= _TURN_BYTES):
                full_turn = True  # stop only between revisions: one revision's events stay together
                break
            last = revision
            if watcher.wants(change):
                event = self._event(change, watcher.prev_kv)
                events.append(event)
                size += len(event)
        watcher.next = last + 1 if full_turn else store.revision + 1
        if not full_turn:
            del self.behind[watcher]
            self._sync(watcher)
        if events:
            watcher.quiet = False
            watcher.sink.events(watcher, watcher.next - 1, events)
        return full_turn
