import asyncio

import pytest

from kubeclient.workqueue import ShutDown, WorkQueue


async def test_a_key_added_twice_is_handled_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_key_added_while_it_is_handled_comes_again_only_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0, "two workers would have the same key"
    queue.done("a")
    assert await queue.get() == "a"


async def test_waiting_workers_are_woken_one_for_each_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    assert set(await asyncio.gather(*workers)) == {"a", "b"}


async def test_a_cancelled_worker_hands_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")  # wakes the first, which is cancelled before it runs
    first.cancel()
    async with asyncio.timeout(1):
        assert await second == "a"


async def test_of_several_timers_for_a_key_the_earliest_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30)
    queue.add_after("a", 0.01)
    queue.add_after("a", 60)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_failures_back_off_exponentially_until_forgotten() -> None:
    queue: WorkQueue[str] = WorkQueue(base_delay=1000, max_delay=3000)
    delays = []
    loop = asyncio.get_running_loop()
    for _ in range(3):
        queue.add_rate_limited("a")
        delays.append(queue._timers.pop("a")[0] - loop.time())
    assert 1000 <= delays[0] <= 1100
    assert 2000 <= delays[1] <= 2200
    assert 3000 <= delays[2] <= 3300, "bounded by max_delay"
    assert queue.retries("a") == 3
    queue.forget("a")
    assert queue.retries("a") == 0


async def test_after_shut_down_what_is_queued_is_still_handed_out() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.shut_down()
    queue.add("b")
    assert await queue.get() == "a"
    with pytest.raises(ShutDown):
        await queue.get()


async def test_shut_down_releases_waiting_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    with pytest.raises(ShutDown):
        await waiting


def test_delays_of_less_than_a_millisecond_work_on_uvloop_too() -> None:
    import uvloop

    async def scenario() -> list[str]:
        queue: WorkQueue[str] = WorkQueue()
        for delay in (0.0001, 0.0005, 0.00001):
            queue.add_after("a", delay)
        async with asyncio.timeout(5):
            return [await queue.get()]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == ["a"]
