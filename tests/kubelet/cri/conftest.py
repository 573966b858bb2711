"""A node for each test: a network namespace, a state directory, a native runtime; purged and checked at the end."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubelet.cri import connect
from kubelet.cri.api import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    ImageService,
    PodSandboxConfig,
    PodSandboxMetadata,
    RuntimeService,
)
from kubelet.cri.native.node import state_directory
from kubelet.cri.native.purge import marked_processes, purge
from kubelet.cri.native.shim import syscalls

IMAGE = "mk8s.local/host"
SECONDS = 20.0


@pytest.fixture
def own_network() -> Iterator[None]:
    """The test runs in a network namespace that nobody else has, and that ends with it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    try:
        yield
    finally:
        syscalls.setns(before, syscalls.CLONE_NEWNET)
        os.close(before)


@dataclass
class Node:
    """A runtime with the few steps that most tests take."""

    runtime: RuntimeService
    images: ImageService
    root_dir: str
    logs: Path

    def sandbox_config(self, name: str = "pod", **fields: Any) -> PodSandboxConfig:
        metadata = PodSandboxMetadata(name, f"uid-{name}", "default")
        fields.setdefault("hostname", name)
        return PodSandboxConfig(metadata, log_directory=str(self.logs / name), labels={"pod": name}, **fields)

    async def sandbox(self, name: str = "pod", **fields: Any) -> str:
        return await self.runtime.run_pod_sandbox(self.sandbox_config(name, **fields))

    async def create(self, sandbox: str, script: str, name: str = "main", **fields: Any) -> str:
        fields.setdefault("command", ["/bin/sh", "-c", script])
        config = ContainerConfig(
            ContainerMetadata(name), fields.pop("image", IMAGE), log_path=f"{name}.log", labels={"name": name}, **fields
        )
        return await self.runtime.create_container(sandbox, config, self.sandbox_config())

    async def run(self, sandbox: str, script: str, name: str = "main", **fields: Any) -> str:
        container = await self.create(sandbox, script, name, **fields)
        await self.runtime.start_container(container)
        return container

    async def ended(self, container: str) -> ContainerStatus:
        async def look() -> ContainerStatus | None:
            status = await self.runtime.container_status(container)
            return status if status.state is ContainerState.EXITED else None

        return await self.until(look, f"container {container[:12]} to end")

    async def until(self, look: Callable[[], Awaitable[Any]], what: str) -> Any:
        deadline = asyncio.get_running_loop().time() + SECONDS
        while not (found := await look()):
            assert asyncio.get_running_loop().time() < deadline, f"waited {SECONDS:g} s for {what}"
            await asyncio.sleep(0.01)
        return found

    async def output(self, sandbox: str, script: str, name: str = "main", **fields: Any) -> str:
        """What the script wrote, once it ended."""
        container = await self.run(sandbox, script, name, **fields)
        status = await self.ended(container)
        await self.runtime.remove_container(container)
        text = Path(status.log_path).read_text()
        Path(status.log_path).unlink()
        return "\n".join(line.split(" ", 3)[3] for line in text.splitlines())

    async def let_it_end(self, container: str, script: str) -> None:
        """As :meth:`shell`, where the main process may end, and take the script along, before that is reported."""
        await self.runtime.exec_sync(container, ["/bin/sh", "-c", script], SECONDS)

    async def shell(self, container: str, script: str) -> str:
        out, err, code = await self.runtime.exec_sync(container, ["/bin/sh", "-c", script], SECONDS)
        assert code == 0, f"{script!r}: exit {code}: {err.decode()}"
        return out.decode().strip()


@pytest.fixture
async def native(own_network: None, tmp_path: Path) -> AsyncIterator[Node]:
    root_dir = str(tmp_path / "home" / "cluster" / "nodes" / "node-1")
    os.makedirs(root_dir)
    runtime, images = connect("native://", node_name="node-1", root_dir=root_dir, pod_cidr="10.99.3.0/24")
    await runtime.start()
    try:
        yield Node(runtime, images, root_dir, tmp_path / "logs")
    finally:
        await runtime.close()
        assert purge(root_dir) == []
        assert marked_processes(state_directory(root_dir)) == []
