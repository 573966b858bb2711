import asyncio
import logging

import pytest

from kubeclient.controller import Controller
from kubeclient.rest import ApiError
from kubeclient.workqueue import WorkQueue


async def run_until(controller: Controller, done: asyncio.Event) -> None:
    task = asyncio.create_task(controller.run())
    async with asyncio.timeout(5):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_retried_until_it_succeeds() -> None:
    tries, done = 0, asyncio.Event()

    async def reconcile(key: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ApiError(409, {"reason": "Conflict"})
        done.set()

    controller = Controller("test", reconcile)
    controller.queue.add("a")
    await run_until(controller, done)
    assert tries == 3


async def test_a_defect_in_one_reconcile_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def reconcile(key: str) -> None:
        if key == "bad":
            raise KeyError("spec")
        done.set()

    controller = Controller("test", reconcile, workers=1, queue=WorkQueue(base_delay=100))
    controller.queue.add("bad")
    controller.queue.add("good")
    with caplog.at_level(logging.ERROR):
        await run_until(controller, done)
    assert "test bad: reconcile failed" in caplog.text
    assert controller.queue.retries("bad") == 1
