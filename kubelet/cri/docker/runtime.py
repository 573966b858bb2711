"""The CRI calls against a Docker engine. Nothing is remembered that the engine's labels do not hold."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

from kubelet.cri import api
from kubelet.cri.api import ContainerState, NamespaceMode, NotFound, RuntimeServiceError, SandboxState
from kubelet.cri.docker import objects, pause
from kubelet.cri.docker.engine import Engine
from kubelet.cri.docker.images import DockerImages
from kubelet.cri.docker.logs import LogPump
from kubelet.cri.docker.sessions import DockerSession
from kubelet.cri.docker.streams import request
from kubelet.cri.native.events import EventHub
from kubelet.cri.native.privileges import has_root
from kubelet.cri.native.spec import hosts, resolv_conf
from kubelet.network.namespaces import tcp_socket
from kubelet.network.pods import PodNetwork

logger = logging.getLogger(__name__)

_LOG_SECONDS = 2.0  # how long an exit is held back for the rest of its log
_KILL_SECONDS = 10.0
_RECONNECT_SECONDS = 1.0
_EVENTS = {
    "create": "CONTAINER_CREATED_EVENT",
    "start": "CONTAINER_STARTED_EVENT",
    "die": "CONTAINER_STOPPED_EVENT",
    "destroy": "CONTAINER_DELETED_EVENT",
}


class DockerRuntime:
    """An :class:`kubelet.cri.api.RuntimeService`."""

    def __init__(
        self,
        engine: Engine,
        images: DockerImages,
        *,
        node_name: str,
        root_dir: str,
        pod_cidr: str,
        pause_image: str,
    ) -> None:
        self._engine = engine
        self._images = images
        self._own = {objects.NODE: node_name, objects.ROOT_DIR: os.path.realpath(root_dir)}
        self._state_dir = Path(os.path.realpath(root_dir)) / "docker"
        self._pod_cidr = pod_cidr
        self._pause_image = pause_image
        self._pause_lock = asyncio.Lock()
        self._network: PodNetwork | None = None
        self._events = EventHub()
        self._pumps: dict[str, LogPump] = {}
        self._starting: dict[str, asyncio.Event] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._announcing: set[asyncio.Task[None]] = set()
        self._lowest_oom_score: int | None = None

    # The runtime itself

    async def start(self) -> None:
        await self._engine.start()
        self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if has_root():
            self._network = PodNetwork(self._state_dir / "network")
        else:
            logger.warning("not root: pods are on the engine's own bridge network")
        for entry in await self._list("container"):
            if entry["State"] != "created":
                await self._pump(entry["Id"])
        self._watcher = asyncio.create_task(self._watch_events(), name="docker events")
        if self._pod_cidr:
            await self.update_runtime_config(self._pod_cidr)

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        for task in self._announcing:
            task.cancel()
        for pump in self._pumps.values():
            await pump.close()
        self._pumps.clear()
        if self._network is not None:
            self._network.close()
        self._events.close()
        self._engine.close()

    async def version(self) -> tuple[str, str]:
        return "docker", self._engine.version

    async def status(self) -> dict[str, tuple[bool, str]]:
        try:
            await self._engine.call("ping")
            runtime = (True, "")
        except RuntimeServiceError as e:
            runtime = (False, str(e))
        network = self._network.ready if self._network is not None else (True, "")
        return {"RuntimeReady": runtime, "NetworkReady": network}

    async def update_runtime_config(self, pod_cidr: str) -> None:
        if self._network is None:
            return
        await self._network.set_up(pod_cidr)
        await self._network.reconcile({e["Id"] for e in await self._list("podsandbox") if e["State"] == "running"})

    def events(self) -> AsyncIterator[api.ContainerEvent]:
        return self._events.subscribe()

    async def _watch_events(self) -> None:
        """The engine's own events about this node's containers, from wherever the connection broke."""
        since = ""
        labels = [f"{name}={value}" for name, value in self._own.items()]
        filters = orjson.dumps({"type": ["container"], "label": labels, "event": list(_EVENTS)}).decode()
        while True:
            try:
                query = {"filters": filters} | ({"since": since} if since else {})
                stream = await request(self._engine.endpoint, "GET", "/events", query)
                try:
                    async for line in stream.lines():
                        event = orjson.loads(line)
                        seconds, fraction = divmod(event["timeNano"] + 1, 1_000_000_000)
                        since = f"{seconds}.{fraction:09d}"
                        self._on_event(event)
                finally:
                    stream.close()
            except (RuntimeServiceError, OSError, asyncio.IncompleteReadError, orjson.JSONDecodeError) as e:
                logger.warning("the Docker engine's events broke off: %s", e)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _on_event(self, event: dict[str, Any]) -> None:
        id, labels = event["id"], event["Actor"]["Attributes"]
        sandbox = labels.get(objects.SANDBOX_ID, id)
        kind = _EVENTS[event["Action"]]
        if event["Action"] != "die" or (id not in self._pumps and id not in self._starting):
            self._events.publish(sandbox, id, kind)
            return

        async def announce() -> None:
            if id in self._starting:  # it ended before the engine had answered that it began
                await self._starting[id].wait()
            if id in self._pumps:
                await self._pumps[id].finished(_LOG_SECONDS)
            self._events.publish(sandbox, id, kind)

        task = asyncio.create_task(announce())
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _list(self, kind: str) -> list[dict[str, Any]]:
        labels = [f"{objects.TYPE}={kind}", *(f"{name}={value}" for name, value in self._own.items())]
        return await self._engine.call("containers", all=True, filters={"label": labels})

    async def _create(self, name: str, config: dict[str, Any]) -> str:
        for candidate in (name, f"{name}_{secrets.token_hex(4)}"):
            try:
                return (await self._engine.call("create_container_from_config", config, candidate))["Id"]
            except RuntimeServiceError as e:
                # As cri-dockerd: an object that we lost sight of must not keep the pod from starting.
                if "is already in use" not in str(e) or candidate != name:
                    raise
        raise AssertionError("unreachable")

    # Sandboxes

    async def run_pod_sandbox(self, config: api.PodSandboxConfig) -> str:
        own_network = self._network is not None and config.network is not NamespaceMode.NODE
        if own_network and self._network is not None and not self._network.ready[0]:
            raise RuntimeServiceError(f"the pod network is not ready: {self._network.ready[1]}")
        image, command = await self._ensure_pause_image()
        if config.log_directory:
            os.makedirs(config.log_directory, mode=0o755, exist_ok=True)
        host_config = objects.sandbox_host_config(config, own_network=self._network is not None)
        wanted: dict[str, Any] = {
            "Image": image,
            "Labels": objects.sandbox_labels(config) | self._own,
            "HostConfig": host_config,
        }
        if command:
            wanted["Entrypoint"] = command
        if config.network is not NamespaceMode.NODE:
            wanted["Hostname"] = config.hostname
        if "PortBindings" in host_config:
            wanted["ExposedPorts"] = {port: {} for port in host_config["PortBindings"]}
        id = await self._create(objects.sandbox_name(config), wanted)
        try:
            await self._engine.call("start", id)
            ip = ""
            if own_network and self._network is not None:
                pid = (await self._engine.call("inspect_container", id))["State"]["Pid"]
                ip = await self._network.attach(id, f"/proc/{pid}/ns/net", config.port_mappings)
            elif config.network is not NamespaceMode.NODE:
                ip = await self._bridge_ip(id)
            self._write_pod_files(id, config, ip)
        except BaseException:
            await self.remove_pod_sandbox(id)
            raise
        return id

    async def _ensure_pause_image(self) -> tuple[str, list[str]]:
        """``(image, entrypoint to set)``; our own image is made when it is not there."""
        if self._pause_image:
            if await self._images.image_status(self._pause_image) is None:
                await self._images.pull_image(self._pause_image)
            return self._pause_image, []
        async with self._pause_lock:
            if await self._images.image_status(pause.DEFAULT_IMAGE) is None:
                architecture = (await self._engine.call("version"))["Arch"]
                name, _, tag = pause.DEFAULT_IMAGE.rpartition(":")
                data = pause.image_tar(architecture)
                await self._engine.call("import_image_from_data", data, repository=name, tag=tag)
        return pause.DEFAULT_IMAGE, ["/pause"]

    async def _bridge_ip(self, id: str) -> str:
        return (await self._engine.call("inspect_container", id))["NetworkSettings"]["IPAddress"]

    def _sandbox_dir(self, id: str) -> Path:
        return self._state_dir / "sandboxes" / id

    def _write_pod_files(self, id: str, config: api.PodSandboxConfig, ip: str) -> None:
        directory = self._sandbox_dir(id)
        directory.mkdir(parents=True, exist_ok=True)
        directory.joinpath("hosts").write_text(hosts(config.hostname, ip))
        dns = config.dns_config
        if dns.servers or dns.searches or dns.options:
            directory.joinpath("resolv.conf").write_text(resolv_conf(dns))

    def _pod_files(self, id: str, config: api.PodSandboxConfig) -> dict[str, str]:
        directory, files = self._sandbox_dir(id), {}
        if (directory / "resolv.conf").exists():
            files["/etc/resolv.conf"] = str(directory / "resolv.conf")
        elif os.path.exists("/etc/resolv.conf"):
            files["/etc/resolv.conf"] = os.path.realpath("/etc/resolv.conf")
        if config.network is not NamespaceMode.NODE:
            files["/etc/hosts"] = str(directory / "hosts")
        return files

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        inside = [c for c in await self.list_containers() if c.pod_sandbox_id == pod_sandbox_id]
        await asyncio.gather(*(self._kill(c.id) for c in inside if c.state is ContainerState.RUNNING))
        if self._network is not None:
            await self._network.detach(pod_sandbox_id)
        await self._kill(pod_sandbox_id)

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await self.stop_pod_sandbox(pod_sandbox_id)
        for container in await self.list_containers():
            if container.pod_sandbox_id == pod_sandbox_id:
                await self.remove_container(container.id)
        await self._remove(pod_sandbox_id)
        directory = self._sandbox_dir(pod_sandbox_id)
        for name in ("hosts", "resolv.conf"):
            (directory / name).unlink(missing_ok=True)
        if directory.exists():
            directory.rmdir()

    async def _remove(self, id: str) -> None:
        try:
            await self._engine.call("remove_container", id, v=True, force=True)
        except NotFound:
            pass
        except RuntimeServiceError as e:
            if "is already in progress" not in str(e):
                raise

    async def pod_sandbox_status(self, pod_sandbox_id: str) -> api.PodSandboxStatus:
        details = await self._engine.call("inspect_container", pod_sandbox_id)
        labels, annotations = objects.given(details["Config"]["Labels"])
        metadata = api.PodSandboxMetadata(**orjson.loads(details["Config"]["Labels"][objects.METADATA]))
        ready = details["State"]["Status"] == "running"
        ip = details["NetworkSettings"].get("IPAddress", "")
        if self._network is not None:
            ip = self._network.address_of(pod_sandbox_id)
        return api.PodSandboxStatus(
            id=pod_sandbox_id,
            metadata=metadata,
            state=SandboxState.READY if ready else SandboxState.NOTREADY,
            created_at=objects.nanoseconds(details["Created"]),
            labels=labels,
            annotations=annotations,
            ips=[ip] if ip else [],
        )

    async def list_pod_sandbox(self) -> list[api.PodSandbox]:
        return [objects.sandbox(entry) for entry in await self._list("podsandbox")]

    # Containers

    async def create_container(
        self, pod_sandbox_id: str, config: api.ContainerConfig, sandbox_config: api.PodSandboxConfig
    ) -> str:
        log = os.path.join(sandbox_config.log_directory, config.log_path) if config.log_path else ""
        files = self._pod_files(pod_sandbox_id, sandbox_config)
        oom_score_adj = await self._allowed_oom_score(config.resources.oom_score_adj)
        wanted: dict[str, Any] = {
            "Image": config.image,
            "Labels": objects.container_labels(config, pod_sandbox_id, log) | self._own,
            "Env": [f"{name}={value}" for name, value in config.envs],
            "WorkingDir": config.working_dir,
            "User": objects.user(config.security),
            "Tty": config.tty,
            "OpenStdin": config.stdin,
            "StdinOnce": config.stdin_once,
            "HostConfig": objects.container_host_config(config, sandbox_config, pod_sandbox_id, files, oom_score_adj),
        }
        if config.command:
            wanted["Entrypoint"] = config.command
        if config.args:
            wanted["Cmd"] = config.args
        if config.stop_signal:
            wanted["StopSignal"] = config.stop_signal
        return await self._create(objects.container_name(config, sandbox_config), wanted)

    async def _allowed_oom_score(self, wanted: int) -> int:
        """Negative values need CAP_SYS_RESOURCE, which an engine inside a container or small machine may not have: whether it
        does is tried once, and 0 is the nearest that is always allowed."""
        if wanted >= 0:
            return wanted
        if self._lowest_oom_score is None:
            try:
                await self._try_oom_score(wanted)
                self._lowest_oom_score = -1000
            except RuntimeServiceError:
                # What runc says of it depends on its version; that 0 works shows that the score was the reason.
                await self._try_oom_score(0)
                self._lowest_oom_score = 0
                logger.warning(
                    "the engine cannot set oom_score_adj %d (no CAP_SYS_RESOURCE): 0 is used instead", wanted
                )
        return max(wanted, self._lowest_oom_score)

    async def _try_oom_score(self, wanted: int) -> None:
        image, command = await self._ensure_pause_image()
        config: dict[str, Any] = {
            "Image": image,
            "Labels": {objects.TYPE: "trial", **self._own},
            "HostConfig": {"NetworkMode": "none", "OomScoreAdj": wanted},
        }
        if command:
            config["Entrypoint"] = command
        id = (await self._engine.call("create_container_from_config", config))["Id"]
        try:
            await self._engine.call("start", id)
        finally:
            await self._remove(id)

    async def start_container(self, container_id: str) -> None:
        details = await self._engine.call("inspect_container", container_id)
        log = details["Config"]["Labels"].get(objects.LOG_PATH, "")
        if log:
            os.makedirs(os.path.dirname(log), mode=0o755, exist_ok=True)
        self._starting[container_id] = asyncio.Event()
        try:
            await self._engine.call("start", container_id)
            await self._pump(container_id, details)
        finally:
            self._starting.pop(container_id).set()

    async def _pump(self, id: str, details: dict[str, Any] | None = None) -> None:
        if id in self._pumps:
            return
        config = (details or await self._engine.call("inspect_container", id))["Config"]
        log = config["Labels"].get(objects.LOG_PATH, "")
        if log:
            self._pumps[id] = LogPump(self._engine.endpoint, id, log, tty=config["Tty"])

    async def stop_container(self, container_id: str, timeout: float) -> None:
        if timeout > 0:
            try:
                details = await self._engine.call("inspect_container", container_id)
            except NotFound:
                return
            name = details["Config"].get("StopSignal") or "SIGTERM"
            if await self._signal(container_id, name) and await self._ended(container_id, timeout):
                return
        await self._kill(container_id)

    async def _signal(self, id: str, name: str | int) -> bool:
        """Whether it was there to take it."""
        try:
            await self._engine.call("kill", id, name)
        except NotFound:
            return False
        except RuntimeServiceError as e:
            if "is not running" not in str(e):
                raise
            return False
        return True

    async def _kill(self, id: str) -> None:
        if await self._signal(id, "SIGKILL") and not await self._ended(id, _KILL_SECONDS):
            raise RuntimeServiceError(f"container {id[:12]} does not die of SIGKILL")

    async def _ended(self, id: str, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                stream = await request(self._engine.endpoint, "POST", f"/containers/{id}/wait")
                try:
                    async for _data in stream.body():
                        pass
                finally:
                    stream.close()
        except TimeoutError:
            return False
        except NotFound:
            return True
        return True

    async def remove_container(self, container_id: str) -> None:
        await self._remove(container_id)
        pump = self._pumps.pop(container_id, None)
        if pump is not None:
            await pump.close()

    async def list_containers(self) -> list[api.Container]:
        return [objects.container(entry) for entry in await self._list("container")]

    async def container_status(self, container_id: str) -> api.ContainerStatus:
        return objects.container_status(await self._engine.call("inspect_container", container_id))

    async def update_container_resources(self, container_id: str, resources: api.LinuxResources) -> None:
        limits = objects.resources(resources)
        names = {
            "Memory": "mem_limit",
            "MemorySwap": "memswap_limit",
            "CpuShares": "cpu_shares",
            "CpuPeriod": "cpu_period",
            "CpuQuota": "cpu_quota",
        }
        options = {names[name]: value for name, value in limits.items() if name in names}
        await self._engine.call("update_container", container_id, **options)

    async def reopen_container_log(self, container_id: str) -> None:
        pump = self._pumps.get(container_id)
        if pump is None:
            raise NotFound(f"no log of container {container_id[:12]} is being written")
        pump.reopen()

    # Inside containers

    async def exec_sync(self, container_id: str, command: list[str], timeout: float) -> tuple[bytes, bytes, int]:
        session = await self.exec(container_id, command, stdin=False, tty=False)
        streams: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        try:
            async with asyncio.timeout(timeout or None):
                async for number, data in session.output():
                    streams[number] += data
            code = await session.wait()
        except TimeoutError:
            await session.kill()
            raise TimeoutError(f"command {command!r} timed out after {timeout:g} s") from None
        finally:
            session.close()
        return bytes(streams[1]), bytes(streams[2]), code

    async def exec(self, container_id: str, command: list[str], *, stdin: bool, tty: bool) -> DockerSession:
        options = {"stdin": stdin, "tty": tty, "stdout": True, "stderr": not tty}
        id = (await self._engine.call("exec_create", container_id, command, **options))["Id"]
        body = {"Detach": False, "Tty": tty}
        stream = await request(self._engine.endpoint, "POST", f"/exec/{id}/start", body=body, upgrade=True)

        async def resize(width: int, height: int) -> None:
            await self._engine.call("exec_resize", id, height=height, width=width)

        async def wait() -> int:
            while True:
                state = await self._engine.call("exec_inspect", id)
                if not state["Running"]:
                    return state["ExitCode"]
                await asyncio.sleep(0.05)  # its output has ended already, so this is rare and short

        async def kill() -> None:
            state = await self._engine.call("exec_inspect", id)
            if state["Running"] and state["Pid"]:
                # The engine has no call for it; its processes are ours to signal when we share its pid namespace.
                try:
                    os.kill(state["Pid"], signal.SIGKILL)
                except (ProcessLookupError, PermissionError) as e:
                    logger.warning("exec in %s goes on: %s", container_id[:12], e.strerror)

        return DockerSession(stream, tty=tty, resize=resize, wait=wait, kill=kill)

    async def attach(self, container_id: str, *, stdin: bool, tty: bool) -> DockerSession:
        details = await self._engine.call("inspect_container", container_id)
        if details["State"]["Status"] != "running":
            raise RuntimeServiceError(f"container {container_id[:12]} is not running")
        query = {"stream": "1", "stdout": "1", "stderr": "1", "stdin": "1" if stdin else "0"}
        path = f"/containers/{container_id}/attach"
        stream = await request(self._engine.endpoint, "POST", path, query, upgrade=True)

        async def resize(width: int, height: int) -> None:
            await self._engine.call("resize", container_id, height, width)

        async def wait() -> int:
            await self._ended(container_id, 1e9)
            return (await self.container_status(container_id)).exit_code

        async def leave() -> None:
            return

        return DockerSession(stream, tty=details["Config"]["Tty"], resize=resize, wait=wait, kill=leave)

    async def port_forward(self, pod_sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        details = await self._engine.call("inspect_container", pod_sandbox_id)
        if details["State"]["Status"] != "running":
            raise RuntimeServiceError(f"sandbox {pod_sandbox_id[:12]} is not running")
        try:
            if self._network is None:
                return await asyncio.open_connection(details["NetworkSettings"]["IPAddress"] or "127.0.0.1", port)
            sock = tcp_socket(f"/proc/{details['State']['Pid']}/ns/net")
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock)
        except OSError as e:
            text = f"failed to connect to localhost:{port} inside the pod: {e.strerror or e}"
            raise RuntimeServiceError(text) from e

    async def list_container_stats(self) -> list[api.ContainerStats]:
        running = [c for c in await self.list_containers() if c.state is ContainerState.RUNNING]
        found = await asyncio.gather(*(self._stats(c) for c in running))
        return [stats for stats in found if stats is not None]

    async def _stats(self, container: api.Container) -> api.ContainerStats | None:
        try:
            data = await self._engine.call("stats", container.id, stream=False, one_shot=True)
        except NotFound:
            return None
        memory = data.get("memory_stats", {})
        if "usage" not in memory:  # it ended meanwhile
            return None
        details = memory.get("stats", {})
        inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
        return api.ContainerStats(
            container.id,
            container.metadata.name,
            objects.nanoseconds(data["read"]),
            data["cpu_stats"]["cpu_usage"]["total_usage"],
            max(0, memory["usage"] - inactive),
        )
