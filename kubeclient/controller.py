"""The one reconcile loop: keys from a queue, a level-triggered ``reconcile``, retries with back-off."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kubeclient.http import TransportError
from kubeclient.rest import ApiError
from kubeclient.workqueue import ShutDown, WorkQueue

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[None]]


class Controller:
    """``reconcile(key)`` compares what is wanted with what is and does the next step; whatever it raises is retried.

    Conflicts, and objects that are gone, are routine (somebody was faster; the informer brings the news) and only logged for debugging. An
    exception that is not the server's or the network's is a defect of ours: logged with its traceback, and retried too,
    so that one bad object never stops the others.
    """

    def __init__(
        self, name: str, reconcile: Reconcile, *, workers: int = 5, queue: WorkQueue[str] | None = None
    ) -> None:
        self.name = name
        self.queue: WorkQueue[str] = queue if queue is not None else WorkQueue(name)
        self._reconcile, self._workers = reconcile, workers

    async def run(self) -> None:
        """Never returns until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name} worker {number}")

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self._reconcile(key)
            except ApiError as error:
                routine = error.conflict or error.already_exists or error.not_found
                level = logging.DEBUG if routine else logging.WARNING
                log.log(level, "%s %s: %s", self.name, key, error)
                self.queue.add_rate_limited(key)
            except (TransportError, TimeoutError) as error:
                log.info("%s %s: %s", self.name, key, error or type(error).__name__)
                self.queue.add_rate_limited(key)
            except Exception:
                log.exception("%s %s: reconcile failed", self.name, key)
                self.queue.add_rate_limited(key)
            else:
                self.queue.forget(key)
            finally:
                self.queue.done(key)
