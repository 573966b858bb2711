"""What one cluster consists of, kept in ``cluster.json``: how many of what, on which subnet and ports.

Everything else (addresses, flags, names of processes) follows from it.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from cluster import ClusterError
from cluster.home import Home, write

SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE_IP = "10.96.0.1"
CLUSTER_DOMAIN = "cluster.local"
RUNTIMES = ("native", "docker")

#: Subnets 10.64.0.0/16 to 10.95.0.0/16: the next one belongs to Services.
SLOTS = 32


@dataclass
class Spec:
    """``slot`` chooses the subnet; ``bridged`` tells whether nodes have network namespaces of their own.

    ``ports`` maps an endpoint (``etcd-0/client``, ``apiserver-0`` ...) to its TCP port.
    """

    name: str
    nodes: int = 1
    etcd: int = 1
    apiservers: int = 1
    runtime: str = "native"
    bridged: bool = True
    slot: int = 0
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ClusterError(f"--runtime {self.runtime}: use one of {', '.join(RUNTIMES)}")
        if not 1 <= self.nodes <= 100:
            raise ClusterError(f"--nodes {self.nodes}: use 1 to 100")
        if self.etcd not in (1, 3, 5, 7):
            raise ClusterError(f"--etcd {self.etcd}: a store has 1, 3, 5 or 7 members")
        if not 1 <= self.apiservers <= 9:
            raise ClusterError(f"--apiservers {self.apiservers}: use 1 to 9")

    @classmethod
    def load(cls, home: Home) -> "Spec":
        try:
            return cls(**orjson.loads(home.spec_file.read_bytes()))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise ClusterError(f"{home.spec_file} is damaged: {error}") from None

    def save(self, home: Home) -> None:
        write(home.spec_file, orjson.dumps(self.as_dict(), option=orjson.OPT_INDENT_2) + b"\n")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def node_names(self) -> list[str]:
        return [f"node-{number}" for number in range(1, self.nodes + 1)]

    @property
    def members(self) -> list[str]:
        return [f"etcd-{number}" for number in range(self.etcd)]

    @property
    def api_names(self) -> list[str]:
        return [f"apiserver-{number}" for number in range(self.apiservers)]

    @property
    def bridge(self) -> str:
        return f"mk8s{self.slot}"

    @property
    def subnet(self) -> str:
        """Of the whole cluster: nodes in its first 256 addresses, pods in its upper half."""
        return f"10.{64 + self.slot}.0.0/16"

    @property
    def cluster_cidr(self) -> str:
        return f"10.{64 + self.slot}.128.0/17" if self.bridged else "10.244.0.0/16"

    @property
    def host_address(self) -> str:
        """Where the API server is reached from the nodes."""
        return f"10.{64 + self.slot}.0.1" if self.bridged else "127.0.0.1"

    def node_address(self, node: str) -> str:
        return f"10.{64 + self.slot}.0.{10 + int(node.rpartition('-')[2])}" if self.bridged else "127.0.0.1"

    def namespace(self, node: str) -> str:
        """The node's network namespace. The bridge is in it since two homes may each have a cluster of one name."""
        return f"{self.bridge}-{self.name}-{node}"

    def link(self, node: str) -> str:
        """The host's end of the node's cable; the kernel allows 15 characters."""
        return f"{self.bridge}n{node.rpartition('-')[2]}"

    def preferred_ports(self) -> dict[str, int]:
        """Every endpoint that listens in the host's network, and upstream's port for it."""
        wanted: dict[str, int] = {}
        for number, member in enumerate(self.members):
            wanted[f"{member}/client"] = 2379 + 100 * number
            wanted[f"{member}/peer"] = 2380 + 100 * number
            wanted[f"{member}/metrics"] = 2381 + 100 * number
        for number, name in enumerate(self.api_names):
            wanted[name] = 6443 + number
        wanted["scheduler"] = 10259
        wanted["controllers"] = 10257
        if not self.bridged:
            for number, node in enumerate(self.node_names):
                wanted[f"kubelet-{node}"] = 10250 if number == 0 else 11250 + 10 * number
                wanted[f"proxy-{node}/health"] = 10256 if number == 0 else 11256 + 10 * number
                wanted[f"proxy-{node}/metrics"] = 10249 if number == 0 else 11249 + 10 * number
        return wanted

    def port(self, endpoint: str) -> int:
        return self.ports[endpoint]

    def api_url(self, number: int = 0, *, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port(f'apiserver-{number % self.apiservers}')}"
