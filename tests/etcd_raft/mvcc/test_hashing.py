"""Checksums while others go on writing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcd_raft.mvcc import hashing
from etcd_raft.mvcc.backend import Backend
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server.apply import State


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(Backend(tmp_path / "db", 1 << 24))
    for number in range(50):
        state.keys.put(pb.PutRequest(key=b"k%d" % (number % 7), value=b"%d" % number))
    yield state
    state.backend.close()


async def test_a_commit_between_two_slices_changes_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    at = state.store.revision
    whole = await hashing.hash_keys(state.store, at)
    monkeypatch.setattr(hashing, "_SLICE", 3)
    task = asyncio.create_task(hashing.hash_keys(state.store, at))
    while not task.done():
        state.keys.put(pb.PutRequest(key=b"new", value=b"x"))
        state.commit()
        await asyncio.sleep(0)
    assert await task == whole


async def test_a_compaction_between_two_slices_starts_it_over(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    at = state.store.revision
    monkeypatch.setattr(hashing, "_SLICE", 3)
    task = asyncio.create_task(hashing.hash_keys(state.store, at))
    await asyncio.sleep(0)
    state.store.compact(20)
    while state.store.compact_step():
        pass
    assert await task == await hashing.hash_keys(state.store, at)
