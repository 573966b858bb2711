"""The scheduling loop: one pod after the other is decided on at once; what the decision takes is written meanwhile.

A decision is synchronous and sees the node table as it is; the table then assumes the pod in its place, so that the
next decision counts it, while the binding is on its way to the API server with others.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kubeclient import ApiError, EventRecorder, TransportError
from scheduler import metrics
from scheduler.algorithm import Algorithm
from scheduler.binding import PodWriter
from scheduler.cache import Cache
from scheduler.diagnosis import Unschedulable
from scheduler.event import Event
from scheduler.nominator import Nominator
from scheduler.pod import PodInfo
from scheduler.preemption import Candidate, NotPreempting, preempt
from scheduler.queue import QueuedPod, SchedulingQueue

log = logging.getLogger(__name__)

Object = dict[str, Any]

#: Bindings under way at once: enough to keep the API server busy, few enough that a pod of high priority is not stuck
#: behind a crowd that was decided on before it.
_MAX_BINDINGS = 32
#: Decide for so long at most before letting news in and bindings out.
_SLICE_SECONDS = 0.005


class SchedulingLoop:
    """``budgets`` lists the PodDisruptionBudgets that preemption should respect."""

    def __init__(
        self,
        cache: Cache,
        queue: SchedulingQueue,
        algorithm: Algorithm,
        nominator: Nominator,
        writer: PodWriter,
        recorder: EventRecorder,
        *,
        budgets: Callable[[], Sequence[Object]],
        rng: random.Random,
    ) -> None:
        self._cache, self._queue, self._algorithm, self._nominator = cache, queue, algorithm, nominator
        self._writer, self._recorder, self._budgets, self._rng = writer, recorder, budgets, rng
        self._ready = asyncio.Event()
        self._slots = asyncio.Semaphore(_MAX_BINDINGS)
        self._writes: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """A pod became active, or the queue's next deadline changed."""
        self._ready.set()

    async def run(self) -> None:
        """Never returns. On cancellation bindings under way are awaited no more: the API server decides."""
        try:
            slice_end = time.monotonic() + _SLICE_SECONDS
            while True:
                self._queue.flush()
                await self._slots.acquire()
                pod = self._queue.pop()
                if pod is None:
                    self._slots.release()
                    await self._wait()
                    slice_end = time.monotonic() + _SLICE_SECONDS
                    continue
                self._schedule(pod)
                if time.monotonic() >= slice_end:
                    await asyncio.sleep(0)
                    slice_end = time.monotonic() + _SLICE_SECONDS
        finally:
            for task in self._writes:
                task.cancel()
            await asyncio.gather(*self._writes, return_exceptions=True)

    async def _wait(self) -> None:
        deadline = self._queue.next_deadline()
        timeout = None if deadline is None else max(deadline - time.monotonic(), 0)
        self._ready.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            pass

    def _start(self, write: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    # --- one pod ------------------------------------------------------------------------------------------------

    def _schedule(self, pod: QueuedPod) -> None:
        """Holds one slot, which the binding (if it comes to that) gives back."""
        info, started = pod.info, time.perf_counter()
        try:
            decision = self._algorithm.decide(info)
        except Unschedulable as failure:
            self._slots.release()
            self._reject(pod, failure)
            metrics.attempted("unschedulable", time.perf_counter() - started)
            return
        except Exception as error:
            # A defect of ours, or a pod that the API server should not have let in: the others must go on.
            self._slots.release()
            log.exception("deciding on %s failed", info.key)
            self._queue.retry(pod)
            self._report(info, "SchedulerError", f"{type(error).__name__}: {error}")
            metrics.attempted("error", time.perf_counter() - started)
            return
        metrics.algorithm_seconds.observe(time.perf_counter() - started)
        name = decision.node.name
        self._nominator.withdraw(info.uid)
        self._cache.assume(info, name)
        self._start(self._bind(pod, name, started))
        log.debug("%s goes to %s: %d of %d nodes fit", info.key, name, decision.feasible, decision.evaluated)

    async def _bind(self, pod: QueuedPod, node_name: str, started: float) -> None:
        info = pod.info
        try:
            await self._writer.bind(info, node_name)
        except (ApiError, TransportError) as error:
            self._binding_failed(pod, node_name, error)
            metrics.attempted("error", time.perf_counter() - started)
        else:
            self._queue.done(pod)
            message = f"Successfully assigned {info.key} to {node_name}"
            self._recorder.event(info.pod, "Normal", "Scheduled", message)
            log.info("%s", message)
            metrics.attempted("scheduled", time.perf_counter() - started)
            metrics.scheduled(pod.attempts, time.monotonic() - pod.added)
        finally:
            self._slots.release()

    def _binding_failed(self, pod: QueuedPod, node_name: str, error: Exception) -> None:
        info, text = pod.info, str(error) or type(error).__name__
        log.warning("%s could not be bound to %s: %s", info.key, node_name, text)
        self._cache.forget(info.uid)
        # Its assumed place may have kept others out.
        self._queue.move(Event.POD_DELETE, info, None)
        if isinstance(error, ApiError) and error.not_found:
            self._queue.done(pod)
            return
        self._queue.retry(pod)
        self._report(info, "SchedulerError", f"binding rejected: {text}")

    # --- no node ------------------------------------------------------------------------------------------------

    def _reject(self, pod: QueuedPod, failure: Unschedulable) -> None:
        info, nominated, candidate = pod.info, None, None
        if failure.total and failure.rejections:
            metrics.preemption_attempts.inc()
            try:
                candidate = preempt(info, failure, self._algorithm, self._budgets(), self._rng)
                nominated = candidate.node_name
                self._nominator.nominate(info, nominated)
            except NotPreempting as reason:
                failure.post_filter = f"preemption: {reason}"
                if reason.clear:
                    nominated = ""
                    self._nominator.withdraw(info.uid)
        # Into the queue before anything is written: the answer to what we write may already be what it waits for.
        self._queue.reject(pod, failure.plugins)
        if candidate is not None:
            self._make_room(info, candidate)
        self._report(info, "Unschedulable", str(failure), nominated)

    def _make_room(self, preemptor: PodInfo, candidate: Candidate) -> None:
        log.info("%s preempts %s on %s", preemptor.key, candidate.victims, candidate.node_name)
        metrics.preemption_victims.observe(len(candidate.victims))
        # Pods of lower priority that were promised this node may have to look elsewhere.
        for other in self._nominator.on(candidate.node_name):
            if other.priority < preemptor.priority:
                self._nominator.withdraw(other.uid)
                self._start(self._clear_nomination(other))
        self._start(self._evict(preemptor, candidate))

    async def _evict(self, preemptor: PodInfo, candidate: Candidate) -> None:
        async def evict(victim: PodInfo) -> None:
            if await self._writer.evict(victim):
                message = f"Preempted by pod {preemptor.uid} on node {candidate.node_name}"
                self._recorder.event(victim.pod, "Normal", "Preempted", message)

        waiting = [victim for victim in candidate.victims if not victim.deleting]
        results = await asyncio.gather(*map(evict, waiting), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        for error in failed:
            log.warning("preemption for %s: %s", preemptor.key, str(error) or type(error).__name__)
        if failed:
            self._nominator.withdraw(preemptor.uid)
            self._queue.activate({preemptor.uid})

    async def _clear_nomination(self, pod: PodInfo) -> None:
        try:
            await self._writer.clear_nomination(pod)
        except (ApiError, TransportError) as error:
            log.info("nomination of %s not cleared: %s", pod.key, str(error) or type(error).__name__)

    def _report(self, pod: PodInfo, reason: str, message: str, nominated: str | None = None) -> None:
        self._recorder.event(pod.pod, "Warning", "FailedScheduling", message)
        self._start(self._write_report(pod, reason, message, nominated))

    async def _write_report(self, pod: PodInfo, reason: str, message: str, nominated: str | None) -> None:
        try:
            await self._writer.report_unscheduled(pod, reason, message, nominated)
        except ApiError as error:
            # Deleted (or bound by somebody) meanwhile: the informer says so too.
            log.log(logging.DEBUG if error.not_found or error.conflict else logging.WARNING, "%s: %s", pod.key, error)
        except TransportError as error:
            log.info("condition of %s not written: %s", pod.key, str(error) or type(error).__name__)
