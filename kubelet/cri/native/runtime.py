"""The CRI calls of the embedded runtime.

The state of a container is what its monitor wrote to disk; the connection to the monitor only tells that it changed. So a
kubelet that starts finds the same state as the one that died, whatever happened between.
"""

import asyncio
import hashlib
import logging
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from kubelet.cri import api
from kubelet.cri.api import ContainerState, NamespaceMode, NotFound, RuntimeServiceError, SandboxState
from kubelet.cri.native import privileges, spec
from kubelet.cri.native.cgroups import Cgroups, Hierarchies, detect
from kubelet.cri.native.events import EventHub
from kubelet.cri.native.images import NativeImages, RuntimeMode, default_store
from kubelet.cri.native.records import ContainerRecord, Records, Sandbox
from kubelet.cri.native.session import Session, pipes
from kubelet.cri.native.shim.monitor import start_time
from kubelet.cri.native.shimclient import ShimConnection, ShimGone
from kubelet.cri.native.spawning import Spawner, receive
from kubelet.images.store import ImageStore
from kubelet.network.namespaces import tcp_socket
from kubelet.network.pods import PodNetwork

logger = logging.getLogger(__name__)

VERSION = "0.1.0"
_KILL_SECONDS = 10.0  # SIGKILL to gone; more means that the kernel holds it (a dead NFS server)


def open_native(
    *, node_name: str, root_dir: str, pod_cidr: str = "", image_dir: str = "", hide: tuple[str, ...] = ()
) -> tuple["NativeRuntime", NativeImages]:
    mode = RuntimeMode()
    images = NativeImages(ImageStore(image_dir or default_store(root_dir)), mode)
    runtime = NativeRuntime(node_name, root_dir, images, mode, pod_cidr=pod_cidr, hide=list(hide))
    return runtime, images


def state_directory(root_dir: str) -> str:
    return os.path.join(os.path.realpath(root_dir), "native")


def cgroup_key(root_dir: str) -> str:
    """Names the node's cgroups: purge finds them by the state directory alone."""
    return hashlib.sha256(state_directory(root_dir).encode()).hexdigest()[:12]


def cluster_directories(root_dir: str) -> list[str]:
    """What holds the cluster's keys and data: the node's directory, and the cluster's when it has the usual place
    (``$MK8S_HOME/CLUSTER/nodes/NODE``)."""
    root = Path(os.path.realpath(root_dir))
    found = [root]
    if root.parent.name == "nodes":
        found = [root.parent.parent.parent]
    if home := os.environ.get("MK8S_HOME"):
        found.append(Path(os.path.realpath(home)))
    return [str(path) for path in dict.fromkeys(found) if len(path.parts) > 1]


class NativeRuntime:
    """An :class:`kubelet.cri.api.RuntimeService`; see the package's docstring for the processes behind it."""

    def __init__(
        self, node_name: str, root_dir: str, images: NativeImages, mode: RuntimeMode, *, pod_cidr: str, hide: list[str]
    ) -> None:
        self._state_dir = state_directory(root_dir)
        self._images = images
        self._mode = mode
        self._pod_cidr = pod_cidr
        self._hide = [*cluster_directories(root_dir), *hide]
        self._records = Records(self._state_dir)
        self._spawner = Spawner(self._state_dir)
        self._network: PodNetwork | None = None
        self._cgroups = Cgroups(Hierarchies(), cgroup_key(root_dir))
        self._events = EventHub()
        self._shims: dict[str, ShimConnection] = {}
        self._pauses: dict[str, int] = {}  # sandbox -> pidfd
        self._boot_id = ""
        self._notes: Counter[str] = Counter()

    # The runtime itself

    async def start(self) -> None:
        self._mode.mode, self._mode.note = await privileges.detect()
        if self._mode.note:
            logger.warning("%s", self._mode.note)
        if self._mode.mode == "root":
            self._cgroups.hierarchies = detect()
            if not self._cgroups.available:
                logger.error("no resource limits: %s", self._cgroups.hierarchies.why_not)
            self._network = PodNetwork(Path(self._state_dir) / "network")
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._records.load()
        self._spawner.start()
        for record in self._records.containers.values():
            await self._adopt(record)
        for sandbox in self._records.sandboxes.values():
            if self._is_ready(sandbox):
                self._watch_pause(sandbox)
        if self._pod_cidr:
            await self.update_runtime_config(self._pod_cidr)

    async def _adopt(self, record: ContainerRecord) -> None:
        """Take a container over from an earlier kubelet."""
        if record.state is ContainerState.EXITED:
            self._drop_cgroup(record)
            return
        try:
            connection = self._connect_shim(record)
        except (ConnectionRefusedError, FileNotFoundError):
            self._records.refresh(record)  # perhaps it ended between the two looks
            if record.state is ContainerState.RUNNING:
                self._bury(record)
            return
        if record.state is ContainerState.CREATED:
            # The kubelet died while it was being started: the monitor answers once that is decided.
            try:
                await connection.request("state")
            except RuntimeServiceError:
                logger.info("container %s ended before it was taken over", record.id[:12])
            self._records.refresh(record)

    async def close(self) -> None:
        for connection in list(self._shims.values()):
            connection.on_close = lambda: None  # they are not gone: we are
            connection.close()
        self._shims.clear()
        for sandbox in list(self._pauses):
            self._unwatch_pause(sandbox)
        if self._network is not None:
            self._network.close()
        self._spawner.close()
        self._events.close()

    async def version(self) -> tuple[str, str]:
        return "native", VERSION

    async def status(self) -> dict[str, tuple[bool, str]]:
        network = self._network.ready if self._network is not None else (True, "")
        return {"RuntimeReady": (True, self._mode.note), "NetworkReady": network}

    async def update_runtime_config(self, pod_cidr: str) -> None:
        if self._network is None:
            return
        await self._network.set_up(pod_cidr)
        own = (s for s in self._records.sandboxes.values() if not s.stopped)
        await self._network.reconcile({s.id for s in own if self._is_ready(s)})

    def events(self) -> AsyncIterator[api.ContainerEvent]:
        return self._events.subscribe()

    # Sandboxes

    def _sandbox(self, id: str) -> Sandbox:
        sandbox = self._records.sandboxes.get(id)
        if sandbox is None:
            raise NotFound(f"no sandbox {id}")
        return sandbox

    def _is_ready(self, sandbox: Sandbox) -> bool:
        return (
            not sandbox.stopped
            and sandbox.boot_id == self._boot_id
            and sandbox.pid > 0
            and start_time(sandbox.pid) == sandbox.start_time
        )

    async def run_pod_sandbox(self, config: api.PodSandboxConfig) -> str:
        pod_network = config.network is not NamespaceMode.NODE and self._network is not None
        if pod_network and self._network is not None and not self._network.ready[0]:
            raise RuntimeServiceError(f"the pod network is not ready: {self._network.ready[1]}")
        id = secrets.token_hex(32)
        parent = config.cgroup_parent.strip("/") or f"pod{config.metadata.uid or id}"
        sandbox = Sandbox(id, config, time.time_ns(), self._mode.mode, cgroup=parent, boot_id=self._boot_id)
        self._records.save_sandbox(sandbox)
        if config.log_directory:
            os.makedirs(config.log_directory, mode=0o755, exist_ok=True)
        try:
            await self._spawn_pause(sandbox)
            if pod_network and self._network is not None:
                namespace = f"/proc/{sandbox.pid}/ns/net"
                sandbox.ip = await self._network.attach(id, namespace, config.port_mappings)
            self._records.save_sandbox(sandbox)
            self._write_pod_files(sandbox)
        except BaseException:
            await self.stop_pod_sandbox(id)
            self._records.remove_sandbox(id)
            raise
        self._watch_pause(sandbox)
        self._events.publish(id, id, "CONTAINER_STARTED_EVENT")
        return id

    async def _spawn_pause(self, sandbox: Sandbox) -> None:
        connection = await self._spawner.spawn("pause", spec.pause_spec(sandbox, self._state_dir))
        try:
            while (packet := await receive(connection)) is not None:
                message, _fds = packet
                if "error" in message:
                    raise RuntimeServiceError(f"sandbox: {message['error']}")
                sandbox.pid = message.get("pid", sandbox.pid)
        finally:
            connection.close()
        sandbox.start_time = start_time(sandbox.pid)
        if not sandbox.start_time:
            raise RuntimeServiceError("the sandbox's pause process ended at once: is /usr/bin/sleep installed?")
        self._records.save_sandbox(sandbox)

    def _write_pod_files(self, sandbox: Sandbox) -> None:
        directory, config = self._records.sandbox_directory(sandbox.id), sandbox.config
        directory.joinpath("hostname").write_text(config.hostname + "\n")
        directory.joinpath("hosts").write_text(spec.hosts(config.hostname, sandbox.ip))
        directory.joinpath("resolv.conf").write_text(spec.resolv_conf(config.dns_config))
        for name in ("hostname", "hosts", "resolv.conf"):
            directory.joinpath(name).chmod(0o644)

    def _pod_files(self, sandbox: Sandbox) -> dict[str, str]:
        """Where a container finds what the runtime wrote; a pod on the host's network has the host's own files."""
        directory, config = self._records.sandbox_directory(sandbox.id), sandbox.config
        files = {}
        if config.dns_config.servers or config.dns_config.searches or config.dns_config.options:
            files["/etc/resolv.conf"] = str(directory / "resolv.conf")
        elif os.path.exists("/etc/resolv.conf"):
            files["/etc/resolv.conf"] = os.path.realpath("/etc/resolv.conf")
        if config.network is not NamespaceMode.NODE:
            files["/etc/hostname"] = str(directory / "hostname")
            files["/etc/hosts"] = str(directory / "hosts")
        elif os.path.exists("/etc/hosts"):
            files["/etc/hosts"] = "/etc/hosts"
        return files

    def _watch_pause(self, sandbox: Sandbox) -> None:
        try:
            fd = os.pidfd_open(sandbox.pid)
        except ProcessLookupError:
            return
        self._pauses[sandbox.id] = fd
        asyncio.get_running_loop().add_reader(fd, self._pause_ended, sandbox.id)

    def _unwatch_pause(self, id: str) -> None:
        fd = self._pauses.pop(id, -1)
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def _pause_ended(self, id: str) -> None:
        self._unwatch_pause(id)
        self._events.publish(id, id, "CONTAINER_STOPPED_EVENT")

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        sandbox = self._records.sandboxes.get(pod_sandbox_id)
        if sandbox is None:
            return
        inside = [c for c in self._records.containers.values() if c.sandbox_id == sandbox.id]
        await asyncio.gather(*(self._kill(record) for record in inside))
        if self._network is not None and sandbox.config.network is not NamespaceMode.NODE:
            await self._network.detach(sandbox.id)
        self._unwatch_pause(sandbox.id)
        if sandbox.boot_id == self._boot_id and sandbox.pid and start_time(sandbox.pid) == sandbox.start_time:
            kill_process(sandbox.pid)
        if not sandbox.stopped:
            sandbox.stopped = True
            self._records.save_sandbox(sandbox)
            self._events.publish(sandbox.id, sandbox.id, "CONTAINER_STOPPED_EVENT")

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        sandbox = self._records.sandboxes.get(pod_sandbox_id)
        if sandbox is None:
            return
        await self.stop_pod_sandbox(pod_sandbox_id)
        for record in [c for c in self._records.containers.values() if c.sandbox_id == sandbox.id]:
            await self.remove_container(record.id)
        if self._cgroups.available and not any(s.cgroup == sandbox.cgroup for s in self._others(sandbox)):
            self._remove_cgroup(sandbox.cgroup)
        self._records.remove_sandbox(sandbox.id)
        self._events.publish(sandbox.id, sandbox.id, "CONTAINER_DELETED_EVENT")

    def _others(self, sandbox: Sandbox) -> list[Sandbox]:
        return [s for s in self._records.sandboxes.values() if s.id != sandbox.id]

    async def pod_sandbox_status(self, pod_sandbox_id: str) -> api.PodSandboxStatus:
        sandbox = self._sandbox(pod_sandbox_id)
        listed = self._list_entry(sandbox)
        return api.PodSandboxStatus(
            id=listed.id,
            metadata=listed.metadata,
            state=listed.state,
            created_at=listed.created_at,
            labels=listed.labels,
            annotations=listed.annotations,
            ips=[sandbox.ip] if sandbox.ip else [],
        )

    async def list_pod_sandbox(self) -> list[api.PodSandbox]:
        return [self._list_entry(sandbox) for sandbox in self._records.sandboxes.values()]

    def _list_entry(self, sandbox: Sandbox) -> api.PodSandbox:
        state = SandboxState.READY if self._is_ready(sandbox) else SandboxState.NOTREADY
        config = sandbox.config
        return api.PodSandbox(
            sandbox.id, config.metadata, state, sandbox.created_at, dict(config.labels), dict(config.annotations)
        )

    # Containers

    def _container(self, id: str) -> ContainerRecord:
        record = self._records.containers.get(id)
        if record is None:
            raise NotFound(f"no container {id}")
        return record

    async def create_container(
        self, pod_sandbox_id: str, config: api.ContainerConfig, sandbox_config: api.PodSandboxConfig
    ) -> str:
        sandbox = self._sandbox(pod_sandbox_id)
        if not self._is_ready(sandbox):
            raise RuntimeServiceError(f"sandbox {pod_sandbox_id[:12]} is not ready")
        image = self._images.files(config.image)
        spec.command(config, image)  # an image without a command fails here, as CreateContainer does
        id = secrets.token_hex(32)
        log = os.path.join(sandbox.config.log_directory, config.log_path) if config.log_path else ""
        if log:
            os.makedirs(os.path.dirname(log), mode=0o755, exist_ok=True)
        stop_signal = config.stop_signal or image.stop_signal or "SIGTERM"
        record = ContainerRecord(id, sandbox.id, config, image.id, stop_signal, time.time_ns(), log)
        directory = self._records.container_directory(id)
        for name in ("", "rootfs", "upper", "work"):
            # The upper layer's mode and owner are those of the container's root directory.
            directory.joinpath(name).mkdir(mode=0o700 if not name else 0o755)
        self._images.use(id, image)
        self._records.save_container(record)
        self._events.publish(sandbox.id, id, "CONTAINER_CREATED_EVENT")
        return id

    async def start_container(self, container_id: str) -> None:
        record = self._container(container_id)
        if record.state is not ContainerState.CREATED or record.id in self._shims:
            raise RuntimeServiceError(f"container {container_id[:12]} is {record.state.value}, not CONTAINER_CREATED")
        sandbox = self._sandbox(record.sandbox_id)
        if not self._is_ready(sandbox):
            raise RuntimeServiceError(f"sandbox {sandbox.id[:12]} is not ready")
        cgroups = []
        if self._cgroups.available:
            cgroups = self._cgroups.create(f"{sandbox.cgroup}/{record.id}", record.config.resources)
        wanted = spec.container_spec(
            record,
            sandbox,
            self._images.files(record.config.image),
            directory=str(self._records.container_directory(record.id)),
            cgroups=cgroups,
            cgroup_view=self._cgroups.view() if cgroups else [],
            pod_files=self._pod_files(sandbox),
            hide=self._hide,
        )
        launched: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection = await self._spawner.spawn("monitor", wanted)
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
        directory = self._records.container_directory(record.id)
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
        self._records.refresh(record)
        if kind == "started":
            self._events.publish(record.sandbox_id, record.id, "CONTAINER_STARTED_EVENT")
        if launched is not None and not launched.done():
            launched.set_result(message.get("error", ""))

    def _shim_closed(self, record: ContainerRecord, launched: "asyncio.Future[str] | None") -> None:
        """The monitor is gone: the container ended, or both were killed."""
        self._shims.pop(record.id, None)
        if record.id not in self._records.containers:
            return
        self._records.refresh(record)
        if record.state is not ContainerState.EXITED:
            self._bury(record)
        if launched is not None and not launched.done():
            launched.set_result(record.message or "its shim ended")
        self._drop_cgroup(record)
        self._events.publish(record.sandbox_id, record.id, "CONTAINER_STOPPED_EVENT")

    def _note(self, text: str) -> None:
        self._notes[text] += 1
        if self._notes[text] == 1:
            logger.warning("%s (further ones are not logged)", text)

    def _bury(self, record: ContainerRecord) -> None:
        """A container whose monitor was killed, or whose machine restarted: it died with it, and nobody saw how."""
        if record.pid and start_time(record.pid) == record.start_time:
            kill_process(record.pid)
        message = "the container's shim ended before it: its exit code is not known"
        crash = self._records.container_directory(record.id) / "shim.crash"
        if crash.exists():
            message = f"the container's shim failed: {crash.read_text(errors='replace').strip()}"
            logger.error("container %s: %s", record.id[:12], message)
        self._records.write_exit(record, 137, time.time_ns(), message)

    def _drop_cgroup(self, record: ContainerRecord) -> None:
        sandbox = self._records.sandboxes.get(record.sandbox_id)
        if sandbox is not None and self._cgroups.available:
            self._remove_cgroup(f"{sandbox.cgroup}/{record.id}")

    def _remove_cgroup(self, path: str, attempts: int = 5) -> None:
        try:
            self._cgroups.remove(path)
        except OSError as e:  # busy: the kernel is still taking the last process apart
            if attempts:
                asyncio.get_running_loop().call_later(0.05, self._remove_cgroup, path, attempts - 1)
            else:
                logger.warning("cgroup %s stays: %s", path, e.strerror)

    async def _shims_end(self, record: ContainerRecord) -> None:
        connection = self._shims.get(record.id)
        if connection is not None:
            await asyncio.wait_for(connection.ended.wait(), _KILL_SECONDS)

    async def stop_container(self, container_id: str, timeout: float) -> None:
        record = self._records.containers.get(container_id)
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
        await self._kill(record)

    async def _kill(self, record: ContainerRecord) -> None:
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

    async def remove_container(self, container_id: str) -> None:
        record = self._records.containers.get(container_id)
        if record is None:
            return
        await self._kill(record)
        self._drop_cgroup(record)
        self._records.remove_container(record.id)
        self._images.release(record.id)
        self._events.publish(record.sandbox_id, record.id, "CONTAINER_DELETED_EVENT")

    async def list_containers(self) -> list[api.Container]:
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
            for record in self._records.containers.values()
        ]

    async def container_status(self, container_id: str) -> api.ContainerStatus:
        record = self._container(container_id)
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

    async def update_container_resources(self, container_id: str, resources: api.LinuxResources) -> None:
        record = self._container(container_id)
        if self._cgroups.available and record.state is ContainerState.RUNNING:
            path = f"{self._sandbox(record.sandbox_id).cgroup}/{record.id}"
            try:
                self._cgroups.update(path, resources)
            except OSError as e:
                raise RuntimeServiceError(f"update {record.id[:12]}: {e.strerror}") from e
        record.config.resources = resources
        self._records.save_container(record)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._running_shim(container_id).request("reopen")

    def _running_shim(self, container_id: str) -> ShimConnection:
        record = self._container(container_id)
        connection = self._shims.get(record.id)
        if connection is None or record.state is not ContainerState.RUNNING:
            raise RuntimeServiceError(f"container {container_id[:12]} is not running")
        return connection

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
        connection = self._running_shim(container_id)
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
        connection = self._running_shim(container_id)
        record = self._container(container_id)
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
            session = Session(outputs, os.dup(given) if stdin else -1, terminal=given, wait=wait, kill=leave)
        else:
            session = Session(outputs, given, wait=wait, kill=leave)
        return session

    async def port_forward(self, pod_sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sandbox = self._sandbox(pod_sandbox_id)
        if not self._is_ready(sandbox):
            raise RuntimeServiceError(f"sandbox {pod_sandbox_id[:12]} is not running")
        sock = tcp_socket(f"/proc/{sandbox.pid}/ns/net" if self._network is not None else "/proc/self/ns/net")
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock)
        except OSError as e:
            sock.close()
            text = f"failed to connect to localhost:{port} inside the pod: {e.strerror or e}"
            raise RuntimeServiceError(text) from e

    async def list_container_stats(self) -> list[api.ContainerStats]:
        found = []
        for record in self._records.containers.values():
            sandbox = self._records.sandboxes.get(record.sandbox_id)
            if record.state is not ContainerState.RUNNING or sandbox is None or not self._cgroups.available:
                continue
            try:
                cpu, memory = self._cgroups.usage(f"{sandbox.cgroup}/{record.id}")
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


def kill_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
