"""Pods that nobody else would remove: on Nodes that are gone, never scheduled but deleted, and the oldest of too many ended ones."""

import asyncio
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.loop import Context, Loop
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]

_PERIOD = 20.0
#: How long a Node must be missing before its pods are given up: it may be registering again.
_QUARANTINE = 40.0


def excess(ended: list[Object], threshold: int) -> list[Object]:
    """The oldest of the ended pods beyond the threshold; evicted ones go first, they tell the least."""
    if threshold <= 0 or len(ended) <= threshold:
        return []

    def rank(pod: Object) -> tuple[bool, str, str]:
        evicted = (pod.get("status") or {}).get("reason") == "Evicted"
        return not evicted, pod["metadata"].get("creationTimestamp") or "", meta.name(pod)

    return sorted(ended, key=rank)[: len(ended) - threshold]


class PodGcLoop(Loop):
    name = "pod-garbage-collector-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.threshold = context.options.terminated_pod_gc_threshold
        self.nodes = self.watch("v1", "nodes")
        self.pods = self.watch_pods()
        self.api = self.client.resource("v1", "pods")
        self.nodes_api = self.client.resource("v1", "nodes")
        self._missing: dict[str, float] = {}
        self._ended: dict[str, None] = {}
        self.pods.informer.on(self._pod_changed, lambda old, new: self._pod_changed(new), self._pod_gone)

    def _pod_changed(self, pod: Object) -> None:
        if pods.is_terminal(pod):
            self._ended[key_of(pod)] = None
        if meta.is_deleting(pod) and not pods.node_name(pod):
            self.queue.add(key_of(pod))

    def _pod_gone(self, pod: Object) -> None:
        self._ended.pop(key_of(pod), None)

    async def run(self) -> None:
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            while True:
                await asyncio.sleep(_PERIOD)
                self._find_orphans()
                self._find_excess()

    def _find_orphans(self) -> None:
        now = asyncio.get_running_loop().time()
        there = {meta.name(node) for node in self.nodes.list()}
        used = self.pods.nodes()
        self._missing = {name: self._missing.get(name, now) for name in used - there}
        for name, since in self._missing.items():
            if now - since >= _QUARANTINE:
                for pod in self.pods.on_node(name):
                    self.queue.add(key_of(pod))

    def _find_excess(self) -> None:
        ended = [pod for pod in map(self.pods.get, self._ended) if pod is not None]
        for pod in excess(ended, self.threshold):
            self.queue.add(key_of(pod))

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None:
            return
        node = pods.node_name(pod)
        if not node:
            if meta.is_deleting(pod):
                await self._remove(pod)
        elif self.nodes.get(node) is None:
            if await self._is_gone(node):
                await self._mark_lost(pod)
                await self._remove(pod)
        elif pods.is_terminal(pod) and len(self._ended) > self.threshold > 0:
            await self._remove(pod)

    async def _is_gone(self, node: str) -> bool:
        try:
            await self.nodes_api.get(node)
        except ApiError as error:
            if not error.not_found:
                raise
            return True
        return False

    async def _mark_lost(self, pod: Object) -> None:
        """Ended as far as anybody can tell, so that a Job counts it."""
        if pods.is_terminal(pod):
            return
        status = {**(pod.get("status") or {}), "phase": "Failed"}
        status["conditions"] = list(status.get("conditions") or ())
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
        }
        meta.set_condition(status, condition, meta.format_time(self.clock()))
        await self.api.update_status({**pod, "status": status})

    async def _remove(self, pod: Object) -> None:
        try:
            await self.api.delete(meta.name(pod), meta.namespace(pod), uid=meta.uid(pod), grace_period_seconds=0)
        except ApiError as error:
            if not error.not_found:
                raise
