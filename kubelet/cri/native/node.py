"""What the parts of the runtime share about their node: its directory, records, cgroups, network and events."""

import asyncio
import hashlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from kubelet.cri.native.cgroups import Cgroups, Hierarchies
from kubelet.cri.native.events import EventHub
from kubelet.cri.native.images import RuntimeMode
from kubelet.cri.native.records import Records
from kubelet.cri.native.spawning import Spawner
from kubelet.network.pods import PodNetwork

logger = logging.getLogger(__name__)


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


@dataclass
class NodeState:
    state_dir: str
    records: Records
    spawner: Spawner
    cgroups: Cgroups
    mode: RuntimeMode
    hide: list[str]  # from containers on the host's own root
    events: EventHub = field(default_factory=EventHub)
    network: PodNetwork | None = None  # None: pods share the host's
    boot_id: str = ""

    @classmethod
    def at(cls, root_dir: str, mode: RuntimeMode, hide: list[str]) -> "NodeState":
        directory = state_directory(root_dir)
        cgroups = Cgroups(Hierarchies(), cgroup_key(root_dir))
        hidden = [*cluster_directories(root_dir), *hide]
        return cls(directory, Records(directory), Spawner(directory), cgroups, mode, hidden)

    def remove_cgroup(self, path: str, attempts: int = 5) -> None:
        try:
            self.cgroups.remove(path)
        except OSError as e:  # busy: the kernel is still taking the last process apart
            if attempts:
                asyncio.get_running_loop().call_later(0.05, self.remove_cgroup, path, attempts - 1)
            else:
                logger.warning("cgroup %s stays: %s", path, e.strerror)
