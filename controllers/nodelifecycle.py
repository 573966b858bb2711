"""Nodes that fall silent: marked Unknown, tainted, their pods marked not ready and, later, driven away.

A Node is alive while its Lease or its status changes; when it last did is measured by our own clock, so clocks need not agree.
Taints follow a Node's conditions within milliseconds; how fast NoExecute taints spread is limited, and none is added
while *every* zone is dark: then it is more likely us who are cut off.
"""

import asyncio
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.loop import Context, Loop
from controllers.nodehealth import disruption, ready_state, silenced, wanted_taints, zone_of
from kubeclient import ApiError

Object = dict[str, Any]


class NodeLifecycleLoop(Loop):
    name = "node-lifecycle-controller"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        options = context.options
        self.period, self.grace = options.node_monitor_period, options.node_monitor_grace_period
        self.rate, self.slow_rate = options.node_eviction_rate, options.secondary_node_eviction_rate
        self.large_zone, self.threshold = options.large_cluster_size_threshold, options.unhealthy_zone_threshold
        self.nodes = self.watch("v1", "nodes")
        self.leases = self.watch("coordination.k8s.io/v1", "leases", namespace="kube-node-lease")
        self.pods = self.watch_pods()
        self.api = self.client.resource("v1", "nodes")
        self.pods_api = self.client.resource("v1", "pods")
        self.events = context.recorder("node-controller")
        self._heard: dict[str, float] = {}
        self._next_eviction: dict[str, float] = {}
        self.nodes.on(self._node_added, self._node_updated, self._node_deleted)
        self.leases.on(self._lease_seen, lambda old, new: self._lease_seen(new))
        self.pods.informer.on(self._pod_added, self._pod_updated)

    # --- signs of life

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _node_added(self, node: Object) -> None:
        self._heard[meta.name(node)] = self._now()
        self.events.event(
            node,
            "Normal",
            "RegisteredNode",
            f"Node {meta.name(node)} event: Registered Node {meta.name(node)} in Controller",
        )
        self.queue.add(meta.name(node))

    def _node_updated(self, old: Object, new: Object) -> None:
        if _reported(old) != _reported(new):
            self._heard[meta.name(new)] = self._now()
        if _matters(old) != _matters(new):
            self.queue.add(meta.name(new))

    def _node_deleted(self, node: Object) -> None:
        self._heard.pop(meta.name(node), None)

    def _lease_seen(self, lease: Object) -> None:
        name = meta.name(lease)
        if name in self._heard:
            self._heard[name] = self._now()

    def _pod_added(self, pod: Object) -> None:
        """A pod reported ready on a Node that is not: the mark came too early for it."""
        name = pods.node_name(pod)
        node = self.nodes.get(name) if name else None
        if node is not None and ready_state(node) != "True" and pods.is_ready(pod):
            self.queue.add(name)

    def _pod_updated(self, old: Object, new: Object) -> None:
        if pods.is_ready(new) and not pods.is_ready(old):
            self._pod_added(new)

    async def run(self) -> None:
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))
        # Whoever leads anew has heard nobody yet, and gives each the full grace period.
        now = self._now()
        self._heard = dict.fromkeys(self._heard, now)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self._monitor())

    async def _monitor(self) -> None:
        while True:
            await asyncio.sleep(self.period)
            deadline = self._now() - self.grace
            for node in self.nodes.list():
                # Those that are not ready wait for their turn to be evicted.
                if self._heard.get(meta.name(node), deadline) < deadline or ready_state(node) != "True":
                    self.queue.add(meta.name(node))

    # --- one node

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        if node is None:
            return
        if self._heard.get(key, 0.0) < self._now() - self.grace:
            node = await self._silence(node)
        state = ready_state(node)
        allowed = state == "True" or _has_execute_taint(node) or self._may_evict(node)
        taints = wanted_taints(node, evict=allowed, now=meta.format_time(self.clock()))
        if taints is not None:
            guard = {"resourceVersion": node["metadata"]["resourceVersion"]}
            await self.api.patch(key, {"metadata": guard, "spec": {"taints": taints or None}})
        if state != "True" and meta.get_condition(node, "Ready") is not None:
            await self._mark_pods(key)

    async def _silence(self, node: Object) -> Object:
        conditions = silenced(node, meta.format_time(self.clock()))
        if conditions is None:
            return node
        was_ready = ready_state(node) == "True"
        status = {**(node.get("status") or {}), "conditions": conditions}
        node = await self.api.update_status({**node, "status": status})
        if was_ready:
            name = meta.name(node)
            self.events.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        return node

    def _may_evict(self, node: Object) -> bool:
        """Whether this Node's pods may be driven away now: at the zone's rate, and never while all zones are dark."""
        zones: dict[str, list[str]] = {}
        for other in self.nodes.list():
            zones.setdefault(zone_of(other), []).append(ready_state(other))
        zone = zone_of(node)
        # The cache may not show yet what has just been written about this Node.
        states = {z: disruption(s, self.threshold) for z, s in zones.items()}
        if all(state == "full" for state in states.values()):
            return False
        rate = self.rate
        if states.get(zone) == "partial":
            rate = self.slow_rate if len(zones[zone]) > self.large_zone else 0.0
        if rate <= 0:
            return False
        now = self._now()
        if now < self._next_eviction.get(zone, 0.0):
            return False
        self._next_eviction[zone] = now + 1.0 / rate
        return True

    async def _mark_pods(self, node: str) -> None:
        """Nobody vouches for them any more: Services must stop sending traffic there."""
        for pod in self.pods.on_node(node):
            if pods.is_ready(pod) and not pods.is_terminal(pod):
                await self._mark_not_ready(pod)

    async def _mark_not_ready(self, pod: Object) -> None:
        status = {**pod["status"], "conditions": [dict(c) for c in pod["status"]["conditions"]]}
        now = meta.format_time(self.clock())
        for condition in status["conditions"]:
            if condition["type"] == "Ready":
                condition.update(status="False", lastTransitionTime=now)
        try:
            await self.pods_api.update_status({**pod, "status": status})
        except ApiError as error:
            if not error.not_found:
                raise
        self.events.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def _reported(node: Object) -> Any:
    """What a kubelet's report changes; taints and labels are no sign of life, nor is what we write ourselves."""
    return [
        (c["type"], c.get("lastHeartbeatTime"), c["status"])
        for c in (node.get("status") or {}).get("conditions") or ()
        if c["status"] != "Unknown"
    ]


def _matters(node: Object) -> Any:
    spec = node.get("spec") or {}
    conditions = (node.get("status") or {}).get("conditions") or ()
    return spec.get("taints"), spec.get("unschedulable"), [(c["type"], c["status"]) for c in conditions]


def _has_execute_taint(node: Object) -> bool:
    state_key = {"False": "not-ready", "Unknown": "unreachable"}.get(ready_state(node), "")
    return any(
        t["effect"] == "NoExecute" and t["key"] == f"node.kubernetes.io/{state_key}"
        for t in (node.get("spec") or {}).get("taints") or ()
    )
