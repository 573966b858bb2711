"""A queue of keys to reconcile, with client-go's promises.

A key that is added while it waits is handled once; added while it is worked on, it is handled again afterwards, never
by two workers at once. Failures come back with exponential back-off.
"""

import asyncio
import random
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class ShutDown(Exception):
    """The queue was shut down and is empty."""


class WorkQueue(Generic[K]):
    """Use from one event loop. ``base_delay`` and ``max_delay`` (seconds) bound the back-off of one key's failures."""

    def __init__(self, name: str = "", *, base_delay: float = 0.005, max_delay: float = 60.0) -> None:
        self.name = name
        self._base, self._max = base_delay, max_delay
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        # With the time each fires at: uvloop's handles for the next few milliseconds cannot tell it.
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._down = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        if self._down or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, delay: float) -> None:
        """Add in ``delay`` seconds; of several timers for one key the earliest stays."""
        if delay <= 0:
            self.add(key)
            return
        if self._down:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + delay
        timer = self._timers.get(key)
        if timer is not None:
            if timer[0] <= when:
                return
            timer[1].cancel()
        self._timers[key] = (when, loop.call_at(when, self._timer_fired, key))

    def add_rate_limited(self, key: K) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base * 2 ** min(failures, 32), self._max)
        self.add_after(key, delay * random.uniform(1.0, 1.1))

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure starts the back-off anew."""
        self._failures.pop(key, None)

    def retries(self, key: K) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key; call :meth:`done` when it has been handled. Raises :class:`ShutDown`."""
        while not self._ready:
            if self._down:
                raise ShutDown
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # The wake-up may have been meant for us: hand it on.
                if waiter.done() and not waiter.cancelled() and self._ready:
                    self._wake()
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    def shut_down(self) -> None:
        self._down = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._waiters:
            self._wake()

    def _timer_fired(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
