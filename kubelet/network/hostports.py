"""hostPort: connections to a port of the node are handed to a pod's, by destination NAT in a chain of our own."""

from pathlib import Path

import orjson

from kubelet.cri.api import PortMapping
from kubelet.network import iptables

CHAIN = "MK8S-HOSTPORTS"


def rules(mappings: dict[str, tuple[str, list[PortMapping]]]) -> list[str]:
    """``mappings`` is ``{sandbox: (pod IP, its ports)}``; what has no host port has no rule."""
    wanted = []
    for sandbox, (ip, ports) in sorted(mappings.items()):
        for port in ports:
            if not port.host_port:
                continue
            protocol = port.protocol.lower()
            address = f"-d {port.host_ip} " if port.host_ip not in ("", "0.0.0.0", "::") else ""
            wanted.append(
                f"{address}-p {protocol} -m {protocol} --dport {port.host_port} -m comment --comment {sandbox[:12]} "
                f"-j DNAT --to-destination {ip}:{port.container_port}"
            )
    return wanted


class HostPorts:
    """Durable, for a kubelet that restarts must write the rules of pods that it did not start."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mappings: dict[str, tuple[str, list[PortMapping]]] = {}
        self._hooked = False

    def load(self) -> None:
        try:
            stored = orjson.loads(self._file.read_bytes())
        except FileNotFoundError:
            stored = {}
        self._mappings = {id: (ip, [PortMapping(**p) for p in ports]) for id, (ip, ports) in stored.items()}

    @property
    def sandboxes(self) -> list[str]:
        return list(self._mappings)

    async def add(self, sandbox: str, ip: str, ports: list[PortMapping]) -> None:
        if any(port.host_port for port in ports):
            self._mappings[sandbox] = (ip, ports)
            await self.write()

    async def remove(self, sandbox: str) -> None:
        if self._mappings.pop(sandbox, None) is not None:
            await self.write()

    async def write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(orjson.dumps(self._mappings))
        await iptables.replace_chain("nat", CHAIN, rules(self._mappings))
        if not self._hooked:
            jump = ("-m", "addrtype", "--dst-type", "LOCAL", "-j", CHAIN)
            await iptables.ensure_rule("nat", "PREROUTING", *jump)
            await iptables.ensure_rule("nat", "OUTPUT", *jump)
            self._hooked = True
