"""One sync for all that wait, in the loop on a fast disk and beside it on a slow one; nothing is acknowledged before its sync."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etcd_raft import wal
from etcd_raft.client import EtcdClient, Unavailable
from etcd_raft.server.config import from_flags
from etcd_raft.server.endpoints import Api
from etcd_raft.server.member import Member
from etcd_raft.server.node import Fatal
from tests.etcd_raft.processes import eventually, free_ports


class Disk:
    """Syncs that end when they are told to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.syncs = 0
        self.waiting = 0
        self.error: OSError | None = None

    def sync(self, fd: int) -> None:
        self.waiting += 1
        assert self.open.wait(20), "nobody opened the disk"
        self.waiting -= 1
        self.syncs += 1
        if self.error is not None:
            raise self.error
        os.fdatasync(fd)


@pytest.fixture
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Disk, EtcdClient, "asyncio.Task[None]", Member]]:
    """One member in this process on a disk that counts as slow."""
    disk = Disk()
    monkeypatch.setattr(wal, "_SLOW_SECONDS", -1.0)
    client, peer = free_ports(2)
    member = Member(
        from_flags(
            [
                f"--data-dir={tmp_path / 'data'}",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            ]
        )
    )
    await member.start()
    monkeypatch.setattr(wal, "sync", disk.sync)
    api = Api(member)
    running = asyncio.create_task(member.run())
    await api.start(member.config)
    try:
        async with EtcdClient([f"http://127.0.0.1:{client}"]) as connected:
            await connected.put(b"first", b"1")
            yield disk, connected, running, member
    finally:
        disk.open.set()
        await api.stop(0)
        member.node.stop()
        await asyncio.wait([running])
        member.close()


async def test_reads_are_answered_and_writes_are_not_while_a_slow_disk_syncs(
    served: tuple[Disk, EtcdClient, "asyncio.Task[None]", Member],
) -> None:
    disk, client, _, _ = served
    disk.open.clear()
    writes = [asyncio.create_task(client.put(b"k%d" % number, b"v")) for number in range(50)]

    async def stuck() -> bool:
        return disk.waiting > 0

    await eventually("a sync that waits", stuck)
    before = disk.syncs
    for _ in range(20):
        assert (await client.get(b"first", serializable=True)).kvs[0].value == b"1"
    assert not any(write.done() for write in writes), "acknowledged before it was on the disk"
    disk.open.set()
    await asyncio.gather(*writes)
    assert (await client.get(b"k", range_end=b"l", count_only=True)).count == 50
    assert disk.syncs - before < 25, "writes that wait share a sync"


async def test_a_sync_that_fails_beside_the_loop_stops_the_member_and_acknowledges_nothing(
    served: tuple[Disk, EtcdClient, "asyncio.Task[None]", Member],
) -> None:
    disk, client, running, _ = served
    disk.error = OSError(5, "Input/output error")
    with pytest.raises(Unavailable) as refusal:
        await client.put(b"lost", b"v")
    assert refusal.value.maybe_applied
    with pytest.raises(Fatal, match="Input/output error"):
        await running


async def test_the_log_is_not_written_while_it_is_synced(
    served: tuple[Disk, EtcdClient, "asyncio.Task[None]", Member],
) -> None:
    disk, client, _, member = served
    member.node.snapshot_count = 1
    disk.open.clear()
    write = asyncio.create_task(client.put(b"k", b"v"))

    async def stuck() -> bool:
        return disk.waiting > 0

    await eventually("a sync that waits", stuck)
    offset = member.node.wal._offset
    member.node.checkpoint()
    assert member.node.wal._offset == offset, "a frame behind another says that the other has been synced"
    disk.open.set()
    await write
