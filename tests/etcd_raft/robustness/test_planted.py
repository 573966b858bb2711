"""Real members with a bug on purpose: the same traffic, the same checks, and they find it."""

import asyncio
import contextlib
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
    broken: list[str] = []
    for attempt in range(4):
        # A bug that loses what is written in one second has to meet a write in that second; and some members notice by themselves
        # that something cannot be, and end before the run does.
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with linked(folder, size, bug=bug) as cluster, contextlib.suppress(AssertionError, TimeoutError):
            async with asyncio.timeout(40):
                await cluster.ready()
                broken += violations(await run(cluster, fault, patience=2.0, seed=attempt))
        if any(sentence in found for found in broken):
            return
    raise AssertionError(f"not found in {attempt + 1} runs, only {broken[:10]}")
