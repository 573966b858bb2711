"""What the scheduler writes: bindings, the PodScheduled condition, nominations and evictions."""

from typing import Any

from apimachinery import meta
from kubeclient import ApiError, Client
from kubeclient.rest import STRATEGIC_MERGE_PATCH
from scheduler.pod import PodInfo

Object = dict[str, Any]


class PodWriter:
    def __init__(self, client: Client, scheduler_name: str) -> None:
        self._client, self._scheduler_name = client, scheduler_name
        self._pods = client.resource("v1", "pods")

    async def bind(self, pod: PodInfo, node_name: str) -> None:
        """Raises ApiError: 409 when it has a node already, 404 when it is gone."""
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"kind": "Node", "name": node_name},
        }
        await self._client.request("POST", self._pods.path(pod.namespace, pod.name, "binding"), body=binding)

    async def report_unscheduled(
        self, pod: PodInfo, reason: str, message: str, nominated_node: str | None = None
    ) -> None:
        """Sets PodScheduled=False, and the nominated node unless it is None (empty clears it)."""
        status: Object = {}
        current = pod.pod.get("status") or {}
        condition = _changed_condition(current, "PodScheduled", "False", reason, message)
        if condition is not None:
            status["conditions"] = [condition]
        if nominated_node is not None and nominated_node != (current.get("nominatedNodeName") or ""):
            status["nominatedNodeName"] = nominated_node or None
        if status:
            await self._patch_status(pod, status)

    async def clear_nomination(self, pod: PodInfo) -> None:
        await self._patch_status(pod, {"nominatedNodeName": None})

    async def evict(self, victim: PodInfo) -> bool:
        """Deletes a pod to make room; False when it was gone already."""
        message = f"{self._scheduler_name}: preempting to accommodate a higher priority pod"
        current = victim.pod.get("status") or {}
        condition = _changed_condition(current, "DisruptionTarget", "True", "PreemptionByScheduler", message)
        try:
            if condition is not None:
                await self._patch_status(victim, {"conditions": [condition]})
            await self._pods.delete(victim.name, victim.namespace, uid=victim.uid)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    async def _patch_status(self, pod: PodInfo, status: Object) -> None:
        patch = {"metadata": {"uid": pod.uid}, "status": status}
        await self._pods.patch(pod.name, patch, pod.namespace, content_type=STRATEGIC_MERGE_PATCH, subresource="status")


def _changed_condition(status: Object, type_: str, value: str, reason: str, message: str) -> Object | None:
    """The condition to write; None when the pod has exactly this one."""
    known = next((c for c in status.get("conditions") or () if c["type"] == type_), None)
    if known is not None and (known["status"], known.get("reason"), known.get("message")) == (value, reason, message):
        return None
    same_status = known is not None and known["status"] == value
    return {
        "type": type_,
        "status": value,
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": known["lastTransitionTime"] if known and same_status else meta.now_rfc3339(),
    }
