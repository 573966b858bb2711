"""Real members with a bug on purpose: the same traffic, the same checks, and they find it."""

import asyncio
from pathlib import Path

import pytest

from tests.etcd_raft.robustness import faults
from tests.etcd_raft.robustness.cluster import Fault, linked, run, violations


@pytest.mark.parametrize(
    ("bug", "size", "fault", "sentence"),
    [
        ("stale-read", 3, faults.isolate_leader, "Linearizability broke"),
        ("lost-write", 1, faults.kill_all, "A write was acknowledged"),
        ("lonely-commit", 3, faults.isolate_and_kill, "A write was acknowledged"),
        ("half-transaction", 1, faults.nothing, "A write was acknowledged"),
        ("dropped-event", 1, faults.nothing, "Reliable broke"),
        ("repeated-event", 1, faults.nothing, "Unique broke"),
        ("hasty-notice", 1, faults.nothing, "Bookmarkable broke"),
    ],
)
async def test_a_planted_bug_is_found(tmp_path: Path, bug: str, size: int, fault: Fault, sentence: str) -> None:
    with linked(tmp_path, size, bug=bug) as cluster:
        async with asyncio.timeout(60):
            await cluster.ready()
            history = await run(cluster, fault, patience=2.0)
    broken = violations(history)
    assert any(sentence in found for found in broken), broken[:10]
