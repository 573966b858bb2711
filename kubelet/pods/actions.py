"""What to do next for a pod: a pure function of its spec, what the runtime shows, and what the probes found.

The rules are upstream's ``computePodActions``. The caller does what it says, looks again and asks again, until nothing is
left to do; back-off is the caller's business too.
"""

from dataclasses import dataclass, field
from typing import Any

from kubelet.cri.api import ContainerState, ContainerStatus
from kubelet.pods import spec
from kubelet.pods.labels import HASH, container_hash
from kubelet.pods.observed import ObservedPod
from kubelet.probes.results import Kind, Results

Object = dict[str, Any]

UNKNOWN_STATE = "is in unknown state, try killing it before restart"


@dataclass(slots=True)
class Kill:
    """A container to stop: ``reason`` says which probe failed, when one did (it has a grace period of its own)."""

    container: ContainerStatus
    name: str
    message: str
    probe: Kind | None = None


@dataclass(slots=True)
class Actions:
    kill_pod: bool = False
    create_sandbox: bool = False
    attempt: int = 0
    init: list[Object] = field(default_factory=list)
    containers: list[Object] = field(default_factory=list)
    ephemeral: list[Object] = field(default_factory=list)
    kill: list[Kill] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not (self.kill_pod or self.create_sandbox or self.init or self.containers or self.ephemeral or self.kill)


def compute(pod: Object, observed: ObservedPod, probes: Results) -> Actions:
    changed, attempt = _sandbox_changed(pod, observed)
    if changed:
        return _with_new_sandbox(pod, observed, attempt)
    actions = Actions(attempt=attempt)
    actions.ephemeral = [c for c in spec.ephemeral_containers(pod) if observed.active(c["name"]) is None]
    if not _init_containers(pod, observed, probes, actions) or actions.kill_pod:
        return actions
    kept = sum(_regular_container(pod, container, observed, probes, actions) for container in spec.containers(pod))
    if not kept and not actions.containers:
        actions.kill_pod, actions.init = True, []  # all done: sidecars and the sandbox go too
    return actions


def should_restart(container: Object, pod: Object, observed: ObservedPod) -> bool:
    """Whether a container that does not run is to be started (again)."""
    if spec.is_deleting(pod):
        return False
    status = observed.container(container["name"])
    if status is None:
        return True
    if status.state is ContainerState.RUNNING:
        return False
    if status.state in (ContainerState.CREATED, ContainerState.UNKNOWN):
        return True
    if spec.is_sidecar(container):
        return True
    policy = spec.restart_policy(pod)
    return policy == "Always" or (policy == "OnFailure" and status.exit_code != 0)


def _sandbox_changed(pod: Object, observed: ObservedPod) -> tuple[bool, int]:
    """Whether the pod needs a new sandbox, and the number of that attempt."""
    latest = observed.sandbox
    if latest is None:
        return True, 0
    ready = observed.ready_sandboxes
    if len(ready) != 1 or ready[0].id != latest.id:
        return True, latest.metadata.attempt + 1
    return False, latest.metadata.attempt


def _with_new_sandbox(pod: Object, observed: ObservedPod, attempt: int) -> Actions:
    actions = Actions(kill_pod=True, create_sandbox=True, attempt=attempt)
    if spec.restart_policy(pod) == "Never" and attempt and observed.containers:
        # It has run, and is not to run again.
        actions.create_sandbox = False
        return actions
    start = []
    for container in spec.containers(pod):
        status = observed.container(container["name"])
        done = status is not None and status.state is ContainerState.EXITED and status.exit_code == 0
        if not (done and spec.restart_policy(pod) == "OnFailure"):
            start.append(container)
    if not start:
        actions.create_sandbox = False
        return actions
    if spec.init_containers(pod):
        actions.init = [spec.init_containers(pod)[0]]
    else:
        actions.containers = start
    return actions


def _any_regular_started(pod: Object, observed: ObservedPod) -> bool:
    for container in spec.containers(pod):
        status = observed.active(container["name"])
        if status is not None and status.state is not ContainerState.CREATED:
            return True
    return False


def _init_containers(pod: Object, observed: ObservedPod, probes: Results, actions: Actions) -> bool:
    """Fill ``actions.init``; whether the regular containers may run.

    Goes backwards: completed init containers may have been removed, so the last one that left a trace decides.
    """
    containers = spec.init_containers(pod)
    if not containers:
        return True
    initialized = previous = _any_regular_started(pod, observed)
    start: list[int] = []
    for i in range(len(containers) - 1, -1, -1):
        container = containers[i]
        sidecar = spec.is_sidecar(container)
        status = observed.active(container["name"])
        if status is None:
            if previous and sidecar:
                start.append(i)
            continue
        if previous and not sidecar:
            continue
        done = False
        if sidecar:
            done = _sidecar(container, i, status, probes, actions, start)
        elif status.state is ContainerState.EXITED and status.exit_code == 0:
            done = True
        elif status.state in (ContainerState.EXITED, ContainerState.UNKNOWN):
            if spec.restart_policy(pod) == "Never":
                actions.kill_pod, actions.init = True, []
                return False
            if status.state is ContainerState.UNKNOWN:
                actions.kill.append(Kill(status, container["name"], f"Init container {UNKNOWN_STATE}"))
            start.append(i)
        elif status.state is ContainerState.CREATED:
            start.append(i)  # the kubelet was killed between create and start
        if done and i == len(containers) - 1:
            initialized = True
        elif done and not previous:
            start.append(i + 1)
        previous = True
    if not previous:
        start.append(0)
    actions.init = [containers[i] for i in sorted(set(start))]
    return initialized


def _sidecar(
    container: Object, i: int, status: ContainerStatus, probes: Results, actions: Actions, start: list[int]
) -> bool:
    """One init container with restartPolicy Always that exists; whether it has started, so that the next may."""
    name = container["name"]
    if status.state is not ContainerState.RUNNING:
        if status.state is ContainerState.UNKNOWN:
            actions.kill.append(Kill(status, name, f"Init container {UNKNOWN_STATE}"))
        start.append(i)
        return False
    if container.get("startupProbe"):
        startup = probes.get(Kind.STARTUP, status.id)
        if startup is False:
            message = f"Init container {name} failed startup probe, will be restarted"
            actions.kill.append(Kill(status, name, message, Kind.STARTUP))
            start.append(i)
        if not startup:
            return False
    if container.get("livenessProbe") and probes.get(Kind.LIVENESS, status.id) is False:
        message = f"Init container {name} failed liveness probe, will be restarted"
        actions.kill.append(Kill(status, name, message, Kind.LIVENESS))
        start.append(i)
    return True


def _regular_container(
    pod: Object, container: Object, observed: ObservedPod, probes: Results, actions: Actions
) -> bool:
    """Fill ``actions`` for one container; whether it runs and is kept."""
    name = container["name"]
    status = observed.container(name)
    if status is None or status.state is not ContainerState.RUNNING:
        if should_restart(container, pod, observed):
            actions.containers.append(container)
            if status is not None and status.state is ContainerState.UNKNOWN:
                actions.kill.append(Kill(status, name, f"Container {UNKNOWN_STATE}"))
        return False
    restart, probe = spec.restart_policy(pod) != "Never", None
    expected = container_hash(container)
    if status.annotations.get(HASH, expected) != expected:
        message, restart = f"Container {name} definition changed", True
    elif probes.get(Kind.LIVENESS, status.id) is False:
        message, probe = f"Container {name} failed liveness probe", Kind.LIVENESS
    elif probes.get(Kind.STARTUP, status.id) is False:
        message, probe = f"Container {name} failed startup probe", Kind.STARTUP
    else:
        return True
    if restart:
        message += ", will be restarted"
        actions.containers.append(container)
    actions.kill.append(Kill(status, name, message, probe))
    return False
