"""How a component runs: one event loop, stopped by SIGTERM or SIGINT, with an exit code for the supervisor.

A component's ``main`` parses flags and returns ``run(component(options))``.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Run ``work`` on uvloop; the first SIGTERM or SIGINT cancels it, so that ``finally`` blocks tidy up.

    Returns its result as exit code, 0 after a signal, 1 (with one log line) for an OSError such as a port in use.
    """
    import uvloop

    async def supervised() -> int:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            return await task or 0
        return 0

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(supervised())
    except OSError as error:
        log.error("%s", error)
        return 1
    finally:
        # A closed uvloop leaves its handlers behind, and nobody could end what still runs after us.
        for number, handler in before.items():
            signal.signal(number, handler)


async def first_failure(*work: Coroutine[Any, Any, Any]) -> None:
    """Run loops that should never end side by side; the first that ends or fails cancels the others.

    A failure is raised as it is; an ordinary end is an error too (a control loop that returns has stopped working).
    """
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError(f"{next(iter(done)).get_name()} ended unexpectedly")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
