"""The CRI calls of the embedded runtime, each handed to the part that it is about."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from kubelet.cri import api
from kubelet.cri.api import RuntimeServiceError
from kubelet.cri.native import privileges, spec
from kubelet.cri.native.cgroups import detect
from kubelet.cri.native.containers import Containers
from kubelet.cri.native.images import NativeImages, RuntimeMode, default_store
from kubelet.cri.native.node import NodeState
from kubelet.cri.native.sandboxes import Sandboxes
from kubelet.cri.native.session import Session, pipes
from kubelet.images.store import ImageStore
from kubelet.network.namespaces import tcp_socket
from kubelet.network.pods import PodNetwork

logger = logging.getLogger(__name__)

VERSION = "0.1.0"


def open_native(
    *, root_dir: str, pod_cidr: str = "", image_dir: str = "", hide: tuple[str, ...] = ()
) -> tuple["NativeRuntime", NativeImages]:
    mode = RuntimeMode()
    images = NativeImages(ImageStore(image_dir or default_store(root_dir)), mode)
    return NativeRuntime(NodeState.at(root_dir, mode, list(hide)), images, pod_cidr), images


class NativeRuntime:
    """An :class:`kubelet.cri.api.RuntimeService`; see the package's docstring for the processes behind it."""

    def __init__(self, node: NodeState, images: NativeImages, pod_cidr: str) -> None:
        self._node = node
        self._pod_cidr = pod_cidr
        self._sandboxes = Sandboxes(node)
        self._containers = Containers(node, images, self._sandboxes)

    # The runtime itself

    async def start(self) -> None:
        node = self._node
        node.mode.mode, node.mode.note = await privileges.detect()
        if node.mode.note:
            logger.warning("%s", node.mode.note)
        if node.mode.mode == "root":
            node.cgroups.hierarchies = detect()
            if not node.cgroups.available:
                logger.error("no resource limits: %s", node.cgroups.hierarchies.why_not)
            node.network = PodNetwork(Path(node.state_dir) / "network")
        node.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        node.records.load()
        node.spawner.start()
        for record in node.records.containers.values():
            await self._containers.adopt(record)
        for sandbox in node.records.sandboxes.values():
            if self._sandboxes.is_ready(sandbox):
                self._sandboxes.watch(sandbox)
        if self._pod_cidr:
            await self.update_runtime_config(self._pod_cidr)

    async def close(self) -> None:
        self._containers.close()
        self._sandboxes.close()
        if self._node.network is not None:
            self._node.network.close()
        self._node.spawner.close()
        self._node.events.close()

    async def version(self) -> tuple[str, str]:
        return "native", VERSION

    async def status(self) -> dict[str, tuple[bool, str]]:
        network = self._node.network.ready if self._node.network is not None else (True, "")
        return {"RuntimeReady": (True, self._node.mode.note), "NetworkReady": network}

    async def update_runtime_config(self, pod_cidr: str) -> None:
        if self._node.network is None:
            return
        await self._node.network.set_up(pod_cidr)
        ready = {s.id for s in self._node.records.sandboxes.values() if self._sandboxes.is_ready(s)}
        await self._node.network.reconcile(ready)

    def events(self) -> AsyncIterator[api.ContainerEvent]:
        return self._node.events.subscribe()

    # Sandboxes

    async def run_pod_sandbox(self, config: api.PodSandboxConfig) -> str:
        return await self._sandboxes.run(config)

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await asyncio.gather(*(self._containers.kill(record) for record in self._containers.of(pod_sandbox_id)))
        await self._sandboxes.stop(pod_sandbox_id)

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await self.stop_pod_sandbox(pod_sandbox_id)
        for record in self._containers.of(pod_sandbox_id):
            await self._containers.remove(record.id)
        await self._sandboxes.remove(pod_sandbox_id)

    async def pod_sandbox_status(self, pod_sandbox_id: str) -> api.PodSandboxStatus:
        return self._sandboxes.status(pod_sandbox_id)

    async def list_pod_sandbox(self) -> list[api.PodSandbox]:
        return self._sandboxes.all()

    # Containers

    async def create_container(
        self, pod_sandbox_id: str, config: api.ContainerConfig, sandbox_config: api.PodSandboxConfig
    ) -> str:
        return await self._containers.create(pod_sandbox_id, config)

    async def start_container(self, container_id: str) -> None:
        await self._containers.start(container_id)

    async def stop_container(self, container_id: str, timeout: float) -> None:
        await self._containers.stop(container_id, timeout)

    async def remove_container(self, container_id: str) -> None:
        await self._containers.remove(container_id)

    async def list_containers(self) -> list[api.Container]:
        return self._containers.all()

    async def container_status(self, container_id: str) -> api.ContainerStatus:
        return self._containers.status(container_id)

    async def update_container_resources(self, container_id: str, resources: api.LinuxResources) -> None:
        self._containers.update(container_id, resources)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._containers.running(container_id).request("reopen")

    async def list_container_stats(self) -> list[api.ContainerStats]:
        return self._containers.stats()

    # Inside containers

    async def exec_sync(self, container_id: str, command: list[str], timeout: float) -> tuple[bytes, bytes, int]:
        session = await self.exec(container_id, command, stdin=False, tty=False)
        streams: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}

        async def finish() -> int:
            async for number, data in session.output():
                streams[number] += data
            return await session.wait()

        try:
            code = await asyncio.wait_for(finish(), timeout or None)
        except TimeoutError:
            await session.kill()
            raise TimeoutError(f"command {command!r} timed out after {timeout:g} s") from None
        finally:
            session.close()
        return bytes(streams[1]), bytes(streams[2]), code

    async def exec(self, container_id: str, command: list[str], *, stdin: bool, tty: bool) -> Session:
        connection = self._containers.running(container_id)
        theirs: list[int] = []
        ours: list[int] = []
        try:
            if not tty:
                (in_read, in_write), (out, out_write), (error, error_write) = pipes(3)
                theirs, ours = [in_read, out_write, error_write], [in_write, out, error]
            answer, fds = await connection.request("exec", tuple(theirs), spec=spec.exec_spec(command, tty=tty))
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        number = answer["exec"]

        async def wait() -> int:
            try:
                return await connection.exec_exit(number)
            finally:
                connection.forget_exec(number)

        async def kill() -> None:
            if not connection.ended.is_set():
                await connection.request("kill", exec=number)

        if tty:
            master = fds[0]
            return Session({1: master}, os.dup(master) if stdin else -1, terminal=os.dup(master), wait=wait, kill=kill)
        if not stdin:
            os.close(ours[0])
        return Session({1: ours[1], 2: ours[2]}, ours[0] if stdin else -1, wait=wait, kill=kill)

    async def attach(self, container_id: str, *, stdin: bool, tty: bool) -> Session:
        connection = self._containers.running(container_id)
        record = self._containers.get(container_id)
        ends = pipes(1 if record.config.tty else 2)
        try:
            _answer, fds = await connection.request("attach", tuple(write for _read, write in ends), stdin=stdin)
        except BaseException:
            for read, _write in ends:
                os.close(read)
            raise
        finally:
            for _read, write in ends:
                os.close(write)
        outputs = {number: read for number, (read, _write) in enumerate(ends, 1)}
        given = fds[0] if fds else -1

        async def wait() -> int:
            await connection.ended.wait()
            return record.exit_code

        async def leave() -> None:
            session.close()

        if record.config.tty:
            keyboard = os.dup(given) if stdin else -1
            session = Session(outputs, keyboard, terminal=given, attached=True, wait=wait, kill=leave)
        else:
            session = Session(outputs, given, wait=wait, kill=leave)
        return session

    async def port_forward(self, pod_sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sandbox = self._sandboxes.get(pod_sandbox_id)
        if not self._sandboxes.is_ready(sandbox):
            raise RuntimeServiceError(f"sandbox {pod_sandbox_id[:12]} is not running")
        sock = tcp_socket(f"/proc/{sandbox.pid}/ns/net" if self._node.network is not None else "/proc/self/ns/net")
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock)
        except OSError as e:
            sock.close()
            text = f"failed to connect to localhost:{port} inside the pod: {e.strerror or e}"
            raise RuntimeServiceError(text) from e
