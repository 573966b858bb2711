"""Our store and a real etcd in turn: same client, same disk, same machine; rates, latencies and their ratio.

    python -m benchmarks.store [--members 1 3] [--seconds 2] [--etcd PATH] [--keys 20000]

The client is ours and runs in this process, so its own cost is in every number: ratios understate the difference between the
servers. ``cpu/op`` is what the servers spent, all members together.
"""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from etcd_raft.client import EtcdClient, EtcdError, op_put

VALUE = b"x" * 256
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class Cluster:
    """Members of one kind on free ports, with their data in a temporary folder."""

    kind: str
    binary: str | None
    size: int
    folder: Path
    processes: list["subprocess.Popen[bytes] | None"] = field(default_factory=list)

    def __post_init__(self) -> None:
        sockets = [socket.socket() for _ in range(2 * self.size)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        self.urls = [f"http://127.0.0.1:{port}" for port in ports[: self.size]]
        self.peers = [f"http://127.0.0.1:{port}" for port in ports[self.size :]]
        self.processes = [None] * self.size

    def start(self, number: int) -> None:
        command = [self.binary] if self.binary else [sys.executable, "-m", "etcd_raft"]
        cluster = ",".join(f"m{i}={url}" for i, url in enumerate(self.peers))
        flags = {
            "name": f"m{number}",
            "data-dir": str(self.folder / f"m{number}"),
            "listen-client-urls": self.urls[number],
            "advertise-client-urls": self.urls[number],
            "listen-peer-urls": self.peers[number],
            "initial-advertise-peer-urls": self.peers[number],
            "initial-cluster": cluster,
            "log-level": "error",
        }
        self.processes[number] = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in flags.items())],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def cpu_seconds(self) -> float:
        total = 0.0
        for process in self.processes:
            if process is not None:
                fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def memory_mib(self) -> float:
        """PSS of the largest member."""
        sizes = [0.0]
        for process in self.processes:
            if process is not None:
                for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        sizes.append(int(line.split()[1]) / 1024)
        return max(sizes)

    def kill(self, number: int) -> None:
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        for number in range(self.size):
            self.kill(number)


async def ready(cluster: Cluster) -> float:
    """Seconds until a linearizable read is answered."""
    started = time.monotonic()
    while True:
        async with EtcdClient(cluster.urls, timeout=1.0) as client:
            try:
                await client.get(b"any")
                return time.monotonic() - started
            except EtcdError:
                await asyncio.sleep(0.01)


async def load(cluster: Cluster, in_flight: int, seconds: float, call: Callable[[int], Awaitable[object]]) -> str:
    """Run ``call`` from ``in_flight`` tasks; one line of figures."""
    times: list[float] = []
    end = time.monotonic() + seconds
    cpu, started = cluster.cpu_seconds(), time.monotonic()

    async def worker(number: int) -> None:
        while (now := time.monotonic()) < end:
            await call(number)
            number += in_flight
            times.append(time.monotonic() - now)

    await asyncio.gather(*(worker(number) for number in range(in_flight)))
    took, cpu = time.monotonic() - started, cluster.cpu_seconds() - cpu
    times.sort()
    rate = len(times) / took
    results.setdefault(cluster.kind, {})[label] = rate
    return (
        f"{rate:8.0f}/s  p50 {times[len(times) // 2] * 1e3:6.2f}  p99 {times[len(times) * 99 // 100] * 1e3:6.2f} ms"
        f"  cpu/op {cpu / len(times) * 1e6:5.0f} us"
    )


results: dict[str, dict[str, float]] = {}
label = ""


async def rates(cluster: Cluster, seconds: float) -> None:
    global label
    async with EtcdClient(cluster.urls) as client:
        for number in range(500):
            await client.put(b"k%d" % number, VALUE)
        calls: dict[str, Callable[[int], Awaitable[object]]] = {
            "put": lambda n: client.put(b"k%d" % (n % 500), VALUE),
            "get": lambda n: client.get(b"k%d" % (n % 500)),
            "get serializable": lambda n: client.get(b"k%d" % (n % 500), serializable=True),
        }
        for name, call in calls.items():
            for in_flight in (1, 32, 128):
                label = f"{cluster.size} member(s), {name}, {in_flight} in flight"
                print(f"  {name:17} {in_flight:4}  {await load(cluster, in_flight, seconds, call)}", flush=True)


async def fan_out(cluster: Cluster, watchers: int = 100, writes: int = 100) -> None:
    """One write after the other to many watchers: events a second."""
    async with EtcdClient(cluster.urls) as client:
        seen = 0
        done = asyncio.Event()

        async def watch() -> None:
            nonlocal seen
            async with client.watch(b"w") as watcher:
                started.append(1)
                async for batch in watcher:
                    seen += len(batch.events)
                    if seen >= watchers * writes:
                        done.set()

        started: list[int] = []
        tasks = [asyncio.create_task(watch()) for _ in range(watchers)]
        while len(started) < watchers:
            await asyncio.sleep(0.01)
        begin = time.monotonic()
        for number in range(writes):
            await client.put(b"w", b"%d" % number)
        await done.wait()
        print(f"  watch fan-out to {watchers}: {watchers * writes / (time.monotonic() - begin):.0f} events/s")
        for task in tasks:
            task.cancel()


async def many_keys(cluster: Cluster, count: int) -> None:
    """Memory with many keys of 1 KiB, and how long a restart takes."""
    async with EtcdClient(cluster.urls) as client:
        numbers = iter(range(0, count, 50))

        async def fill() -> None:
            for first in numbers:
                await client.txn([], [op_put(b"m/%08d" % n, b"v" * 1024) for n in range(first, first + 50)])

        await asyncio.gather(*(fill() for _ in range(8)))
    print(f"  memory with {count} keys of 1 KiB: {cluster.memory_mib():.0f} MiB PSS")
    cluster.kill(0)
    cluster.start(0)
    print(f"  restart with {count} keys: {await ready(cluster):.2f} s")


async def failover(cluster: Cluster, rounds: int = 5) -> None:
    """kill -9 of the leader until a put succeeds."""
    times: list[float] = []
    for _ in range(rounds):
        leader = await _leader(cluster)
        others = [url for number, url in enumerate(cluster.urls) if number != leader]
        async with EtcdClient(others, timeout=0.2) as client:
            await client.get(b"any", timeout=5.0)
            begin = time.monotonic()
            cluster.kill(leader)
            while True:
                try:
                    await client.put(b"after", b"1")
                    break
                except EtcdError:
                    await asyncio.sleep(0.005)
            times.append(time.monotonic() - begin)
        cluster.start(leader)
        await ready(cluster)
        await asyncio.sleep(1)
    print(f"  without a leader after kill -9: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")


async def _leader(cluster: Cluster) -> int:
    while True:
        for number, url in enumerate(cluster.urls):
            async with EtcdClient([url], timeout=1.0) as client:
                try:
                    status = await client.status()
                except EtcdError:
                    continue
                if status.leader == status.member_id:
                    return number
        await asyncio.sleep(0.05)


async def measure(kind: str, binary: str | None, size: int, flags: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(prefix="store-bench-"))
    cluster = Cluster(kind, binary, size, folder)
    try:
        for number in range(size):
            cluster.start(number)
        print(f"{kind}, {size} member(s): ready after {await ready(cluster):.2f} s, {cluster.memory_mib():.0f} MiB PSS")
        await rates(cluster, flags.seconds)
        await fan_out(cluster)
        if size == 1:
            await many_keys(cluster, flags.keys)
        else:
            await failover(cluster)
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.store")
    parser.add_argument("--members", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--keys", type=int, default=20_000)
    beside = Path(sys.executable).parent / "etcd"
    parser.add_argument("--etcd", default=str(beside) if beside.exists() else shutil.which("etcd"))
    flags = parser.parse_args()
    for size in flags.members:
        asyncio.run(measure("ours", None, size, flags))
        if flags.etcd:
            asyncio.run(measure("etcd", flags.etcd, size, flags))
    if flags.etcd:
        print("ours / etcd:")
        for name, rate in results["ours"].items():
            print(f"  {name:45} {rate / results['etcd'][name]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
