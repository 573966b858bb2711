"""Whatever happens to the members: what clients and watchers were told keeps every promise."""

import asyncio

import pytest

from tests.etcd_raft.robustness import faults
from tests.etcd_raft.robustness.cluster import Fault, LinkedCluster, run, violations


@pytest.mark.parametrize("fault", faults.ALL, ids=lambda fault: fault.__name__)
async def test_every_promise_holds_under(shared: LinkedCluster, fault: Fault) -> None:
    await shared.whole()
    async with asyncio.timeout(90):
        history = await run(shared, fault)
    broken = violations(history)
    assert not broken, "\n".join(broken[:20])
