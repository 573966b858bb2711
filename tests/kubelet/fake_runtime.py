"""A runtime and image service in memory, true to :mod:`kubelet.cri.api`: containers run until a test lets them end."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from kubelet.cri.api import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    Image,
    ImageNotFound,
    LinuxResources,
    NotFound,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxStatus,
    RuntimeServiceError,
    SandboxState,
)

Exec = Callable[[str, list[str]], Awaitable[tuple[bytes, bytes, int]]]


class FakeImages:
    def __init__(self, *present: str) -> None:
        self.present = {name: Image(f"sha256:{name}", [name], [], 1000) for name in present}
        self.registry: dict[str, Image] = {}
        self.pulls: list[tuple[str, dict[str, str] | None]] = []

    async def list_images(self) -> list[Image]:
        return list(self.present.values())

    async def image_status(self, image: str) -> Image | None:
        return self.present.get(image)

    async def pull_image(self, image: str, auth: dict[str, str] | None = None) -> str:
        self.pulls.append((image, auth))
        if image not in self.registry:
            raise ImageNotFound(f"{image}: not found")
        self.present[image] = self.registry[image]
        return self.present[image].id

    async def remove_image(self, image: str) -> None:
        self.present.pop(image, None)


class FakeRuntime:
    """``network_ready`` and ``fail`` (method name -> message) say what goes wrong; ``calls`` remembers what was asked."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, PodSandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.configs: dict[str, ContainerConfig] = {}
        self.sandbox_configs: dict[str, PodSandboxConfig] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, str] = {}
        self.network_ready = True
        self.stubborn: set[str] = set()  # names of containers that ignore SIGTERM
        self.exec_answer: Exec | None = None
        self._numbers = itertools.count(1)
        self._ips = itertools.count(2)
        self._listeners: list[asyncio.Queue[ContainerEvent]] = []
        self._stops: dict[str, asyncio.Event] = {}

    # --- what a test does ---------------------------------------------------------------------------------------

    def exit(self, container_id: str, code: int = 0, reason: str = "") -> None:
        container = self.containers[container_id]
        if container.state is ContainerState.EXITED:
            return
        container.state, container.exit_code = ContainerState.EXITED, code
        container.finished_at = time.time_ns()
        container.reason = reason or ("Completed" if code == 0 else "Error")
        self._stops[container_id].set()
        self._tell(container.pod_sandbox_id, container_id, "CONTAINER_STOPPED_EVENT")

    def kill_sandbox(self, sandbox_id: str) -> None:
        for container in list(self.containers.values()):
            if container.pod_sandbox_id == sandbox_id:
                self.exit(container.id, 137)
        self.sandboxes[sandbox_id].state = SandboxState.NOTREADY
        self._tell(sandbox_id, sandbox_id, "CONTAINER_STOPPED_EVENT")

    def find(self, name: str, pod: str = "") -> ContainerStatus | None:
        """The newest container of that name (in that pod)."""
        found = [
            c
            for c in self.containers.values()
            if c.metadata.name == name and pod in ("", c.labels["io.kubernetes.pod.name"])
        ]
        return max(found, key=lambda c: c.created_at, default=None)

    def asked(self, method: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == method]

    def _tell(self, sandbox: str, container: str, kind: str) -> None:
        for listener in self._listeners:
            listener.put_nowait(ContainerEvent(sandbox, container, kind))

    def _call(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] in self.fail:
            raise RuntimeServiceError(self.fail[call[0]])

    # --- the contract -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._call("start")

    async def close(self) -> None:
        self._call("close")

    async def version(self) -> tuple[str, str]:
        return "fake", "1.0"

    async def status(self) -> dict[str, tuple[bool, str]]:
        network = (True, "") if self.network_ready else (False, "no podCIDR")
        return {"RuntimeReady": (True, ""), "NetworkReady": network}

    async def update_runtime_config(self, pod_cidr: str) -> None:
        self._call("update_runtime_config", pod_cidr)
        self.network_ready = True

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        self._call("run_pod_sandbox", config)
        id = f"sandbox{next(self._numbers):06d}"
        self.sandbox_configs[id] = config
        Path(config.log_directory).mkdir(parents=True, exist_ok=True)
        self.sandboxes[id] = PodSandboxStatus(
            id,
            config.metadata,
            SandboxState.READY,
            time.time_ns(),
            dict(config.labels),
            dict(config.annotations),
            [f"10.9.0.{next(self._ips)}"] if config.network.value == "POD" else [],
        )
        self._tell(id, id, "CONTAINER_STARTED_EVENT")
        return id

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        self._call("stop_pod_sandbox", pod_sandbox_id)
        if pod_sandbox_id in self.sandboxes:
            self.kill_sandbox(pod_sandbox_id)

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        self._call("remove_pod_sandbox", pod_sandbox_id)
        if self.sandboxes.pop(pod_sandbox_id, None) is not None:
            for id in [c.id for c in self.containers.values() if c.pod_sandbox_id == pod_sandbox_id]:
                await self.remove_container(id)
            self._tell(pod_sandbox_id, pod_sandbox_id, "CONTAINER_DELETED_EVENT")

    async def pod_sandbox_status(self, pod_sandbox_id: str) -> PodSandboxStatus:
        if pod_sandbox_id not in self.sandboxes:
            raise NotFound(f"no sandbox {pod_sandbox_id}")
        found = self.sandboxes[pod_sandbox_id]
        return PodSandboxStatus(
            found.id, found.metadata, found.state, found.created_at, found.labels, found.annotations, list(found.ips)
        )

    async def list_pod_sandbox(self) -> list[PodSandbox]:
        return [await self.pod_sandbox_status(id) for id in self.sandboxes]

    async def create_container(
        self, pod_sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig
    ) -> str:
        self._call("create_container", config.metadata.name, config)
        id = f"container{next(self._numbers):06d}"
        self.configs[id] = config
        self._stops[id] = asyncio.Event()
        log = Path(sandbox_config.log_directory, config.log_path)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        self.containers[id] = ContainerStatus(
            id,
            pod_sandbox_id,
            config.metadata,
            config.image,
            f"sha256:{config.image}",
            ContainerState.CREATED,
            time.time_ns(),
            dict(config.labels),
            dict(config.annotations),
            log_path=str(log),
            mounts=list(config.mounts),
        )
        self._tell(pod_sandbox_id, id, "CONTAINER_CREATED_EVENT")
        return id

    async def start_container(self, container_id: str) -> None:
        container = self.containers[container_id]
        self.calls.append(("start_container", container.metadata.name))
        if "start_container" in self.fail:
            container.started_at = time.time_ns()
            self.exit(container_id, 128, "StartError")
            raise RuntimeServiceError(self.fail["start_container"])
        container.state, container.started_at = ContainerState.RUNNING, time.time_ns()
        self._tell(container.pod_sandbox_id, container_id, "CONTAINER_STARTED_EVENT")

    async def stop_container(self, container_id: str, timeout: float) -> None:
        container = self.containers.get(container_id)
        name = container.metadata.name if container else ""
        self._call("stop_container", name, timeout)
        if container is None or container.state is not ContainerState.RUNNING:
            return
        if name in self.stubborn:
            try:
                await asyncio.wait_for(self._stops[container_id].wait(), timeout)
            except TimeoutError:
                self.exit(container_id, 137)
        else:
            self.exit(container_id, 143)

    async def remove_container(self, container_id: str) -> None:
        self._call("remove_container", container_id)
        container = self.containers.pop(container_id, None)
        if container is not None:
            self._tell(container.pod_sandbox_id, container_id, "CONTAINER_DELETED_EVENT")

    async def list_containers(self) -> list[Container]:
        return [await self.container_status(id) for id in self.containers]

    async def container_status(self, container_id: str) -> ContainerStatus:
        if container_id not in self.containers:
            raise NotFound(f"no container {container_id}")
        c = self.containers[container_id]
        return ContainerStatus(
            c.id, c.pod_sandbox_id, c.metadata, c.image, c.image_ref, c.state, c.created_at, c.labels, c.annotations,
            c.started_at, c.finished_at, c.exit_code, c.reason, c.message, c.log_path, list(c.mounts),
        )  # fmt: skip

    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None:
        self.configs[container_id].resources = resources

    async def reopen_container_log(self, container_id: str) -> None:
        self._call("reopen_container_log", container_id)
        Path(self.containers[container_id].log_path).touch()

    async def exec_sync(self, container_id: str, command: list[str], timeout: float) -> tuple[bytes, bytes, int]:
        self._call("exec_sync", container_id, command)
        if self.exec_answer is None:
            return b"", b"", 0
        if not timeout:
            return await self.exec_answer(container_id, command)
        return await asyncio.wait_for(self.exec_answer(container_id, command), timeout)

    async def exec(self, container_id: str, command: list[str], *, stdin: bool, tty: bool) -> "FakeSession":
        self._call("exec", container_id, command)
        return FakeSession(command, tty)

    async def attach(self, container_id: str, *, stdin: bool, tty: bool) -> "FakeSession":
        self._call("attach", container_id)
        return FakeSession(["attached"], tty)

    async def port_forward(self, pod_sandbox_id: str, port: int) -> tuple[object, object]:
        self._call("port_forward", pod_sandbox_id, port)
        return await asyncio.open_connection("127.0.0.1", port)

    async def list_container_stats(self) -> list[ContainerStats]:
        return [
            ContainerStats(c.id, c.metadata.name, time.time_ns(), 1_500_000_000, 4096)
            for c in self.containers.values()
            if c.state is ContainerState.RUNNING
        ]

    def events(self) -> AsyncIterator[ContainerEvent]:
        queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._listeners.append(queue)

        async def deliver() -> AsyncIterator[ContainerEvent]:
            while True:
                yield await queue.get()

        return deliver()


class FakeSession:
    """Prints its command, then what it reads, upper case; ``exit N`` as a command ends with N at once."""

    def __init__(self, command: list[str], tty: bool) -> None:
        self._out: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.sizes: list[tuple[int, int]] = []
        self.killed = False
        self._out.put_nowait((1, " ".join(command).encode() + b"\n"))
        if command[0] == "exit":
            self._out.put_nowait((2, b"leaving\n"))
            self._end(int(command[1]))

    def _end(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)
            self._out.put_nowait(None)

    async def write_stdin(self, data: bytes) -> None:
        self._out.put_nowait((1, data.upper()))

    async def close_stdin(self) -> None:
        self._end(0)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (item := await self._out.get()) is not None:
            yield item

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))
        self._out.put_nowait((1, f"{width}x{height}\n".encode()))

    async def wait(self) -> int:
        return await self._code

    async def kill(self) -> None:
        self.killed = True
        self._end(137)
