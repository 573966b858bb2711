"""Turns the informers' news into changes of the node table and moves in the queue."""

import logging
from typing import Any

from kubeclient import Informer, InformerFactory
from scheduler.cache import Cache
from scheduler.event import Event
from scheduler.nominator import Nominator
from scheduler.pod import PodInfo
from scheduler.queue import SchedulingQueue

log = logging.getLogger(__name__)

Object = dict[str, Any]

#: Pods that have run to their end hold nothing any more: the server tells of their end as of a deletion.
LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"


class EventHandlers:
    """Only pods that name ``scheduler_name`` are queued; pods on nodes count whoever placed them."""

    def __init__(self, cache: Cache, queue: SchedulingQueue, nominator: Nominator, scheduler_name: str) -> None:
        self._cache, self._queue, self._nominator = cache, queue, nominator
        self._scheduler_name = scheduler_name

    def attach(self, factory: InformerFactory) -> None:
        factory.informer("v1", "nodes").on(
            self.node_changed, lambda old, new: self.node_changed(new), self.node_deleted
        )
        pods: Informer = factory.informer("v1", "pods", field_selector=LIVE_PODS)
        pods.on(self.pod_added, self.pod_updated, self.pod_deleted)
        factory.informer("v1", "namespaces").on(
            self.namespace_changed, lambda old, new: self.namespace_changed(new), self.namespace_deleted
        )

    # --- nodes and namespaces -----------------------------------------------------------------------------------

    def node_changed(self, node: Object) -> None:
        info, change = self._cache.set_node(node)
        if change:
            self._queue.move(change, None, info)

    def node_deleted(self, node: Object) -> None:
        self._cache.remove_node(node["metadata"]["name"])

    def namespace_changed(self, namespace: Object) -> None:
        name, labels = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
        known = self._cache.namespace_labels.get(name)
        self._cache.namespace_labels[name] = labels
        if known is not None and known != labels:
            self._queue.move(Event.NAMESPACE_LABELS)

    def namespace_deleted(self, namespace: Object) -> None:
        self._cache.namespace_labels.pop(namespace["metadata"]["name"], None)

    # --- pods ---------------------------------------------------------------------------------------------------

    def pod_added(self, pod: Object) -> None:
        info = PodInfo(pod)
        if info.node_name:
            self._placed(info)
        else:
            self._waiting(info)

    def pod_updated(self, old: Object, new: Object) -> None:
        info = PodInfo(new)
        if not info.node_name:
            self._waiting(info)
        elif not old["spec"].get("nodeName"):
            self._placed(info)
        else:
            self._moved_on(info)

    def pod_deleted(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._queue.delete(uid)
        self._nominator.withdraw(uid)
        # Also when the last that we heard of it is older than its binding: an assumed pod must not outlive its pod.
        gone = self._cache.pod(uid)
        if gone is not None:
            self._cache.remove_pod(uid)
            self._queue.move(Event.POD_DELETE, gone, None)

    def _waiting(self, info: PodInfo) -> None:
        if (info.spec.get("schedulerName") or "default-scheduler") != self._scheduler_name:
            return
        if self._cache.is_assumed(info.uid):
            return  # we have placed it; the news of that is still on its way
        if info.deleting:
            self._queue.delete(info.uid)
            self._nominator.withdraw(info.uid)
            return
        if info.nominated_node:
            self._nominator.nominate(info, info.nominated_node)
        self._queue.update(info)

    def _placed(self, info: PodInfo) -> None:
        """It has got a node, from us or from somebody else."""
        self._cache.set_pod(info)
        self._queue.delete(info.uid)
        self._nominator.withdraw(info.uid)
        self._queue.move(Event.POD_ADD, None, info)

    def _moved_on(self, info: PodInfo) -> None:
        before = self._cache.pod(info.uid)
        self._cache.set_pod(info)
        if before is None or before is self._cache.pod(info.uid):
            return  # nothing that others could notice
        event = Event(0)
        if before.labels != info.labels:
            event |= Event.POD_LABELS
        if before.requests != info.requests:
            event |= Event.POD_SCALED_DOWN
        if event:
            self._queue.move(event, before, info)
