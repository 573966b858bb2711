"""The contract between the kubelet and a container runtime, shaped like CRI v1.

Every call is idempotent where CRI says so (stopping or removing what is gone succeeds), may be made concurrently for
different sandboxes, and raises :class:`RuntimeServiceError` (a sentence for the event and the log) otherwise.
A runtime keeps no state in the kubelet's memory that it cannot find again after a kubelet restart: sandboxes and containers
outlive the kubelet, and the ``labels`` and ``annotations`` given at creation come back in every list and status.

Times are nanoseconds since the epoch (0 = unknown), memory is bytes, CPU is CFS shares/quota/period as in CRI.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class RuntimeServiceError(Exception):
    """A runtime call failed; the text says what to do or what was wrong."""


class ImageNotFound(RuntimeServiceError):
    """The image does not exist here or in its registry (ErrImagePull / ErrImageNeverPull for the kubelet)."""


class NotFound(RuntimeServiceError):
    """No such sandbox, container or image."""


class SandboxState(Enum):
    READY = "SANDBOX_READY"
    NOTREADY = "SANDBOX_NOTREADY"


class ContainerState(Enum):
    CREATED = "CONTAINER_CREATED"
    RUNNING = "CONTAINER_RUNNING"
    EXITED = "CONTAINER_EXITED"
    UNKNOWN = "CONTAINER_UNKNOWN"


class NamespaceMode(Enum):
    POD = "POD"
    CONTAINER = "CONTAINER"
    NODE = "NODE"
    TARGET = "TARGET"


@dataclass(slots=True)
class PodSandboxMetadata:
    name: str
    uid: str
    namespace: str
    attempt: int = 0


@dataclass(slots=True)
class DNSConfig:
    servers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PortMapping:
    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(slots=True)
class HostAlias:
    ip: str
    hostnames: list[str]


@dataclass(slots=True)
class PodSandboxConfig:
    metadata: PodSandboxMetadata
    hostname: str = ""
    log_directory: str = ""
    dns_config: DNSConfig = field(default_factory=DNSConfig)
    port_mappings: list[PortMapping] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    network: NamespaceMode = NamespaceMode.POD  # NODE: hostNetwork
    pid: NamespaceMode = NamespaceMode.CONTAINER  # POD: shareProcessNamespace, NODE: hostPID
    ipc: NamespaceMode = NamespaceMode.POD  # NODE: hostIPC
    sysctls: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class PodSandbox:
    """An entry of ``list_pod_sandbox``."""

    id: str
    metadata: PodSandboxMetadata
    state: SandboxState
    created_at: int
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(slots=True)
class PodSandboxStatus(PodSandbox):
    ips: list[str] = field(default_factory=list)  # the first is the pod's IP; empty with hostNetwork


@dataclass(slots=True)
class Mount:
    container_path: str
    host_path: str
    readonly: bool = False
    propagation: str = "PRIVATE"  # PRIVATE | HOST_TO_CONTAINER | BIDIRECTIONAL


@dataclass(slots=True)
class LinuxResources:
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_in_bytes: int = 0
    oom_score_adj: int = 0
    pids_limit: int = 0


@dataclass(slots=True)
class SecurityContext:
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: list[int] = field(default_factory=list)
    readonly_rootfs: bool = False
    add_capabilities: list[str] = field(default_factory=list)
    drop_capabilities: list[str] = field(default_factory=list)
    no_new_privs: bool = False
    seccomp_profile: str = ""
    apparmor_profile: str = ""


@dataclass(slots=True)
class ContainerMetadata:
    name: str
    attempt: int = 0


@dataclass(slots=True)
class ContainerConfig:
    metadata: ContainerMetadata
    image: str  # what the pod asked for; resolved by the runtime to what pull_image or image_status gave
    command: list[str] = field(default_factory=list)  # overrides the image's entrypoint when not empty
    args: list[str] = field(default_factory=list)
    working_dir: str = ""
    envs: list[tuple[str, str]] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    log_path: str = ""  # relative to the sandbox's log_directory; CRI log format, whatever the runtime
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: LinuxResources = field(default_factory=LinuxResources)
    security: SecurityContext = field(default_factory=SecurityContext)
    stop_signal: str = ""


@dataclass(slots=True)
class Container:
    """An entry of ``list_containers``."""

    id: str
    pod_sandbox_id: str
    metadata: ContainerMetadata
    image: str
    image_ref: str
    state: ContainerState
    created_at: int
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(slots=True)
class ContainerStatus(Container):
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""  # "Completed", "Error", "OOMKilled", "ContainerCannotRun", "StartError" ...
    message: str = ""
    log_path: str = ""  # absolute
    mounts: list[Mount] = field(default_factory=list)


@dataclass(slots=True)
class Image:
    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    size: int
    user: str = ""  # the image's USER, for runAsNonRoot


@dataclass(slots=True)
class ContainerStats:
    id: str
    name: str
    timestamp: int
    cpu_usage_nano_seconds: int
    memory_working_set_bytes: int


@dataclass(slots=True)
class ContainerEvent:
    """PLEG by events: something about this container or sandbox changed; look again."""

    pod_sandbox_id: str
    container_id: str
    type: str  # CONTAINER_CREATED_EVENT | CONTAINER_STARTED_EVENT | CONTAINER_STOPPED_EVENT | CONTAINER_DELETED_EVENT


class ExecSession(Protocol):
    """A running exec or attach: raw bytes, so that the kubelet's server can speak WebSocket or SPDY over it."""

    async def write_stdin(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """``(1, stdout bytes)`` and ``(2, stderr bytes)`` until both are closed; with a tty only 1."""
        ...

    async def resize(self, width: int, height: int) -> None: ...
    async def wait(self) -> int:
        """The exit code, once the process ended."""
        ...

    async def kill(self) -> None: ...


class RuntimeService(Protocol):
    """``runtime.v1.RuntimeService``."""

    async def start(self) -> None:
        """Connect or take over what an earlier kubelet left running."""
        ...

    async def close(self) -> None:
        """Let go of connections; sandboxes and containers go on."""
        ...

    async def version(self) -> tuple[str, str]:
        """``(runtime name, version)``, for ``node.status.nodeInfo.containerRuntimeVersion``."""
        ...

    async def status(self) -> dict[str, tuple[bool, str]]:
        """Conditions ``RuntimeReady`` and ``NetworkReady``: ``(true, "")`` or ``(false, why)``."""
        ...

    async def update_runtime_config(self, pod_cidr: str) -> None:
        """The node's podCIDR became known: the pod network can be set up."""
        ...

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str: ...
    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Kill what is left in it and take its network down."""
        ...

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None: ...
    async def pod_sandbox_status(self, pod_sandbox_id: str) -> PodSandboxStatus: ...
    async def list_pod_sandbox(self) -> list[PodSandbox]: ...

    async def create_container(
        self, pod_sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig
    ) -> str: ...
    async def start_container(self, container_id: str) -> None: ...
    async def stop_container(self, container_id: str, timeout: float) -> None:
        """SIGTERM (or the image's stop signal), SIGKILL after ``timeout`` seconds; returns once it is dead."""
        ...

    async def remove_container(self, container_id: str) -> None: ...
    async def list_containers(self) -> list[Container]: ...
    async def container_status(self, container_id: str) -> ContainerStatus: ...
    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None: ...
    async def reopen_container_log(self, container_id: str) -> None: ...
    async def exec_sync(self, container_id: str, command: list[str], timeout: float) -> tuple[bytes, bytes, int]:
        """``(stdout, stderr, exit code)``; raises ``TimeoutError`` after ``timeout`` seconds (0: none)."""
        ...

    async def exec(self, container_id: str, command: list[str], *, stdin: bool, tty: bool) -> ExecSession: ...
    async def attach(self, container_id: str, *, stdin: bool, tty: bool) -> ExecSession: ...
    async def port_forward(self, pod_sandbox_id: str, port: int) -> "tuple[object, object]":
        """An ``(asyncio.StreamReader, asyncio.StreamWriter)`` to that port inside the sandbox's network."""
        ...

    async def list_container_stats(self) -> list[ContainerStats]: ...
    def events(self) -> AsyncIterator[ContainerEvent]:
        """What changed, as it changes (``GetContainerEvents``); never ends while the runtime is open."""
        ...


class ImageService(Protocol):
    """``runtime.v1.ImageService``. Image names are what users write; the service normalises them."""

    async def list_images(self) -> list[Image]: ...
    async def image_status(self, image: str) -> Image | None: ...
    async def pull_image(self, image: str, auth: dict[str, str] | None = None) -> str:
        """Returns the image ref (id or digest). ``auth``: username, password, for imagePullSecrets."""
        ...

    async def remove_image(self, image: str) -> None: ...
