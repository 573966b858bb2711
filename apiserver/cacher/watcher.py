"""What one client's watch sees: its share of the changes, in its representation, waiting to be sent.

A watcher is filled synchronously when a change arrives. Serving a client it is emptied in one of two ways: pulled by a task
(``take``), or, cheaper, pushed by an ``Outbox``, once for all changes that arrived together.
A client that reads too slowly is cut off once too much waits: it lists or resumes again, and nobody else is held up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from apiserver.cacher.entry import Attributes, Change, Entry

#: What may wait for one client. Bytes are shared between watchers, so this bounds delay more than memory.
MAX_WAITING_BYTES = 16 << 20
MAX_WAITING_EVENTS = 20_000
#: What is written at once is no longer shared: a client that then takes nothing keeps this much, and little more.
WRITE_BYTES = 256 * 1024
#: How long watchers are written to before the loop turns to others, how much of that time others are then given, and how
#: much they may be owed before they are.
_SLICE_SECONDS, _OTHERS_SHARE, _BURST_SECONDS = 0.002, 0.5, 0.02

Matches = Callable[[Attributes], bool]


class Representation(Protocol):
    """How events look: plain JSON, Table or PartialObjectMetadata. ``key`` tells equal ones apart from others."""

    @property
    def key(self) -> object: ...

    @property
    def following(self) -> "Representation":
        """What the events after the first look like."""
        ...

    def event(self, event_type: str, body: bytes) -> bytes: ...

    def bookmark(self, revision: int, initial_events_end: bool) -> bytes: ...


class Outbox:
    """Gathers the watchers that have something to send and lets each write once for all that arrived meanwhile.

    A write costs as much with one event as with ten, and to write to hundreds takes longer than a change takes to come in. So
    it is done in slices, and who has written for long leaves ``_OTHERS_SHARE`` of that time to everything else: then changes
    gather, every write carries several, and those who make the changes are not held up by those who watch.
    """

    def __init__(self) -> None:
        self._dirty: deque[Watcher] = deque()
        self._planned = False
        self._earned_until = time.perf_counter()
        """Time since then has not been counted as time for others."""
        self._credit = _BURST_SECONDS

    def add(self, watcher: "Watcher") -> None:
        self._dirty.append(watcher)
        if not self._planned:
            self._planned = True
            self._plan()

    def _plan(self) -> None:
        self._earn()
        loop = asyncio.get_running_loop()
        if self._credit >= 0:
            loop.call_soon(self._slice)
        else:
            loop.call_later(-self._credit, self._slice)

    def _earn(self) -> float:
        now = time.perf_counter()
        self._credit = min(self._credit + now - self._earned_until, _BURST_SECONDS)
        self._earned_until = now
        return now

    def _slice(self) -> None:
        began, dirty = self._earn(), self._dirty
        while dirty and time.perf_counter() - began < _SLICE_SECONDS:
            dirty.popleft().flush()
        # The loop hands the kernel what was written at the end of its turn: that is part of the price.
        asyncio.get_running_loop().call_soon(self._pay, began)

    def _pay(self, began: float) -> None:
        now = time.perf_counter()
        self._credit -= _OTHERS_SHARE * min(now - began, 2 * _SLICE_SECONDS)
        self._earned_until = now
        self._planned = bool(self._dirty)
        if self._planned:
            self._plan()


class Watcher:
    """Created and registered by ``ResourceCache.watch``; ``close`` takes it out."""

    __slots__ = (
        "_bytes", "_closed_by", "_matches", "_out", "_outbox", "_push", "_queued", "_representation", "_since", "_wake",
        "closed", "index", "scope",
    )  # fmt: skip

    def __init__(
        self,
        scope: str,
        matches: Matches | None,
        representation: Representation,
        closed_by: Callable[["Watcher"], None],
        outbox: Outbox,
        since: int = 0,
    ) -> None:
        self.scope = scope
        self.index: tuple[str, str] | None = None
        self.closed = False
        self._matches = matches
        self._representation = representation
        self._closed_by = closed_by
        self._since = since
        self._out: list[bytes] = []
        self._bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._outbox = outbox
        self._push: Callable[[bytes], bool] | None = None
        self._queued = False

    def offer(
        self,
        change: Change,
        attributes: Callable[[Entry], Attributes],
        rebody: Callable[[Entry, int], bytes],
    ) -> None:
        """Turn a change into this watcher's event: with a selector, an object may come and go without being touched.

        A client may have seen more at another API server than has come here: that is not told again.
        """
        if change.revision <= self._since:
            return
        entry, previous, matches = change.entry, change.previous, self._matches
        if matches is None:
            event_type = "DELETED" if entry is None else "ADDED" if previous is None else "MODIFIED"
        else:
            now = entry is not None and matches(attributes(entry))
            before = previous is not None and matches(attributes(previous))
            if now:
                event_type = "MODIFIED" if before else "ADDED"
            elif before:
                event_type = "DELETED"
            else:
                return
        key = (event_type, self._representation.key)
        data = change.encoded.get(key)
        if data is None:
            if event_type == "DELETED":
                assert previous is not None, "what matched before was there before"
                body = rebody(previous, change.revision)
            else:
                assert entry is not None, "what matches now is there"
                body = entry.body
            data = change.encoded[key] = self._representation.event(event_type, body)
        self._representation = self._representation.following
        self.put(data)

    def put(self, data: bytes) -> None:
        if self.closed:
            return
        self._out.append(data)
        self._bytes += len(data)
        if self._bytes > MAX_WAITING_BYTES or len(self._out) > MAX_WAITING_EVENTS:
            self.close()
        elif self._push is not None:
            if not self._queued:
                self._queued = True
                self._outbox.add(self)
        elif self._wake is not None:
            self._wake_up()

    @property
    def waiting(self) -> bool:
        """Whether there is something that has not been sent."""
        return bool(self._out)

    def push_to(self, push: Callable[[bytes], bool]) -> None:
        """From now on everything is written by ``push``, which returns False while the client is not taking any."""
        self._push = push
        self.flush()

    def flush(self) -> None:
        """Write what waits as far as the client takes it; called by the outbox, and when the client has caught up."""
        self._queued = False
        while self._out and self._push is not None:
            count, size = len(self._out), self._bytes
            if size > WRITE_BYTES:
                count, size = self._part()
            if not self._push(self._out[0] if count == 1 else b"".join(self._out[:count])):
                return
            del self._out[:count]
            self._bytes -= size

    def _part(self) -> tuple[int, int]:
        """How many events fill one write, and their size."""
        size = 0
        for count, data in enumerate(self._out, 1):
            size += len(data)
            if size >= WRITE_BYTES:
                return count, size
        return len(self._out), size

    async def ended(self, timeout: float) -> bool:
        """Wait until the watcher is closed, at most ``timeout`` seconds; whether it is."""
        if not self.closed:
            await self._sleep(timeout)
        return self.closed

    async def _sleep(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self._wake = wake = loop.create_future()
        timer = loop.call_later(timeout, _give_up, wake)
        try:
            await wake
        finally:
            self._wake = None
            timer.cancel()

    def _wake_up(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    def put_added(self, entry: Entry) -> None:
        """An object that was there when the watch began."""
        self.put(self._representation.event("ADDED", entry.body))
        self._representation = self._representation.following

    def put_bookmark(self, revision: int, *, initial_events_end: bool = False) -> None:
        self.put(self._representation.bookmark(revision, initial_events_end))

    async def take(self, timeout: float) -> bytes:
        """All that waits; empty after ``timeout`` seconds of silence or when the watcher was closed."""
        if not self._out and not self.closed:
            await self._sleep(timeout)
        out = self._out
        if not out:
            return b""
        self._out, self._bytes = [], 0
        return out[0] if len(out) == 1 else b"".join(out)

    def close(self) -> None:
        """No further events; what waits can still be taken."""
        if self.closed:
            return
        self.closed = True
        self._closed_by(self)
        self._wake_up()


def _give_up(wake: asyncio.Future[None]) -> None:
    if not wake.done():
        wake.set_result(None)
