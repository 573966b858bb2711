"""Node IPAM: a piece of the cluster's pod network for every Node, no two alike."""

import ipaddress
from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop

Object = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class CidrSet:
    """The pieces of one network, handed out from the lowest; after a release the search goes on where it stood."""

    def __init__(self, network: Network, prefix: int) -> None:
        if prefix < network.prefixlen:
            raise ValueError(f"--node-cidr-mask-size {prefix} is bigger than the cluster CIDR {network}")
        self.network, self.prefix = network, prefix
        self.size = 1 << (prefix - network.prefixlen)
        self._step = 1 << (network.max_prefixlen - prefix)
        self._used: set[int] = set()
        self._next = 0

    def allocate(self) -> str | None:
        """The next free piece; None when the network is used up."""
        for offset in range(self.size):
            index = (self._next + offset) % self.size
            if index not in self._used:
                self._used.add(index)
                self._next = (index + 1) % self.size
                return str(self._piece(index))
        return None

    def occupy(self, cidr: str) -> None:
        """Marks every piece that overlaps ``cidr`` as used; a foreign network overlaps none."""
        self._used.update(self._indexes(cidr))

    def release(self, cidr: str) -> None:
        self._used.difference_update(self._indexes(cidr))

    def _piece(self, index: int) -> Network:
        base = int(self.network.network_address) + index * self._step
        return type(self.network)((base, self.prefix))

    def _indexes(self, cidr: str) -> range:
        other = ipaddress.ip_network(cidr, strict=False)
        if other.version != self.network.version or not other.overlaps(self.network):
            return range(0)
        base = int(self.network.network_address)
        first = max(int(other.network_address), base)
        last = min(int(other.broadcast_address), int(self.network.broadcast_address))
        return range((first - base) // self._step, (last - base) // self._step + 1)


def pod_cidrs(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    return spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])


class NodeIpamLoop(Loop):
    """A cluster CIDR for each IP family. One worker: a piece is in the set before the next Node is looked at."""

    name = "node-ipam-controller"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        options = context.options
        self.sets = []
        # Without --allocate-node-cidrs somebody else does it, such as the pod network's own controller.
        wanted = options.cluster_cidr if options.allocate_node_cidrs else ""
        for text in filter(None, wanted.split(",")):
            network = ipaddress.ip_network(text.strip())
            self.sets.append(CidrSet(network, options.node_cidr_mask_size if network.version == 4 else 64))
        for cidrs in self.sets:
            for service_range in filter(None, options.service_cluster_ip_range.split(",")):
                cidrs.occupy(service_range.strip())
        self.api = self.client.resource("v1", "nodes")
        self.events = context.recorder("cidrAllocator")
        self._promised: dict[str, list[str]] = {}
        self.nodes = self.watch("v1", "nodes")
        self.nodes.on(self._seen, lambda old, new: self._seen(new), self._deleted)

    def _seen(self, node: Object) -> None:
        """Occupies at once what a Node has; the queue only gets Nodes that have nothing, and only after the first list
        has been seen whole, so no piece in use is given away."""
        assigned = pod_cidrs(node)
        if assigned:
            self._occupy(assigned)
        else:
            self.queue.add(meta.name(node))

    def _occupy(self, assigned: list[str]) -> None:
        for cidrs in self.sets:
            for cidr in assigned:
                cidrs.occupy(cidr)

    def _deleted(self, node: Object) -> None:
        promised = self._promised.pop(meta.name(node), [])
        for cidrs in self.sets:
            for cidr in {*pod_cidrs(node), *promised}:
                cidrs.release(cidr)

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        if node is None or pod_cidrs(node) or not self.sets:
            return
        wanted = self._promised.get(key) or self._allocate(node)
        if not wanted:
            return
        self._promised[key] = wanted
        # Guarded by the uid: a Node of the same name may have taken its place.
        patch = {"metadata": {"uid": meta.uid(node)}, "spec": {"podCIDR": wanted[0], "podCIDRs": wanted}}
        await self.api.patch(key, patch)

    def _allocate(self, node: Object) -> list[str]:
        found: list[str] = []
        for cidrs in self.sets:
            piece = cidrs.allocate()
            if piece is None:
                for earlier, taken in zip(self.sets, found, strict=False):
                    earlier.release(taken)
                self.events.event(
                    node,
                    "Normal",
                    "CIDRNotAvailable",
                    f"Node {meta.name(node)} status is now: CIDRNotAvailable",
                )
                return []
            found.append(piece)
        return found
