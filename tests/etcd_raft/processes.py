"""Real members as processes: started, killed, stopped, continued; and a real etcd beside them where there is one."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from etcd_raft.client import EtcdClient, EtcdError

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE = 20.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


async def eventually(what: str, holds: Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> None:
    """Wait until it holds; say what did not when it does not."""
    end = time.monotonic() + deadline
    while not await holds():
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        await asyncio.sleep(0.02)


class MemberProcess:
    """One member: ours, or a real etcd when ``binary`` says so."""

    def __init__(self, folder: Path, name: str, client: int, peer: int, flags: list[str], binary: str | None = None):
        self.name = name
        self.folder = folder / f"{name}.etcd"
        self.log = folder / f"{name}.log"
        self.url = f"http://127.0.0.1:{client}"
        self.peer_url = f"http://127.0.0.1:{peer}"
        self.listen_peer_url = self.peer_url  # differs where something stands between the members
        self.flags = flags
        self.binary = binary
        self.module = ["etcd_raft"]  # what Python runs, and arguments before the flags
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *extra: str) -> None:
        assert self.process is None, f"{self.name} runs already"
        command = [self.binary] if self.binary else [sys.executable, "-m", *self.module]
        arguments = [
            f"--name={self.name}",
            f"--data-dir={self.folder}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.listen_peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            *self.flags,
            *extra,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def kill(self) -> None:
        """As a crash: no chance to finish anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        if number == signal.SIGTERM:
            process.send_signal(signal.SIGCONT)
        try:
            return process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class ClusterProcesses:
    """Members that know of each other."""

    def __init__(self, folder: Path, size: int, flags: list[str] | None = None, binary: str | None = None) -> None:
        ports = free_ports(2 * size)
        names = [f"m{number}" for number in range(size)]
        urls = [f"{name}=http://127.0.0.1:{ports[size + i]}" for i, name in enumerate(names)]
        # Quick elections: these tests wait for them.
        common = [f"--initial-cluster={','.join(urls)}", "--initial-cluster-state=new", *(flags or [])]
        self.folder = folder
        self.initial = urls
        self.members = [
            MemberProcess(folder, name, ports[i], ports[size + i], common, binary) for i, name in enumerate(names)
        ]

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members]

    def client(self, *members: MemberProcess, timeout: float = 10.0) -> EtcdClient:
        return EtcdClient([member.url for member in members] or self.urls, timeout=timeout)

    def start(self) -> None:
        for member in self.members:
            member.start()

    async def ready(self) -> None:
        """All members that run answer a linearizable read."""
        for member in self.members:
            if member.process is not None:
                await answers(member)

    async def leader(self) -> MemberProcess:
        """The member that the members agree leads."""
        found: list[MemberProcess] = []

        async def known() -> bool:
            found.clear()
            for member in self.members:
                if member.process is None:
                    continue
                async with EtcdClient([member.url], timeout=1.0) as client:
                    try:
                        status = await client.status()
                    except EtcdError:
                        continue
                    if status.leader == status.member_id:
                        found.append(member)
            return len(found) == 1

        await eventually("one leader", known)
        return found[0]

    def close(self) -> None:
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                if member.process is not None:
                    member.process.send_signal(signal.SIGCONT)
                    member.kill()


async def answers(member: MemberProcess) -> None:
    async def reads() -> bool:
        async with EtcdClient([member.url], timeout=1.0) as client:
            try:
                await client.get(b"any")
            except EtcdError:
                assert member.process is not None
                code = member.process.poll()
                assert code is None, f"{member.name} ended with {code}: {member.log.read_text()[-2000:]}"
                return False
        return True

    await eventually(f"{member.name} answers", reads)


def real_etcd() -> str | None:
    """The real etcd of the development dependencies (3.5), else one on the PATH."""
    beside = Path(sys.executable).parent / "etcd"
    return str(beside) if beside.exists() else shutil.which("etcd")
