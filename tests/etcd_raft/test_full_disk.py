"""A disk that is full: the member says so and stops; what it had acknowledged is there when there is room again."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcd_raft.client import EtcdError
from tests.etcd_raft.processes import ClusterProcesses, answers, eventually

pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "store-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_stops_the_member_and_loses_nothing(small: Path) -> None:
    cluster = ClusterProcesses(small, 1, ["--log-level=error"])
    (member,) = cluster.members
    member.log = small.parent / "member.log"
    cluster.start()
    written = 0
    try:
        await answers(member)
        async with cluster.client(timeout=3.0) as client:
            try:
                while written < 2000:
                    await client.put(b"k%05d" % written, bytes([written % 256]) * 60_000)
                    written += 1
            except EtcdError:
                pass

        async def ended() -> bool:
            assert member.process is not None
            return member.process.poll() is not None

        await eventually("the member stops", ended)
        assert 0 < written < 2000
        assert "No space left on device" in member.log.read_text()
        grow = await asyncio.create_subprocess_exec("mount", "-o", "remount,size=400m", str(small))
        assert await grow.wait() == 0
        member.process = None
        member.start()
        await answers(member)
        async with cluster.client() as client:
            for number in range(written):
                got = await client.get(b"k%05d" % number)
                assert got.kvs, f"k{number:05} was acknowledged and is gone"
                assert got.kvs[0].value == bytes([number % 256]) * 60_000
    finally:
        cluster.close()
