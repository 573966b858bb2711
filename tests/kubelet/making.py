"""Pods and what a runtime shows of them, made up for tests of pure functions."""

import itertools
from typing import Any

from kubelet.cri.api import (
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    PodSandboxMetadata,
    PodSandboxStatus,
    SandboxState,
)
from kubelet.pods import labels
from kubelet.pods.observed import ObservedPod

Object = dict[str, Any]
SECOND = 1_000_000_000
_times = itertools.count(1)


def pod(*containers: Object | str, init: list[Object] | None = None, name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": "n1",
            "restartPolicy": "Always",
            "containers": [container(c) if isinstance(c, str) else c for c in containers or ("c",)],
            **({"initContainers": init} if init else {}),
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def container(name: str = "c", **fields: Any) -> Object:
    return {"name": name, "image": "busybox:1", **fields}


def sandbox(
    of: Object, *, ready: bool = True, attempt: int = 0, ips: tuple[str, ...] = ("10.0.0.5",)
) -> PodSandboxStatus:
    meta = of["metadata"]
    return PodSandboxStatus(
        f"sandbox{attempt}",
        PodSandboxMetadata(meta["name"], meta["uid"], meta["namespace"], attempt),
        SandboxState.READY if ready else SandboxState.NOTREADY,
        next(_times) * SECOND,
        labels.sandbox_labels(of),
        {},
        list(ips),
    )


def run(
    of: Object, name: str = "c", *, exit: int | None = None, restarts: int = 0, box: int = 0, **fields: Any
) -> ContainerStatus:
    """A run of the container: going on, or ended with ``exit``."""
    from kubelet.pods.spec import container_named

    spec = container_named(of, name)
    assert spec is not None
    now = next(_times) * SECOND
    found = ContainerStatus(
        f"{name}-{restarts}",
        f"sandbox{box}",
        ContainerMetadata(name, restarts),
        spec["image"],
        "sha256:1",
        ContainerState.RUNNING if exit is None else ContainerState.EXITED,
        now,
        labels.container_labels(of, spec),
        labels.container_annotations(of, spec, restarts),
        started_at=now,
        finished_at=now + SECOND if exit is not None else 0,
        exit_code=exit or 0,
    )
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def observed(of: Object, *parts: PodSandboxStatus | ContainerStatus) -> ObservedPod:
    sandboxes = [p for p in parts if isinstance(p, PodSandboxStatus)]
    containers = [p for p in parts if isinstance(p, ContainerStatus)]
    sandboxes.sort(key=lambda s: s.created_at, reverse=True)
    containers.sort(key=lambda c: c.created_at, reverse=True)
    return ObservedPod(of["metadata"]["uid"], sandboxes, containers)
