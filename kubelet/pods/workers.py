"""The pods of this node: an informer brings them, each gets a worker; what belongs to no pod is cleaned away."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from kubeclient import Informer
from kubelet.cri.api import RuntimeServiceError
from kubelet.pods import admission, spec
from kubelet.pods.observed import ObservedPod
from kubelet.pods.worker import PodWorker, Tools

Object = dict[str, Any]

log = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS = 30.0
_ORPHAN_GRACE = 30.0


class PodWorkers:
    def __init__(self, pods: Informer, tools: Tools, node: Callable[[], Object | None]) -> None:
        self._pods, self._tools, self._node = pods, tools, node
        self._workers: dict[str, PodWorker] = {}
        self._burying: set[str] = set()
        self._started = False

    def start(self) -> None:
        """Once the informer has synced and the runtime has been listed: take over what runs, oldest pods first."""
        self._started = True
        for pod in sorted(self._pods.list(), key=lambda p: p["metadata"].get("creationTimestamp") or ""):
            self._add(pod)
        self._pods.on(add=self._added, update=self._updated, delete=self._deleted)

    def wake(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake()

    def retry(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.retry()

    def wake_all(self) -> None:
        for worker in self._workers.values():
            worker.wake()

    def pods(self) -> list[Object]:
        """The pods with the status that this kubelet would report."""
        found = []
        for worker in self._workers.values():
            status = self._tools.writer.get(worker.uid)
            found.append({**worker.pod, "status": status} if status is not None else worker.pod)
        return found

    def pod(self, namespace: str, name: str, uid: str = "") -> Object | None:
        for pod in self.pods():
            meta = pod["metadata"]
            if meta["namespace"] == namespace and meta["name"] == name and uid in ("", meta["uid"]):
                return pod
        return None

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.stop()

    # --- the informer's word ------------------------------------------------------------------------------------

    def _added(self, pod: Object) -> None:
        if pod["metadata"]["uid"] not in self._workers:
            self._add(pod)

    def _add(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._tools.writer.seen(pod)
        active = [w.pod for w in self._workers.values() if w.holds_resources]
        worker = self._workers[uid] = PodWorker(pod, self._tools, self._gone)
        if self._tools.runner.cache.pod(uid).sandboxes or spec.is_deleting(pod) or spec.is_terminal(pod):
            return  # it was taken long ago
        node = self._node()
        refusal = admission.refuse(pod, node, active) if node is not None else None
        if refusal is not None:
            reason, message = refusal
            self._tools.tell(pod, "Warning", reason, message)
            worker.reject(reason, f"Pod was rejected: {message}")

    def _updated(self, old: Object, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._tools.writer.seen(pod)
        worker = self._workers.get(uid)
        if worker is None:
            self._add(pod)
        elif _matters(old, pod):
            worker.update(pod)
        else:
            worker.pod = pod  # our own status coming back

    def _deleted(self, pod: Object) -> None:
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.pod = pod
            worker.deleted()

    def _gone(self, worker: PodWorker) -> None:
        if self._workers.get(worker.uid) is worker:
            del self._workers[worker.uid]

    # --- what belongs to nobody ---------------------------------------------------------------------------------

    async def keep_house(self) -> None:
        """Never returns. At once and now and then: sandboxes and directories of pods that are no more."""
        while True:
            await self.bury_orphans()
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)

    async def bury_orphans(self) -> None:
        if not self._started or not self._pods.has_synced:
            return  # nobody knows yet who is an orphan
        cache = self._tools.runner.cache
        orphans = {uid for uid in cache.pods() if uid and uid not in self._workers} - self._burying
        await asyncio.gather(*(self._bury(uid, cache.pod(uid)) for uid in orphans))
        layout = self._tools.runner.node.layout
        for path in layout.pods.iterdir():
            if path.name not in self._workers and path.name not in cache.pods():
                await self._tools.volumes.tear_down(path.name)
                await self._tools.volumes.remove_pod_directory(path.name)
        for path in layout.logs.iterdir():
            if path.name.rpartition("_")[2] not in {*self._workers, *cache.pods()}:
                await asyncio.to_thread(_remove, path)

    async def _bury(self, uid: str, observed: ObservedPod) -> None:
        log.info("pod %s is no more: removing its %d sandbox(es)", uid, len(observed.sandboxes))
        self._burying.add(uid)
        runner = self._tools.runner
        try:
            await runner.stop_containers(None, observed, _ORPHAN_GRACE)
            await runner.stop_sandboxes(observed)
            await runner.remove(runner.cache.pod(uid))
        except RuntimeServiceError as error:
            log.warning("pod %s cannot be removed yet: %s", uid, error)
        finally:
            self._burying.discard(uid)


def _matters(old: Object, new: Object) -> bool:
    """Whether the change is more than our own status coming back."""

    def rest(pod: Object) -> tuple[Any, ...]:
        meta, status = pod["metadata"], pod.get("status") or {}
        own = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"}
        gates = [c for c in status.get("conditions") or [] if c["type"] not in own]
        return (
            pod["spec"],
            meta.get("labels"),
            meta.get("annotations"),
            meta.get("deletionTimestamp"),
            meta.get("deletionGracePeriodSeconds"),
            gates,
        )

    return rest(old) != rest(new)


def _remove(path: Any) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)
