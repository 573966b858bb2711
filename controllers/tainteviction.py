"""Pods on Nodes with NoExecute taints: deleted when they do not tolerate them, or when their toleration ends.

A taint's ``timeAdded`` and the pod's tolerations say when the pod has to go, also after a restart; only for taints without a
time is it remembered when they were first seen.
"""

from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.loop import Context, Loop
from controllers.nodehealth import eviction_time
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]


def _execute_taints(node: Object) -> list[Object]:
    return [t for t in (node.get("spec") or {}).get("taints") or () if t["effect"] == "NoExecute"]


class TaintEvictionLoop(Loop):
    name = "taint-eviction-controller"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.watch("v1", "nodes")
        self.pods = self.watch_pods()
        self.api = self.client.resource("v1", "pods")
        self.events = context.recorder("taint-eviction-controller")
        self._first_seen: dict[tuple[str, str], float] = {}
        self.nodes.on(self._node_added, self._node_updated, self._node_deleted)
        self.pods.informer.on(self._pod_added, self._pod_updated)

    def _node_added(self, node: Object) -> None:
        if _execute_taints(node):
            self._offer(node)

    def _node_updated(self, old: Object, new: Object) -> None:
        if _execute_taints(old) != _execute_taints(new):
            self._offer(new)

    def _node_deleted(self, node: Object) -> None:
        name = meta.name(node)
        self._first_seen = {k: v for k, v in self._first_seen.items() if k[0] != name}

    def _offer(self, node: Object) -> None:
        for pod in self.pods.on_node(meta.name(node)):
            self.queue.add(key_of(pod))

    def _pod_added(self, pod: Object) -> None:
        node = self.nodes.get(pods.node_name(pod))
        if node is not None and _execute_taints(node):
            self.queue.add(key_of(pod))

    def _pod_updated(self, old: Object, new: Object) -> None:
        if pods.node_name(old) != pods.node_name(new) or old["spec"].get("tolerations") != new["spec"].get(
            "tolerations"
        ):
            self._pod_added(new)

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        node = self.nodes.get(pods.node_name(pod)) if pod is not None else None
        if pod is None or node is None or meta.is_deleting(pod):
            return
        now = self.clock()
        taints = _execute_taints(node)
        for taint in taints:
            self._first_seen.setdefault((meta.name(node), taint["key"]), now)
        since = min((self._first_seen[(meta.name(node), t["key"])] for t in taints), default=now)
        when = eviction_time(pod, taints, since)
        if when is None:
            return
        if when > now:
            self.queue.add_after(key, when - now)
            return
        await self._evict(pod)

    async def _evict(self, pod: Object) -> None:
        self.events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {meta.key(pod)}")
        status = {**(pod.get("status") or {})}
        status["conditions"] = list(status.get("conditions") or ())
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        try:
            if meta.set_condition(status, condition, meta.format_time(self.clock())):
                await self.api.update_status({**pod, "status": status})
            await self.api.delete(meta.name(pod), meta.namespace(pod), uid=meta.uid(pod))
        except ApiError as error:
            if not error.not_found:
                raise
