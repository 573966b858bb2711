"""Questions that many ask of a pod's spec."""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]


def init_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("initContainers") or []


def containers(pod: Object) -> list[Object]:
    return pod["spec"]["containers"]


def ephemeral_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("ephemeralContainers") or []


def every_container(pod: Object) -> Iterator[Object]:
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def container_named(pod: Object, name: str) -> Object | None:
    return next((c for c in every_container(pod) if c["name"] == name), None)


def restart_policy(pod: Object) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def is_sidecar(container: Object) -> bool:
    """An init container that keeps running beside the others."""
    return container.get("restartPolicy") == "Always"


def is_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def is_deleting(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def phase(pod: Object) -> str:
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_terminal(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def full_name(pod: Object) -> str:
    """``name_namespace(uid)``, as events and logs write it."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}({meta['uid']})"


def field_path(pod: Object, container: Object) -> str:
    """The part of the pod that an event is about."""
    name = container["name"]
    if any(c["name"] == name for c in init_containers(pod)):
        return f"spec.initContainers{{{name}}}"
    if any(c["name"] == name for c in ephemeral_containers(pod)):
        return f"spec.ephemeralContainers{{{name}}}"
    return f"spec.containers{{{name}}}"


def termination_grace(pod: Object) -> int:
    """Seconds between SIGTERM and SIGKILL; never less than one, as upstream has it."""
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds")
    return max(1, 30 if grace is None else int(grace))
