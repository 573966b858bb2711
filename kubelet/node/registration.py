"""This node's Node object: registered at start, adopted when it is there already, its status kept true.

The status is computed every ``--node-status-update-frequency`` and when something of note happens, and sent when it changed
or five minutes have passed; in between the Lease is the heartbeat.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apimachinery.meta import now_rfc3339
from kubeclient import ApiError, Client, TransportError
from kubeclient.rest import STRATEGIC_MERGE_PATCH
from kubelet.cri.api import ImageService, RuntimeService, RuntimeServiceError
from kubelet.node import machine, status
from kubelet.node.machine import Machine
from kubelet.options import Options

Object = dict[str, Any]

log = logging.getLogger(__name__)

_REPORT_SECONDS = 300.0
_RETRY_FIRST, _RETRY_LAST = 0.1, 5.0


class NodeRegistration:
    """``tell(type, reason, message)`` records an event about the node. ``problems()``: what else keeps it from being ready."""

    def __init__(
        self,
        client: Client,
        options: Options,
        found: Machine,
        runtime: RuntimeService,
        image_service: ImageService,
        tell: Callable[[str, str, str], None],
        problems: Callable[[], list[str]],
    ) -> None:
        self._nodes = client.resource("v1", "nodes")
        self._options, self._machine = options, found
        self._runtime, self._images = runtime, image_service
        self._tell, self._problems = tell, problems
        self._version = ("unknown", "")
        self._nudge = asyncio.Event()
        self._sent_at = 0.0
        self.node: Object = {}
        self.network_problem = "container runtime network not ready: the runtime has not been asked yet"
        self.on_network_ready: Callable[[], None] = lambda: None

    @property
    def uid(self) -> str:
        return self.node["metadata"]["uid"]

    # --- registering --------------------------------------------------------------------------------------------

    async def register(self) -> Object:
        """Create the Node, or take over the one that an earlier kubelet left. Retries until the server has answered."""
        self._version = await self._runtime.version()
        retry = _RETRY_FIRST
        while True:
            try:
                self.node = await self._register()
                log.info("registered as node %s", self._options.node_name)
                return self.node
            except (ApiError, TransportError) as error:
                log.info("node not registered yet: %s", error or type(error).__name__)
                await asyncio.sleep(retry)
                retry = min(retry * 2, _RETRY_LAST)

    async def _register(self) -> Object:
        name = self._options.node_name
        fresh = await self._fresh()
        self._sent_at = asyncio.get_running_loop().time()
        try:
            return await self._nodes.create(fresh)
        except ApiError as error:
            if not error.already_exists:
                raise
        node = await self._nodes.get(name)
        wanted = fresh["metadata"]["labels"]
        labels = node["metadata"].get("labels") or {}
        patch = {key: value for key, value in wanted.items() if labels.get(key) != value}
        if patch:
            node = await self._nodes.patch(name, {"metadata": {"labels": patch}})
        new = await self._status(node)
        return await self._send(node, new)

    async def _fresh(self) -> Object:
        options = self._options
        node: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": options.node_name,
                "labels": status.labels(self._machine, options.node_name, options.node_labels),
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {},
        }
        if options.pod_cidr:
            node["spec"].update(podCIDR=options.pod_cidr, podCIDRs=[options.pod_cidr])
        if options.taints:
            node["spec"]["taints"] = options.taints
        node["status"] = await self._status(node)
        return node

    # --- the status ---------------------------------------------------------------------------------------------

    async def _status(self, node: Object) -> Object:
        options, old = self._options, node.get("status") or {}
        problems = await self._ask_runtime()
        conditions = status.pressures(machine.room(Path(options.root_dir)), options.eviction_hard)
        conditions.append(status.ready([*problems, *self._problems()]))
        now = now_rfc3339()
        return {
            **old,
            "capacity": status.capacity(self._machine, options.max_pods),
            "allocatable": status.allocatable(self._machine, options.max_pods),
            "conditions": status.with_conditions(old.get("conditions") or [], conditions, now),
            "addresses": status.addresses(options.node_name, options.node_ips),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": options.port}},
            "nodeInfo": status.node_info(self._machine, self._version),
            "images": status.images(await self._images.list_images()),
        }

    async def _ask_runtime(self) -> list[str]:
        """What the runtime says about itself and the pod network, in upstream's words."""
        try:
            said = await self._runtime.status()
        except RuntimeServiceError as error:
            return [f"container runtime is down: {error}"]
        problems = []
        good, why = said.get("RuntimeReady", (False, "no answer"))
        if not good:
            problems.append(f"container runtime not ready: RuntimeReady=false reason:{why}")
        good, why = said.get("NetworkReady", (False, "no answer"))
        before, self.network_problem = self.network_problem, "" if good else why
        if not good:
            problems.append(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:"
                f"Network plugin returns error: {why}"
            )
        elif before:
            self.on_network_ready()
        return problems

    async def _send(self, node: Object, new: Object) -> Object:
        """Only what differs; conditions are merged by type."""
        old = node.get("status") or {}
        patch = {key: value for key, value in new.items() if old.get(key) != value}
        self._sent_at = asyncio.get_running_loop().time()
        if not patch:
            return node
        if "addresses" in patch:
            gone = [a["type"] for a in old.get("addresses") or [] if a not in new["addresses"]]
            kept = {a["type"] for a in new["addresses"]}
            patch["addresses"] = [
                *patch["addresses"],
                *({"$patch": "delete", "type": t} for t in gone if t not in kept),
            ]
        return await self._nodes.patch(
            self._options.node_name, {"status": patch}, content_type=STRATEGIC_MERGE_PATCH, subresource="status"
        )

    def nudge(self) -> None:
        """Something happened that the status should show now."""
        self._nudge.set()

    def seen(self, node: Object) -> None:
        """The informer's word on this node: others change it too (podCIDR, taints, labels)."""
        self.node = node

    async def run(self) -> None:
        """Keep the status true; never returns."""
        while True:
            try:
                async with asyncio.timeout(self._options.status_update_frequency):
                    await self._nudge.wait()
            except TimeoutError:
                pass
            self._nudge.clear()
            try:
                await self._update()
            except (ApiError, TransportError) as error:
                log.warning("node status not updated: %s", error or type(error).__name__)
                if isinstance(error, ApiError) and error.not_found:
                    await self.register()

    async def _update(self) -> None:
        node = self.node
        new = await self._status(node)
        old = node.get("status") or {}
        overdue = asyncio.get_running_loop().time() - self._sent_at >= _REPORT_SECONDS
        if not overdue and not status.changed(old, new):
            return
        self._tell_changes(old, new)
        self.node = await self._send(node, new)

    def _tell_changes(self, old: Object, new: Object) -> None:
        before = {c["type"]: c["status"] for c in old.get("conditions") or []}
        name = self._options.node_name
        for condition in new["conditions"]:
            if before.get(condition["type"]) == condition["status"]:
                continue
            reason = {
                ("Ready", "True"): "NodeReady",
                ("Ready", "False"): "NodeNotReady",
                ("MemoryPressure", "True"): "NodeHasInsufficientMemory",
                ("MemoryPressure", "False"): "NodeHasSufficientMemory",
                ("DiskPressure", "True"): "NodeHasDiskPressure",
                ("DiskPressure", "False"): "NodeHasNoDiskPressure",
                ("PIDPressure", "True"): "NodeHasInsufficientPID",
                ("PIDPressure", "False"): "NodeHasSufficientPID",
            }.get((condition["type"], condition["status"]))
            if reason:
                self._tell("Normal", reason, f"Node {name} status is now: {reason}")
