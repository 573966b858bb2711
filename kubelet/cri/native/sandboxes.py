"""Sandboxes: a pause process that holds the pod's namespaces, its place in the pod network, its files."""

import asyncio
import os
import secrets
import time

from kubelet.cri import api
from kubelet.cri.api import NamespaceMode, NotFound, RuntimeServiceError, SandboxState
from kubelet.cri.native import spec
from kubelet.cri.native.node import NodeState
from kubelet.cri.native.records import Sandbox
from kubelet.cri.native.shim.processes import kill_process, start_time
from kubelet.cri.native.spawning import receive


class Sandboxes:
    def __init__(self, node: NodeState) -> None:
        self._node = node
        self._pauses: dict[str, int] = {}  # sandbox -> pidfd

    def close(self) -> None:
        for id in list(self._pauses):
            self._unwatch_pause(id)

    def get(self, id: str) -> Sandbox:
        sandbox = self._node.records.sandboxes.get(id)
        if sandbox is None:
            raise NotFound(f"no sandbox {id}")
        return sandbox

    def is_ready(self, sandbox: Sandbox) -> bool:
        return (
            not sandbox.stopped
            and sandbox.boot_id == self._node.boot_id
            and sandbox.pid > 0
            and start_time(sandbox.pid) == sandbox.start_time
        )

    async def run(self, config: api.PodSandboxConfig) -> str:
        pod_network = config.network is not NamespaceMode.NODE and self._node.network is not None
        if pod_network and self._node.network is not None and not self._node.network.ready[0]:
            raise RuntimeServiceError(f"the pod network is not ready: {self._node.network.ready[1]}")
        id = secrets.token_hex(32)
        parent = config.cgroup_parent.strip("/") or f"pod{config.metadata.uid or id}"
        sandbox = Sandbox(id, config, time.time_ns(), self._node.mode.mode, cgroup=parent, boot_id=self._node.boot_id)
        self._node.records.save_sandbox(sandbox)
        if config.log_directory:
            os.makedirs(config.log_directory, mode=0o755, exist_ok=True)
        try:
            await self._spawn_pause(sandbox)
            if pod_network and self._node.network is not None:
                namespace = f"/proc/{sandbox.pid}/ns/net"
                sandbox.ip = await self._node.network.attach(id, namespace, config.port_mappings)
            self._node.records.save_sandbox(sandbox)
            self._write_pod_files(sandbox)
        except BaseException:
            await self.stop(id)
            self._node.records.remove_sandbox(id)
            raise
        self.watch(sandbox)
        self._node.events.publish(id, id, "CONTAINER_STARTED_EVENT")
        return id

    async def _spawn_pause(self, sandbox: Sandbox) -> None:
        connection = await self._node.spawner.spawn("pause", spec.pause_spec(sandbox, self._node.state_dir))
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
        self._node.records.save_sandbox(sandbox)

    def _write_pod_files(self, sandbox: Sandbox) -> None:
        directory, config = self._node.records.sandbox_directory(sandbox.id), sandbox.config
        directory.joinpath("hostname").write_text(config.hostname + "\n")
        directory.joinpath("hosts").write_text(spec.hosts(config.hostname, sandbox.ip))
        directory.joinpath("resolv.conf").write_text(spec.resolv_conf(config.dns_config))
        for name in ("hostname", "hosts", "resolv.conf"):
            directory.joinpath(name).chmod(0o644)

    def pod_files(self, sandbox: Sandbox) -> dict[str, str]:
        """Where a container finds what the runtime wrote; a pod on the host's network has the host's own files."""
        directory, config = self._node.records.sandbox_directory(sandbox.id), sandbox.config
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

    def watch(self, sandbox: Sandbox) -> None:
        """Tell of the end of its pause process."""
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
        self._node.events.publish(id, id, "CONTAINER_STOPPED_EVENT")

    async def stop(self, pod_sandbox_id: str) -> None:
        """Its containers are dead already."""
        sandbox = self._node.records.sandboxes.get(pod_sandbox_id)
        if sandbox is None:
            return
        if self._node.network is not None and sandbox.config.network is not NamespaceMode.NODE:
            await self._node.network.detach(sandbox.id)
        self._unwatch_pause(sandbox.id)
        if sandbox.boot_id == self._node.boot_id and sandbox.pid and start_time(sandbox.pid) == sandbox.start_time:
            kill_process(sandbox.pid)
        if not sandbox.stopped:
            sandbox.stopped = True
            self._node.records.save_sandbox(sandbox)
            self._node.events.publish(sandbox.id, sandbox.id, "CONTAINER_STOPPED_EVENT")

    async def remove(self, pod_sandbox_id: str) -> None:
        """Its containers are removed already."""
        sandbox = self._node.records.sandboxes.get(pod_sandbox_id)
        if sandbox is None:
            return
        await self.stop(pod_sandbox_id)
        if self._node.cgroups.available and not any(s.cgroup == sandbox.cgroup for s in self._others(sandbox)):
            self._node.remove_cgroup(sandbox.cgroup)
        self._node.records.remove_sandbox(sandbox.id)
        self._node.events.publish(sandbox.id, sandbox.id, "CONTAINER_DELETED_EVENT")

    def _others(self, sandbox: Sandbox) -> list[Sandbox]:
        return [s for s in self._node.records.sandboxes.values() if s.id != sandbox.id]

    def status(self, pod_sandbox_id: str) -> api.PodSandboxStatus:
        sandbox = self.get(pod_sandbox_id)
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

    def all(self) -> list[api.PodSandbox]:
        return [self._list_entry(sandbox) for sandbox in self._node.records.sandboxes.values()]

    def _list_entry(self, sandbox: Sandbox) -> api.PodSandbox:
        state = SandboxState.READY if self.is_ready(sandbox) else SandboxState.NOTREADY
        config = sandbox.config
        return api.PodSandbox(
            sandbox.id, config.metadata, state, sandbox.created_at, dict(config.labels), dict(config.annotations)
        )
