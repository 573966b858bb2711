import asyncio
import os
import signal

import pytest

from componentbase.process import first_failure, run


def test_a_signal_ends_the_work_in_order() -> None:
    tidied = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(30)
        finally:
            tidied.append(True)

    assert run(work()) == 0
    assert tidied == [True]


def test_the_result_is_the_exit_code() -> None:
    async def work() -> int:
        return 3

    assert run(work()) == 3


def test_an_operating_system_error_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise OSError(98, "cannot listen on :1")

    assert run(work()) == 1
    assert "cannot listen on :1" in caplog.text


async def test_the_first_loop_that_fails_stops_the_others() -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def failing() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await first_failure(endless(), failing())
    assert cancelled.is_set()


async def test_a_loop_that_just_ends_is_a_failure() -> None:
    async def ends() -> None:
        return

    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        await first_failure(ends())


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    async def work() -> None:
        pass

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(work())
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
