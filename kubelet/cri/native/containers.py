"""Containers: created, started, stopped and looked at, each through the monitor that owns it.

The state of a container is what its monitor wrote to disk; the connection to the monitor only tells that it changed. So a
kubelet that starts finds the same state as the one that died, whatever happened between.
"""

import asyncio
import logging
import os
import secrets
import signal
import time
from collections import Counter
from typing import Any

from kubelet.cri import api
from kubelet.cri.api import ContainerState, NotFound, RuntimeServiceError
from kubelet.cri.native import spec
from kubelet.cri.native.images import NativeImages
from kubelet.cri.native.node import NodeState
from kubelet.cri.native.records import ContainerRecord
from kubelet.cri.native.sandboxes import Sandboxes
from kubelet.cri.native.shim.processes import kill_process, start_time
from kubelet.cri.native.shimclient import ShimConnection, ShimGone

logger = logging.getLogger(__name__)

_KILL_SECONDS = 10.0  # SIGKILL to gone; more means that the kernel holds it (a dead NFS server)


class Containers:
    def __init__(self, node: NodeState, images: NativeImages, sandboxes: Sandboxes) -> None:
        self._node = node
        self._images = images
        self._sandboxes = sandboxes
        self._shims: dict[str, ShimConnection] = {}
        self._notes: Counter[str] = Counter()

    def close(self) -> None:
        for connection in list(self._shims.values()):
            connection.on_close = lambda: None  # they are not gone: we are
            connection.close()
        self._shims.clear()

    def of(self, sandbox: str) -> list[ContainerRecord]:
        return [record for record in self._node.records.containers.values() if record.sandbox_id == sandbox]

    async def adopt(self, record: ContainerRecord) -> None:
        """Take a container over from an earlier kubelet."""
        if record.state is ContainerState.EXITED:
            self._drop_cgroup(record)
            return
        try:
            connection = self._connect_shim(record)
        except (ConnectionRefusedError, FileNotFoundError):
            self._node.records.refresh(record)  # perhaps it ended between the two looks
            if record.state is ContainerState.RUNNING:
                self._bury(record)
            return
        if record.state is ContainerState.CREATED:
            # The kubelet died while it was being started: the monitor answers once that is decided.
            try:
                await connection.request("state")
            except RuntimeServiceError:
                logger.info("container %s ended before it was taken over", record.id[:12])
            self._node.records.refresh(record)

    def get(self, id: str) -> ContainerRecord:
        record = self._node.records.containers.get(id)
        if record is None:
            raise NotFound(f"no container {id}")
        return record

    async def create(self, pod_sandbox_id: str, config: api.ContainerConfig) -> str:
        sandbox = self._sandboxes.get(pod_sandbox_id)
        if not self._sandboxes.is_ready(sandbox):
            raise RuntimeServiceError(f"sandbox {pod_sandbox_id[:12]} is not ready")
        image = self._images.files(config.image)
        spec.command(config, image)  # an image without a command fails here, as CreateContainer does
        id = secrets.token_hex(32)
        log = os.path.join(sandbox.config.log_directory, config.log_path) if config.log_path else ""
        if log:
            os.makedirs(os.path.dirname(log), mode=0o755, exist_ok=True)
        stop_signal = config.stop_signal or image.stop_signal or "SIGTERM"
        record = ContainerRecord(id, sandbox.id, config, image.id, stop_signal, time.time_ns(), log)
        directory = self._node.records.container_directory(id)
        for name in ("", "rootfs", "upper", "work"):
            # The upper layer's mode and owner are those of the container's root directory.
            directory.joinpath(name).mkdir(mode=0o700 if not name else 0o755)
        self._images.use(id, image)
        self._node.records.save_container(record)
        self._node.events.publish(sandbox.id, id, "CONTAINER_CREATED_EVENT")
        return id

    async def start(self, container_id: str) -> None:
        record = self.get(container_id)
        if record.state is not ContainerState.CREATED or record.id in self._shims:
            raise RuntimeServiceError(f"container {container_id[:12]} is {record.state.value}, not CONTAINER_CREATED")
        sandbox = self._sandboxes.get(record.sandbox_id)
        if not self._sandboxes.is_ready(sandbox):
            raise RuntimeServiceError(f"sandbox {sandbox.id[:12]} is not ready")
        cgroups = []
        if self._node.cgroups.available:
            cgroups = self._node.cgroups.create(f"{sandbox.cgroup}/{record.id}", record.config.resources)
        wanted = spec.container_spec(
            record,
            sandbox,
            self._images.files(record.config.image),
            directory=str(self._node.records.container_directory(record.id)),
            cgroups=cgroups,
            cgroup_view=self._node.cgroups.view() if cgroups else [],
            pod_files=self._sandboxes.pod_files(sandbox),
            hide=self._node.hide,
        )
        launched: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection = await self._node.spawner.spawn("monitor", wanted)
        self._listen_to_shim(record, connection, launched)
        error = await launched
        if error:
            await self._shims_end(record)
            raise RuntimeServiceError(f"failed to start container: {error}")

    def _listen_to_shim(
        self, record: ContainerRecord, sock: Any, launched: "asyncio.Future[str] | None" = None
    ) -> ShimConnection:
        connection = ShimConnection(sock, lambda message: self._shim_event(record, message, launched))
        self._attend(record, connection, launched)
        return connection

    def _connect_shim(self, record: ContainerRecord) -> ShimConnection:
        directory = self._node.records.container_directory(record.id)
        connection = ShimConnection.to(directory, lambda message: self._shim_event(record, message, None))
        self._attend(record, connection, None)
        return connection

    def _attend(
        self, record: ContainerRecord, connection: ShimConnection, launched: "asyncio.Future[str] | None"
    ) -> None:
        self._shims[record.id] = connection
        connection.on_close = lambda: self._shim_closed(record, launched)

    def _shim_event(
        self, record: ContainerRecord, message: dict[str, Any], launched: "asyncio.Future[str] | None"
    ) -> None:
        kind = message["event"]
        if kind == "note":
            self._note(message["text"])
            return
        self._node.records.refresh(record)
        if kind == "started":
            self._node.events.publish(record.sandbox_id, record.id, "CONTAINER_STARTED_EVENT")
        if launched is not None and not launched.done():
            launched.set_result(message.get("error", ""))

    def _shim_closed(self, record: ContainerRecord, launched: "asyncio.Future[str] | None") -> None:
        """The monitor is gone: the container ended, or both were killed."""
        self._shims.pop(record.id, None)
        if record.id not in self._node.records.containers:
            return
        self._node.records.refresh(record)
        if record.state is not ContainerState.EXITED:
            self._bury(record)
        if launched is not None and not launched.done():
            launched.set_result(record.message or "its shim ended")
        self._drop_cgroup(record)
        self._node.events.publish(record.sandbox_id, record.id, "CONTAINER_STOPPED_EVENT")

    def _note(self, text: str) -> None:
        self._notes[text] += 1
        if self._notes[text] == 1:
            logger.warning("%s (further ones are not logged)", text)

    def _bury(self, record: ContainerRecord) -> None:
        """A container whose monitor was killed, or whose machine restarted: it died with it, and nobody saw how."""
        if record.pid and start_time(record.pid) == record.start_time:
            kill_process(record.pid)
        message = "the container's shim ended before it: its exit code is not known"
        crash = self._node.records.container_directory(record.id) / "shim.crash"
        if crash.exists():
            message = f"the container's shim failed: {crash.read_text(errors='replace').strip()}"
            logger.error("container %s: %s", record.id[:12], message)
        self._node.records.write_exit(record, 137, time.time_ns(), message)

    def _drop_cgroup(self, record: ContainerRecord) -> None:
        sandbox = self._node.records.sandboxes.get(record.sandbox_id)
        if sandbox is not None and self._node.cgroups.available:
            self._node.remove_cgroup(f"{sandbox.cgroup}/{record.id}")

    async def _shims_end(self, record: ContainerRecord) -> None:
        connection = self._shims.get(record.id)
        if connection is not None:
            await asyncio.wait_for(connection.ended.wait(), _KILL_SECONDS)

    async def stop(self, container_id: str, timeout: float) -> None:
        record = self._node.records.containers.get(container_id)
        if record is None:
            return
        connection = self._shims.get(record.id)
        if connection is None:
            return
        if timeout > 0:
            try:
                await connection.request("signal", number=signal_number(record.stop_signal))
                await asyncio.wait_for(connection.ended.wait(), timeout)
                return
            except (TimeoutError, ShimGone):
                pass
        await self.kill(record)

    async def kill(self, record: ContainerRecord) -> None:
        connection = self._shims.get(record.id)
        if connection is None:
            return
        try:
            await connection.request("signal", number=int(signal.SIGKILL), all=True)
        except ShimGone:  # it ends at this moment
            pass
        try:
            await asyncio.wait_for(connection.ended.wait(), _KILL_SECONDS)
        except TimeoutError:
            raise RuntimeServiceError(f"container {record.id[:12]} does not die of SIGKILL") from None

    async def remove(self, container_id: str) -> None:
        record = self._node.records.containers.get(container_id)
        if record is None:
            return
        await self.kill(record)
        self._drop_cgroup(record)
        self._node.records.remove_container(record.id)
        self._images.release(record.id)
        self._node.events.publish(record.sandbox_id, record.id, "CONTAINER_DELETED_EVENT")

    def all(self) -> list[api.Container]:
        return [
            api.Container(
                record.id,
                record.sandbox_id,
                record.config.metadata,
                record.config.image,
                record.image_ref,
                record.state,
                record.created_at,
                dict(record.config.labels),
                dict(record.config.annotations),
            )
            for record in self._node.records.containers.values()
        ]

    def status(self, container_id: str) -> api.ContainerStatus:
        record = self.get(container_id)
        config = record.config
        return api.ContainerStatus(
            id=record.id,
            pod_sandbox_id=record.sandbox_id,
            metadata=config.metadata,
            image=config.image,
            image_ref=record.image_ref,
            state=record.state,
            created_at=record.created_at,
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            started_at=record.started_at,
            finished_at=record.finished_at,
            exit_code=record.exit_code,
            reason=record.reason,
            message=record.message,
            log_path=record.log_path,
            mounts=list(config.mounts),
        )

    def update(self, container_id: str, resources: api.LinuxResources) -> None:
        record = self.get(container_id)
        if self._node.cgroups.available and record.state is ContainerState.RUNNING:
            path = f"{self._sandboxes.get(record.sandbox_id).cgroup}/{record.id}"
            try:
                self._node.cgroups.update(path, resources)
            except OSError as e:
                raise RuntimeServiceError(f"update {record.id[:12]}: {e.strerror}") from e
        record.config.resources = resources
        self._node.records.save_container(record)

    def running(self, container_id: str) -> ShimConnection:
        record = self.get(container_id)
        connection = self._shims.get(record.id)
        if connection is None or record.state is not ContainerState.RUNNING:
            raise RuntimeServiceError(f"container {container_id[:12]} is not running")
        return connection

    def stats(self) -> list[api.ContainerStats]:
        found = []
        for record in self._node.records.containers.values():
            sandbox = self._node.records.sandboxes.get(record.sandbox_id)
            if record.state is not ContainerState.RUNNING or sandbox is None or not self._node.cgroups.available:
                continue
            try:
                cpu, memory = self._node.cgroups.usage(f"{sandbox.cgroup}/{record.id}")
            except FileNotFoundError:  # it ends just now
                continue
            found.append(api.ContainerStats(record.id, record.config.metadata.name, time.time_ns(), cpu, memory))
        return found


def signal_number(name: str) -> int:
    """``SIGTERM``, ``TERM`` or ``15``; also ``SIGRTMIN+3`` as systemd images have it."""
    if name.isdigit():
        return int(name)
    name = name.upper().removeprefix("SIG")
    base, _, offset = name.partition("+")
    try:
        return int(signal.Signals["SIG" + base]) + int(offset or 0)
    except (KeyError, ValueError):
        raise RuntimeServiceError(f"unknown stop signal {name!r}") from None
