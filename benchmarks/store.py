"""Our store and a real etcd, round by round in turn: same client, same disk, same machine; medians and their ratio.

    python -m benchmarks.store [--members 1 3] [--rounds 5] [--seconds 1] [--etcd PATH] [--keys 100000]

Both clusters are up at the same time, and only one is asked at a time; a round asks one and then the other, so that what else the
machine does hits both. The client is ours for both. It runs in ``--loaders`` processes of its own (one, where only one call is in
flight), because one Python process is not enough to keep etcd busy. ``cpu/op`` is what all members together spent on an operation.
"""

import argparse
import asyncio
import json
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
from typing import Any

from etcd_raft.client import EtcdClient, EtcdError, op_put, prefix_end

VALUE = b"x" * 256
KEYS = 500
REPOSITORY = Path(__file__).resolve().parent.parent
WORK = [
    (name, in_flight)
    for name in ("put", "get", "get serializable")
    for in_flight in (1, 32, 128)
]  # fmt: skip


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
        return sum(_cpu_seconds(process.pid) for process in self.processes if process is not None)

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


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- load: processes that are told what to do on their standard input


@dataclass
class Loader:
    """A process that asks one cluster."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, urls: list[str]) -> "Loader":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.store", "--load", ",".join(urls),
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=64 << 20,
        )  # fmt: skip
        return cls(process)

    async def run(self, **job: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the loader ended during {job}")
        return json.loads(line)

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


async def load(urls: list[str]) -> None:
    """What a loader does: one job a line, one line of JSON for each."""
    loop = asyncio.get_running_loop()
    async with EtcdClient(urls) as client:
        jobs = {"calls": _calls, "fan_out": _fan_out, "fill": _fill}
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            job = json.loads(line)
            print(json.dumps(await jobs[job.pop("job")](client, **job)), flush=True)


async def _calls(client: EtcdClient, name: str, in_flight: int, seconds: float) -> list[float]:
    """Make calls for some seconds; how long each took."""
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        "put": lambda n: client.put(b"k%d" % (n % KEYS), VALUE),
        "get": lambda n: client.get(b"k%d" % (n % KEYS)),
        "get serializable": lambda n: client.get(b"k%d" % (n % KEYS), serializable=True),
    }
    call, times, end = calls[name], [], time.monotonic() + seconds

    async def worker(number: int) -> None:
        while (now := time.monotonic()) < end:
            await call(number)
            number += in_flight
            times.append(time.monotonic() - now)

    await asyncio.gather(*(worker(number) for number in range(in_flight)))
    return times


async def _fan_out(client: EtcdClient, watchers: int, writes: int) -> float:
    """One write after the other to many watchers: events a second."""
    seen = 0
    done = asyncio.Event()
    started = asyncio.Semaphore(0)

    async def watch() -> None:
        nonlocal seen
        async with client.watch(b"w") as watcher:
            started.release()
            async for batch in watcher:
                seen += len(batch.events)
                if seen >= watchers * writes:
                    done.set()

    tasks = [asyncio.create_task(watch()) for _ in range(watchers)]
    for _ in range(watchers):
        await started.acquire()
    begin = time.monotonic()
    for number in range(writes):
        await client.put(b"w", b"%d" % number)
    await done.wait()
    rate = watchers * writes / (time.monotonic() - begin)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return rate


async def _fill(client: EtcdClient, count: int) -> int:
    """Keys of 1 KiB."""
    numbers = iter(range(0, count, 50))

    async def fill() -> None:
        for first in numbers:
            await client.txn([], [op_put(b"m/%08d" % n, b"v" * 1024) for n in range(first, first + 50)])

    await asyncio.gather(*(fill() for _ in range(8)))
    return (await client.get(b"m/", range_end=prefix_end(b"m/"), count_only=True)).count


# ---- measuring


class Table:
    """What was measured: rows by name, for each kind all rounds."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[dict[str, float]]]] = {}

    def add(self, row: str, kind: str, **figures: float) -> None:
        self.rows.setdefault(row, {}).setdefault(kind, []).append(figures)

    def show(self, row: str) -> None:
        medians: dict[str, float] = {}
        for kind, rounds in self.rows[row].items():
            middle = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
            first = next(iter(middle))
            medians[kind] = middle[first]
            spread = f"({min(r[first] for r in rounds):.4g} to {max(r[first] for r in rounds):.4g})"
            print(f"  {row:28} {kind:5} " + "  ".join(f"{n} {v:8.4g}" for n, v in middle.items()) + f"  {spread}")
        if len(medians) == 2 and all(medians.values()):
            print(f"  {'':28} ours/etcd {medians['ours'] / medians['etcd']:.2f}", flush=True)


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


async def rates(table: Table, clusters: list[Cluster], flags: argparse.Namespace) -> None:
    loaders = {c.kind: [await Loader.start(c.urls) for _ in range(flags.loaders)] for c in clusters}
    for cluster in clusters:
        async with EtcdClient(cluster.urls) as client:
            for number in range(KEYS):
                await client.put(b"k%d" % number, VALUE)
    for name, in_flight in WORK:
        row = f"{name}, {in_flight} in flight"
        for _ in range(flags.rounds):
            for cluster in clusters:
                used = loaders[cluster.kind][: 1 if in_flight == 1 else None]
                cpu, begin = cluster.cpu_seconds(), time.monotonic()
                jobs = [
                    loader.run(job="calls", name=name, in_flight=in_flight // len(used), seconds=flags.seconds)
                    for loader in used
                ]
                times = sorted(t for part in await asyncio.gather(*jobs) for t in part)
                took, cpu = time.monotonic() - begin, cluster.cpu_seconds() - cpu
                figures = {
                    "/s": len(times) / took,
                    "p50 ms": times[len(times) // 2] * 1e3,
                    "p99 ms": times[len(times) * 99 // 100] * 1e3,
                    "cpu/op us": cpu / len(times) * 1e6,
                }
                table.add(row, cluster.kind, **figures)
        table.show(row)
    for _ in range(flags.rounds):
        for cluster in clusters:
            rate = await loaders[cluster.kind][0].run(job="fan_out", watchers=100, writes=100)
            table.add("watch, 1 write to 100", cluster.kind, **{"events/s": rate})
    table.show("watch, 1 write to 100")
    for started in loaders.values():
        for loader in started:
            await loader.close()


async def many_keys(table: Table, clusters: list[Cluster], flags: argparse.Namespace) -> None:
    """Memory with many keys of 1 KiB, and how long a restart takes."""
    memory, restart = f"memory, {flags.keys} keys of 1 KiB", f"restart, {flags.keys} keys"
    for cluster in clusters:
        loader = await Loader.start(cluster.urls)
        assert await loader.run(job="fill", count=flags.keys) == flags.keys
        await loader.close()
        table.add(memory, cluster.kind, MiB=cluster.memory_mib())
    for _ in range(min(flags.rounds, 3)):
        for cluster in clusters:
            cluster.kill(0)
            cluster.start(0)
            table.add(restart, cluster.kind, s=await ready(cluster))
    for cluster in clusters:
        table.add(memory + ", restarted", cluster.kind, MiB=cluster.memory_mib())
    for row in (memory, memory + ", restarted", restart):
        table.show(row)


async def failover(table: Table, clusters: list[Cluster], flags: argparse.Namespace) -> None:
    """kill -9 of the leader until a put succeeds."""
    for _ in range(flags.rounds):
        for cluster in clusters:
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
                table.add("no leader after kill -9", cluster.kind, s=time.monotonic() - begin)
            cluster.start(leader)
            await ready(cluster)
            await asyncio.sleep(1)
    table.show("no leader after kill -9")


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


async def measure(size: int, flags: argparse.Namespace) -> None:
    table = Table()
    folders = {kind: Path(tempfile.mkdtemp(prefix="store-bench-")) for kind in ("ours", "etcd")}
    clusters = [Cluster("ours", None, size, folders["ours"])]
    if flags.etcd:
        clusters.append(Cluster("etcd", flags.etcd, size, folders["etcd"]))
    print(f"{size} member(s), {flags.rounds} rounds of {flags.seconds:g} s, load average {os.getloadavg()[0]:.1f}")
    try:
        for cluster in clusters:
            for number in range(size):
                cluster.start(number)
            table.add("first start", cluster.kind, s=await ready(cluster))
        table.show("first start")
        await rates(table, clusters, flags)
        if size == 1:
            await many_keys(table, clusters, flags)
        else:
            await failover(table, clusters, flags)
    finally:
        for cluster in clusters:
            cluster.close()
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.store")
    parser.add_argument("--members", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--loaders", type=int, default=2)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    beside = Path(sys.executable).parent / "etcd"
    parser.add_argument("--etcd", default=str(beside) if beside.exists() else shutil.which("etcd"))
    flags = parser.parse_args()
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if flags.load:
            runner.run(load(flags.load.split(",")))
            return 0
        for size in flags.members:
            runner.run(measure(size, flags))
    return 0


if __name__ == "__main__":
    sys.exit(main())
