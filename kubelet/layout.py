"""Where the kubelet keeps its files below ``--root-dir``; the runtime's own state lies beside them."""

from pathlib import Path
from typing import Any

from kubelet.cri.api import Container
from kubelet.pods.labels import POD_NAME, POD_NAMESPACE, container_name, pod_uid, restart_count

Object = dict[str, Any]


class Layout:
    def __init__(self, root: str) -> None:
        self.root = Path(root).resolve()
        self.pods = self.root / "pods"
        self.logs = self.root / "logs" / "pods"

    def make(self) -> None:
        for path in (self.root, self.pods):
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o755, parents=True, exist_ok=True)

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def volumes(self, uid: str) -> Path:
        return self.pods / uid / "volumes"

    def volume(self, uid: str, plugin: str, name: str) -> Path:
        return self.volumes(uid) / f"kubernetes.io~{plugin}" / name

    def container(self, uid: str, name: str) -> Path:
        """Termination messages of its runs."""
        return self.pods / uid / "containers" / name

    def etc_hosts(self, uid: str) -> Path:
        return self.pods / uid / "etc-hosts"

    def pod_logs(self, namespace: str, name: str, uid: str) -> Path:
        return self.logs / f"{namespace}_{name}_{uid}"

    def termination_message(self, uid: str, name: str, attempt: int) -> Path:
        return self.container(uid, name) / str(attempt)

    def log_of(self, container: Container) -> Path:
        """The log file of one run of a container that the runtime has."""
        labels = container.labels
        folder = self.pod_logs(labels[POD_NAMESPACE], labels[POD_NAME], pod_uid(container))
        return folder / log_path(container_name(container), restart_count(container))


def log_path(container: str, attempt: int) -> str:
    """Relative to the pod's log directory."""
    return f"{container}/{attempt}.log"
