import pytest

from controllers.podcontrol import slow_start
from kubeclient import ApiError


async def test_slow_start_doubles_its_batches_until_all_is_done() -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1

    assert await slow_start(10, call) == (10, None)
    assert calls == 10


async def test_one_refusal_ends_a_slow_start_early() -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise ApiError(403, {"reason": "Forbidden", "message": "exceeded quota"})

    done, error = await slow_start(1000, call)
    assert (done, str(error)) == (3, "exceeded quota")
    assert calls == 7, "batches of 1, 2 and 4, and no more"


async def test_a_defect_is_not_taken_for_a_refusal() -> None:
    async def call() -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await slow_start(1, call)
