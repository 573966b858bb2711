"""Runs the probes of this node's containers: one timer each on the event loop, no task while nothing happens.

Upstream's rules: a probe first runs after ``initialDelaySeconds``, then every ``periodSeconds``; ``successThreshold`` and
``failureThreshold`` count what comes in a row; liveness and readiness wait for the startup probe; after a failed liveness or
startup probe the probe rests until its container has been restarted.

One addition: until a container's readiness or startup probe first succeeds, httpGet and tcpSocket probes are also tried a few
times between its start and the end of the first period. Such an early failure counts for nothing and tells nobody; it only lets
a server that is up after 200 ms be ready then, not after ``periodSeconds`` (upstream's probes start at a random time in the
first period, which is as early on average).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from kubelet.cri.api import ContainerState, ContainerStatus, RuntimeService
from kubelet.pods import spec
from kubelet.pods.observed import ObservedPod
from kubelet.probes import handlers
from kubelet.probes.handlers import HandlerError, Outcome
from kubelet.probes.results import Kind, Results

Object = dict[str, Any]
Tell = Callable[[Object, Object, str, str, str], None]  # (pod, container, type, reason, message)

log = logging.getLogger(__name__)

_EARLY = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class _Probe:
    """One probe of one run of a container."""

    def __init__(self, prober: "Prober", kind: Kind, pod: Object, container: Object, status: ContainerStatus) -> None:
        self.prober, self.kind, self.pod, self.container = prober, kind, pod, container
        self.id, self.uid = status.id, pod["metadata"]["uid"]
        self.spec: Object = container[kind.field]
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.in_a_row = 0
        self.last: bool | None = None
        self.resting = False
        self.early_until = 0.0
        delay = self.spec.get("initialDelaySeconds") or 0
        self.due = status.started_at / 1e9 + delay  # wall clock
        eager = kind is not Kind.LIVENESS and ("httpGet" in self.spec or "tcpSocket" in self.spec)
        self.early = iter(_EARLY if eager and self.success_threshold == 1 else ())
        self.first_tick = max(self.due, time.time())
        if time.time() - self.due > self.period:
            # Found running by a kubelet that has just started: do not probe everything at once.
            self.first_tick += random.random() * self.period
            self.early = iter(())

    @property
    def period(self) -> float:
        return self.spec.get("periodSeconds") or 10

    @property
    def success_threshold(self) -> int:
        return self.spec.get("successThreshold") or 1

    @property
    def failure_threshold(self) -> int:
        return self.spec.get("failureThreshold") or 3

    def schedule(self, delay: float, *, early: bool = False) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._fire, early)

    def start(self) -> None:
        now = time.time()
        # The first attempt is early too when there are early ones: the server has hardly been started.
        self.early_until = self.first_tick + self.period
        pause = next(self.early, None)
        if pause is None:
            self.schedule(self.first_tick - now)
        else:
            self.schedule(self.first_tick - now + pause, early=True)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()

    def _fire(self, early: bool) -> None:
        self.task = asyncio.create_task(self._run(early), name=f"{self.kind.value} probe")

    async def _run(self, early: bool) -> None:
        began = time.time()
        waits = self.kind is not Kind.STARTUP and self.container.get("startupProbe")
        if waits and not self.prober.results.get(Kind.STARTUP, self.id):
            self.schedule(self.period)  # woken as soon as it has started
            return
        outcome = await self.prober.ask(self, quiet=early)
        if early and not (outcome is not None and outcome.good):
            pause = next(self.early, None)
            if pause is not None and time.time() + pause < self.early_until:
                self.schedule(pause, early=True)
            else:
                self.schedule(self.early_until - time.time())
            return
        if outcome is not None:
            self._count(outcome)
        if not self.resting:
            self.schedule(self.period - (time.time() - began))

    def _count(self, outcome: Outcome) -> None:
        self.in_a_row = self.in_a_row + 1 if self.last is outcome.good else 1
        self.last = outcome.good
        if self.in_a_row < (self.success_threshold if outcome.good else self.failure_threshold):
            return
        self.prober.results.set(self.kind, self.id, outcome.good, self.uid)
        if self.kind is Kind.STARTUP and outcome.good:
            self.resting = True
            self.prober.started(self.uid, self.id)
        elif self.kind is not Kind.READINESS and not outcome.good:
            self.resting = True


class Prober:
    """``sync(pod, observed)`` after each look at a pod starts and stops its probes; ``forget(uid)`` ends them all."""

    def __init__(self, runtime: RuntimeService, results: Results, tell: Tell) -> None:
        self.results = results
        self._runtime, self._tell = runtime, tell
        self._probes: dict[tuple[str, str, Kind], _Probe] = {}  # (pod uid, container id, kind)
        self._ips: dict[str, str] = {}

    def sync(self, pod: Object, observed: ObservedPod, pod_ip: str) -> None:
        uid = pod["metadata"]["uid"]
        self._ips[uid] = pod_ip
        wanted: set[tuple[str, str, Kind]] = set()
        for container in (*(c for c in spec.init_containers(pod) if spec.is_sidecar(c)), *spec.containers(pod)):
            status = observed.container(container["name"])
            if status is None or status.state is not ContainerState.RUNNING:
                continue
            for kind in Kind:
                if not container.get(kind.field):
                    continue
                key = uid, status.id, kind
                wanted.add(key)
                if key not in self._probes:
                    self._begin(key, pod, container, status)
                self._probes[key].pod = pod
        for key in [k for k in self._probes if k[0] == uid and k not in wanted]:
            self._end(key)

    def _begin(self, key: tuple[str, str, Kind], pod: Object, container: Object, status: ContainerStatus) -> None:
        kind = key[2]
        if self.results.get(kind, status.id) is None and _was_good(kind, pod, container, status):
            # The kubelet has restarted, the container has not: it stays ready until a probe says otherwise.
            self.results.set(kind, status.id, True, key[0])
        probe = self._probes[key] = _Probe(self, kind, pod, container, status)
        if kind is Kind.STARTUP and self.results.get(kind, status.id):
            probe.resting = True
            return
        probe.start()

    def _end(self, key: tuple[str, str, Kind]) -> None:
        self._probes.pop(key).stop()
        self.results.forget(key[2], key[1])

    def started(self, uid: str, container_id: str) -> None:
        """The startup probe succeeded: the others need not wait for their next turn."""
        for kind in (Kind.READINESS, Kind.LIVENESS):
            probe = self._probes.get((uid, container_id, kind))
            if probe is not None:
                probe.schedule(0)

    def stop_for_termination(self, uid: str) -> None:
        """A pod that is being terminated is neither restarted nor started; its readiness is still told."""
        for key in [k for k in self._probes if k[0] == uid and k[2] is not Kind.READINESS]:
            self._probes.pop(key).stop()

    def forget(self, uid: str) -> None:
        for key in [k for k in self._probes if k[0] == uid]:
            self._end(key)
        self._ips.pop(uid, None)

    def close(self) -> None:
        for probe in self._probes.values():
            probe.stop()

    async def ask(self, probe: _Probe, *, quiet: bool) -> Outcome | None:
        """Once, with upstream's event when it fails; None when it could not be asked."""
        timeout = probe.spec.get("timeoutSeconds") or 1
        name = probe.kind.value
        try:
            outcome = await self._handle(probe, timeout)
        except HandlerError as error:
            if not quiet:
                self._tell(probe.pod, probe.container, "Warning", "Unhealthy", f"{name} probe errored: {error}")
            return None
        if outcome.warning:
            self._tell(probe.pod, probe.container, "Warning", "ProbeWarning", f"{name} probe warning: {outcome.output}")
        elif not outcome.good and not quiet:
            self._tell(probe.pod, probe.container, "Warning", "Unhealthy", f"{name} probe failed: {outcome.output}")
        return outcome

    async def _handle(self, probe: _Probe, timeout: float) -> Outcome:
        ip = self._ips.get(probe.uid, "")
        if "exec" in probe.spec:
            return await handlers.exec_command(
                self._runtime, probe.id, probe.spec["exec"].get("command") or [], timeout
            )
        if "httpGet" in probe.spec:
            return await handlers.http_get(probe.spec["httpGet"], probe.container, ip, timeout)
        if "tcpSocket" in probe.spec:
            return await handlers.tcp_socket(probe.spec["tcpSocket"], probe.container, ip, timeout)
        if "grpc" in probe.spec:
            return await handlers.grpc_health(probe.spec["grpc"], ip, timeout)
        raise HandlerError("missing probe handler")


def _was_good(kind: Kind, pod: Object, container: Object, status: ContainerStatus) -> bool:
    """Whether the pod's status already told so of this very run of the container."""
    told = pod.get("status") or {}
    for entry in (*(told.get("containerStatuses") or []), *(told.get("initContainerStatuses") or [])):
        if entry["name"] == container["name"] and entry.get("containerID", "").endswith(f"//{status.id}"):
            return bool(entry.get({Kind.READINESS: "ready", Kind.STARTUP: "started"}.get(kind, ""), False))
    return False
