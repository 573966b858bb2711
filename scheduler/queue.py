"""Pods that wait for a node, in three places.

*Active*: to be tried now, the highest priority first, then the longest waiting. *Backoff*: failed a moment ago and
barred for one to ten seconds, so that a hopeless pod does not starve the others. *Unschedulable*: no node would do; it
stays until something happens that the plugins which rejected it care about, or for five minutes. A gated pod stays until its
gates are gone.

No clock and no timers of its own: ``flush`` does what is due and ``next_deadline`` says when to call it again.
"""

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from scheduler.event import Event
from scheduler.framework import Plugin
from scheduler.pod import PodInfo

INITIAL_BACKOFF, MAX_BACKOFF = 1.0, 10.0
#: An unschedulable pod is tried again after so long without any news.
UNSCHEDULABLE_LIMIT = 300.0

ACTIVE, BACKOFF, UNSCHEDULABLE, GATED, IN_FLIGHT = "active", "backoff", "unschedulable", "gated", "in flight"


class QueuedPod:
    """A pod and the story of its attempts. ``place`` says which part of the queue holds it."""

    __slots__ = ("added", "attempts", "info", "place", "rejected_by", "ticket", "timestamp")

    def __init__(self, info: PodInfo, now: float) -> None:
        self.info = info
        self.attempts = 0
        self.rejected_by: frozenset[str] = frozenset()
        self.added = self.timestamp = now
        self.place = ACTIVE
        self.ticket = 0

    @property
    def backoff(self) -> float:
        """Seconds to wait after the last failed attempt."""
        return min(INITIAL_BACKOFF * 2 ** max(self.attempts - 1, 0), MAX_BACKOFF)


class SchedulingQueue:
    """``on_change`` is called when a pod becomes active or a deadline new; ``on_move`` with every move (for metrics)."""

    def __init__(
        self,
        plugins: list[Plugin],
        clock: Callable[[], float],
        *,
        on_change: Callable[[], None] = lambda: None,
        on_move: Callable[[str, str], None] = lambda place, event: None,
    ) -> None:
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self._clock, self._on_change, self._on_move = clock, on_change, on_move
        self._pods: dict[str, QueuedPod] = {}
        # Heap entries are (order ..., ticket, pod); one whose ticket is not the pod's any more is void.
        self._active: list[tuple[int, float, int, QueuedPod]] = []
        self._backoff: list[tuple[float, int, QueuedPod]] = []
        # Oldest first, since pods enter in the order of time.
        self._unschedulable: dict[str, QueuedPod] = {}
        self._tickets = itertools.count(1)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def get(self, uid: str) -> QueuedPod | None:
        return self._pods.get(uid)

    def sizes(self) -> dict[str, int]:
        sizes = dict.fromkeys((ACTIVE, BACKOFF, UNSCHEDULABLE, GATED), 0)
        for pod in self._pods.values():
            if pod.place != IN_FLIGHT:
                sizes[pod.place] += 1
        return sizes

    # --- pods come, change and go -------------------------------------------------------------------------------

    def add(self, info: PodInfo) -> None:
        if info.uid in self._pods:
            self.update(info)
            return
        pod = self._pods[info.uid] = QueuedPod(info, self._clock())
        if info.gates:
            self._enter(pod, GATED)
        else:
            self._enter(pod, ACTIVE, "PodAdd")

    def update(self, info: PodInfo) -> None:
        """The waiting pod itself has changed, which may be all that it needed."""
        pod = self._pods.get(info.uid)
        if pod is None:
            self.add(info)
            return
        old, pod.info = pod.info, info
        if pod.place == GATED:
            if not info.gates:
                self._enter(pod, ACTIVE, "PodUpdate")
        elif pod.place == ACTIVE and info.priority != old.priority:
            self._enter(pod, ACTIVE, "PodUpdate")
        elif pod.place == UNSCHEDULABLE and (old.spec != info.spec or old.labels != info.labels):
            self._reconsider(pod, Event.OWN_CHANGE, old, info)

    def delete(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        if pod is not None:
            pod.ticket = 0
            self._unschedulable.pop(uid, None)

    # --- trying them --------------------------------------------------------------------------------------------

    def pop(self) -> QueuedPod | None:
        """The next pod to try, now in flight; say what came of it with ``done``, ``reject`` or ``retry``."""
        while self._active:
            *_, ticket, pod = heapq.heappop(self._active)
            if pod.ticket == ticket:
                pod.place, pod.ticket = IN_FLIGHT, 0
                pod.attempts += 1
                return pod
        return None

    def done(self, pod: QueuedPod) -> None:
        """It is bound."""
        if self._pods.get(pod.info.uid) is pod:
            del self._pods[pod.info.uid]

    def reject(self, pod: QueuedPod, plugins: frozenset[str]) -> None:
        """No node would do, because of these plugins."""
        if self._pods.get(pod.info.uid) is not pod:
            return  # deleted meanwhile
        pod.rejected_by = plugins
        pod.timestamp = self._clock()
        self._enter(pod, UNSCHEDULABLE)

    def retry(self, pod: QueuedPod) -> None:
        """Something went wrong that has nothing to do with the nodes: try again after the back-off."""
        if self._pods.get(pod.info.uid) is not pod:
            return
        pod.rejected_by = frozenset()
        pod.timestamp = self._clock()
        self._enter(pod, BACKOFF, "ScheduleAttemptFailure")

    # --- things happen ------------------------------------------------------------------------------------------

    def move(self, event: Event, old: Any = None, new: Any = None) -> None:
        """Reconsider the unschedulable pods after an event about a node or another pod."""
        for pod in list(self._unschedulable.values()):
            self._reconsider(pod, event, old, new)

    def activate(self, uids: set[str]) -> None:
        """These are worth another try, whatever their plugins think."""
        for uid in uids:
            pod = self._unschedulable.get(uid)
            if pod is not None:
                self._requeue(pod, "ForceActivate")

    def _reconsider(self, pod: QueuedPod, event: Event, old: Any, new: Any) -> None:
        # A pod that no plugin rejected (there were no nodes at all) is interested in everything.
        names = pod.rejected_by
        if names and not any(self._interested(self._plugins[name], event, pod.info, old, new) for name in names):
            return
        self._requeue(pod, event.label)

    @staticmethod
    def _interested(plugin: Plugin, event: Event, info: PodInfo, old: Any, new: Any) -> bool:
        seen = event & plugin.events
        return bool(seen) and plugin.hint(seen, info, old, new)

    def _requeue(self, pod: QueuedPod, event: str) -> None:
        if pod.timestamp + pod.backoff > self._clock():
            self._enter(pod, BACKOFF, event)
        else:
            self._enter(pod, ACTIVE, event)

    # --- time passes --------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When ``flush`` has something to do next, by the queue's clock."""
        while self._backoff and self._backoff[0][2].ticket != self._backoff[0][1]:
            heapq.heappop(self._backoff)
        deadlines = [self._backoff[0][0]] if self._backoff else []
        for pod in self._unschedulable.values():
            deadlines.append(pod.timestamp + UNSCHEDULABLE_LIMIT)
            break
        return min(deadlines, default=None)

    def flush(self) -> None:
        now = self._clock()
        while self._backoff and (self._backoff[0][0] <= now or self._backoff[0][2].ticket != self._backoff[0][1]):
            _, ticket, pod = heapq.heappop(self._backoff)
            if pod.ticket == ticket:
                self._enter(pod, ACTIVE, "BackoffComplete")
        for pod in list(self._unschedulable.values()):
            if pod.timestamp + UNSCHEDULABLE_LIMIT > now:
                break
            self._requeue(pod, "UnschedulableTimeout")

    def _enter(self, pod: QueuedPod, place: str, event: str = "ScheduleAttemptFailure") -> None:
        uid = pod.info.uid
        self._unschedulable.pop(uid, None)
        pod.place, pod.ticket = place, next(self._tickets)
        self._on_move(place, event)
        if place == ACTIVE:
            heapq.heappush(self._active, (-pod.info.priority, pod.timestamp, pod.ticket, pod))
            self._on_change()
        elif place == BACKOFF:
            heapq.heappush(self._backoff, (pod.timestamp + pod.backoff, pod.ticket, pod))
            self._on_change()
        elif place == UNSCHEDULABLE:
            self._unschedulable[uid] = pod
