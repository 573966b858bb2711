"""One pod's life on this node: synced until it is to end, then terminated, then cleaned up (upstream's pod worker).

Level-triggered: a worker sleeps until something wakes it, looks at everything anew and does the next step. One task per pod, so
two steps of a pod never overlap; steps of different pods do.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from apimachinery import meta
from kubeclient import ApiError, TransportError
from kubelet.cri.api import RuntimeServiceError
from kubelet.pods import spec, status
from kubelet.pods.failures import Failure
from kubelet.pods.imagepull import ImagePuller
from kubelet.pods.observed import ObservedPod
from kubelet.pods.runner import Interrupted, Interruptible, PodRunner, SandboxFailure, Tell
from kubelet.pods.statuswriter import StatusWriter
from kubelet.probes.prober import Prober
from kubelet.references import References
from kubelet.volumes.podvolumes import PodVolumes, VolumeFailure, wait_for_references

Object = dict[str, Any]

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
_RETRY_FIRST, _RETRY_LAST = 0.2, 20.0


class Stage(Enum):
    SYNCING = 1
    TERMINATING = 2
    TERMINATED = 3
    GONE = 4  # nothing of it is left here


@dataclass(slots=True)
class Tools:
    """What all workers share."""

    runner: PodRunner
    prober: Prober
    volumes: PodVolumes
    references: References
    writer: StatusWriter
    puller: ImagePuller
    network_problem: Callable[[], str]
    runtime_name: str
    tell: Tell


class PodWorker:
    """``update(pod)`` with each newer object, ``deleted()`` when the server has it no more, ``wake()`` for all else."""

    def __init__(self, pod: Object, tools: Tools, on_gone: Callable[["PodWorker"], None]) -> None:
        self.pod, self.uid = pod, pod["metadata"]["uid"]
        self.stage = Stage.TERMINATING if spec.is_deleting(pod) or spec.is_terminal(pod) else Stage.SYNCING
        self._tools, self._on_gone = tools, on_gone
        self._rejected: tuple[str, str] | None = None
        self._removed = False
        self._failed: dict[str, Failure] = {}
        self._awake = asyncio.Event()
        self._awake.set()
        self._interruptible = Interruptible()
        self._timer: asyncio.TimerHandle | None = None
        self._retries = 0
        self.task = asyncio.create_task(self._run(), name=f"pod {spec.full_name(pod)}")

    # --- what happens to it -------------------------------------------------------------------------------------

    def wake(self) -> None:
        self._awake.set()

    def retry(self) -> None:
        """Something that its containers refer to has changed: what failed may work now."""
        for failure in self._failed.values():
            failure.until = 0.0
        self.wake()

    def update(self, pod: Object) -> None:
        self.pod = pod
        if spec.is_deleting(pod):
            self._interruptible.interrupt()
        self.retry()

    def deleted(self) -> None:
        """The object is gone from the server, in whatever state its containers are."""
        self._removed = True
        self._interruptible.interrupt()
        self.wake()

    def reject(self, reason: str, message: str) -> None:
        """The node does not take it: it fails before anything of it starts."""
        self._rejected = reason, message
        self.stage = Stage.TERMINATING
        self.wake()

    @property
    def holds_resources(self) -> bool:
        """Whether its requests count against what the node can give."""
        return self.stage in (Stage.SYNCING, Stage.TERMINATING) and self._rejected is None

    def stop(self) -> None:
        """The kubelet ends; the pod goes on."""
        if self._timer is not None:
            self._timer.cancel()
        self.task.cancel()

    # --- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while self.stage is not Stage.GONE:
            await self._awake.wait()
            self._awake.clear()
            if self._timer is not None:
                self._timer.cancel()
            try:
                delay = await self._step()
                self._retries = 0
            except Interrupted:
                self.wake()
                continue
            except (SandboxFailure, VolumeFailure, RuntimeServiceError, ApiError, TransportError) as error:
                delay = self._retry_delay()
                log.info("pod %s: %s; again in %.1f s", spec.full_name(self.pod), error or type(error).__name__, delay)
            except Exception:
                delay = self._retry_delay()
                log.exception("pod %s: sync failed; again in %.1f s", spec.full_name(self.pod), delay)
            if delay is not None:
                self._timer = asyncio.get_running_loop().call_later(delay, self.wake)
        self._on_gone(self)

    def _retry_delay(self) -> float:
        self._retries += 1
        return min(_RETRY_FIRST * 2 ** min(self._retries - 1, 16), _RETRY_LAST)

    async def _step(self) -> float | None:
        if self.stage is Stage.SYNCING:
            if self._removed or spec.is_deleting(self.pod):
                self.stage = Stage.TERMINATING
            else:
                delay = await self._sync()
                if self.stage is Stage.SYNCING:
                    return delay
        if self.stage is Stage.TERMINATING:
            await self._terminate()
            self.stage = Stage.TERMINATED
        if self.stage is Stage.TERMINATED:
            await self._clean_up()
        return None

    # --- syncing ------------------------------------------------------------------------------------------------

    async def _sync(self) -> float | None:
        """One look and what follows from it; when to look again at the latest."""
        tools, pod = self._tools, self.pod
        if self._past_deadline():
            self._rejected = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
            self.stage = Stage.TERMINATING
            return None
        observed = tools.runner.cache.pod(self.uid)
        tools.references.register(pod)
        self._probe(observed)
        told = self._report(observed)
        if told["phase"] in ("Succeeded", "Failed"):
            self.stage = Stage.TERMINATING
            return None
        pod = {**pod, "status": told}
        problem = tools.network_problem()
        if problem and not spec.is_host_network(pod):
            tools.tell(pod, "Warning", "NetworkNotReady", f"network is not ready: {problem}")
            return 5.0  # and at once when the network comes
        await self._set_up_volumes(pod)
        wait = await tools.runner.carry_out(pod, self._failed, self._interruptible)
        observed = tools.runner.cache.pod(self.uid)
        self._probe(observed)
        if self._report(observed)["phase"] in ("Succeeded", "Failed"):
            self.stage = Stage.TERMINATING
            return None
        return self._next_look(wait)

    async def _set_up_volumes(self, pod: Object) -> None:
        tools = self._tools
        try:
            await self._interruptible(wait_for_references(tools.references, pod))
            await self._interruptible(tools.volumes.set_up(pod))
        except VolumeFailure as error:
            tools.tell(pod, "Warning", "FailedMount", str(error))
            raise

    def _next_look(self, wait: float | None) -> float:
        looks = [RESYNC_SECONDS]
        if wait is not None:
            looks.append(wait)
        renewal = self._tools.volumes.renewal_in(self.uid)
        if renewal is not None:
            looks.append(renewal)
        deadline = self._deadline()
        if deadline is not None:
            looks.append(max(0.01, deadline - time.time()))
        return min(looks)

    def _deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        shown = self._tools.writer.get(self.uid) or self.pod.get("status") or {}
        if seconds is None or not shown.get("startTime"):
            return None
        return meta.parse_time(shown["startTime"]) + seconds

    def _past_deadline(self) -> bool:
        deadline = self._deadline()
        return deadline is not None and time.time() >= deadline

    def _probe(self, observed: ObservedPod) -> None:
        ips = observed.ips or self._tools.runner.node.ips
        self._tools.prober.sync(self.pod, observed, ips[0])

    # --- the end ------------------------------------------------------------------------------------------------

    async def _terminate(self) -> None:
        """Stop every container with grace, then the sandbox. A shorter grace that comes meanwhile takes over."""
        tools = self._tools
        tools.prober.stop_for_termination(self.uid)
        self._failed.clear()
        while True:
            observed = tools.runner.cache.pod(self.uid)
            self._report(observed)
            if not observed.running:
                break
            await self._stop_containers(observed, spec.termination_grace(self.pod))
        tools.prober.forget(self.uid)
        await tools.runner.stop_sandboxes(observed)
        self._report(tools.runner.cache.pod(self.uid))

    async def _stop_containers(self, observed: ObservedPod, grace: float) -> None:
        stopping = asyncio.create_task(self._tools.runner.stop_containers(self.pod, observed, grace))
        try:
            while not stopping.done():
                waking = asyncio.ensure_future(self._awake.wait())
                await asyncio.wait((stopping, waking), return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                if self._awake.is_set():
                    self._awake.clear()
                    if not stopping.done():
                        self._report(self._tools.runner.cache.pod(self.uid))
                        if spec.termination_grace(self.pod) < grace:
                            return  # the caller begins again with less
            stopping.result()
        finally:
            if not stopping.done():
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)

    async def _clean_up(self) -> None:
        """Its volumes go with its containers; what tells of it stays until the object is gone too."""
        tools = self._tools
        await tools.volumes.tear_down(self.uid)
        tools.references.unregister(self.uid)
        if self._removed:
            await tools.runner.remove(tools.runner.cache.pod(self.uid))
            await tools.volumes.remove_pod_directory(self.uid)
            self._forget()
            self.stage = Stage.GONE
        elif spec.is_deleting(self.pod):
            tools.writer.over(self.pod)

    def _forget(self) -> None:
        tools = self._tools
        tools.writer.forget(self.uid)
        tools.runner.backoff.forget(self.uid)
        tools.puller.forget(self.uid)
        meta_ = self.pod["metadata"]
        folder = tools.runner.node.layout.pod_logs(meta_["namespace"], meta_["name"], self.uid)
        _remove_logs(folder)

    # --- telling ------------------------------------------------------------------------------------------------

    def _report(self, observed: ObservedPod) -> Object:
        """Compute the status and have it sent; it starts from the one last set, so that nothing is told twice."""
        tools = self._tools
        last = tools.writer.get(self.uid)
        pod = self.pod if last is None else {**self.pod, "status": _with_foreign(last, self.pod.get("status") or {})}
        inputs = status.Inputs(
            now=meta.now_rfc3339(),
            host_ips=tools.runner.node.ips,
            runtime=tools.runtime_name,
            probes=tools.runner.probes,
            failures=self._failed,
            rejected=self._rejected,
            terminating=self.stage is not Stage.SYNCING,
        )
        told = status.generate(pod, observed, inputs)
        if not self._removed:
            tools.writer.set(self.pod, told)
        return told


def _with_foreign(last: Object, server: Object) -> Object:
    """Our last word, plus the conditions and fields that others have written since."""
    own = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"}
    conditions = [c for c in last.get("conditions") or [] if c["type"] in own]
    conditions += [c for c in server.get("conditions") or [] if c["type"] not in own]
    foreign: Object = {k: server[k] for k in ("qosClass", "nominatedNodeName", "resize") if k in server}
    return {**last, **foreign, "conditions": conditions}


def _remove_logs(folder: Any) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
