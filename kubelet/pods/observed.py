"""One pod as the runtime shows it: its sandboxes and containers, the newest first."""

from dataclasses import dataclass, field

from kubelet.cri.api import ContainerState, ContainerStatus, PodSandboxStatus, SandboxState
from kubelet.pods.labels import container_name


@dataclass(slots=True)
class ObservedPod:
    uid: str
    sandboxes: list[PodSandboxStatus] = field(default_factory=list)
    containers: list[ContainerStatus] = field(default_factory=list)

    @property
    def sandbox(self) -> PodSandboxStatus | None:
        return self.sandboxes[0] if self.sandboxes else None

    @property
    def ready_sandboxes(self) -> list[PodSandboxStatus]:
        return [s for s in self.sandboxes if s.state is SandboxState.READY]

    @property
    def ips(self) -> list[str]:
        ready = self.ready_sandboxes
        return ready[0].ips if ready else []

    def container(self, name: str) -> ContainerStatus | None:
        """The newest one of that name."""
        return next((c for c in self.containers if container_name(c) == name), None)

    def containers_named(self, name: str) -> list[ContainerStatus]:
        return [c for c in self.containers if container_name(c) == name]

    def active(self, name: str) -> ContainerStatus | None:
        """The newest one of that name in the current sandbox."""
        sandbox = self.sandbox
        if sandbox is None:
            return None
        return next((c for c in self.containers if c.pod_sandbox_id == sandbox.id and container_name(c) == name), None)

    @property
    def running(self) -> list[ContainerStatus]:
        """What may still have a process: everything that has not been seen to end."""
        return [c for c in self.containers if c.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)]
