"""What the kubelet writes on sandboxes and containers, so that it knows them again after a restart (upstream's names)."""

import zlib
from typing import Any

import orjson

from kubelet.cri.api import Container, PodSandbox

Object = dict[str, Any]

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP = "io.kubernetes.container.preStopHandler"
GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"


def container_hash(container: Object) -> str:
    """Changes when a running container has to be replaced: of what may change in a pod, only the image asks for that."""
    return f"{zlib.crc32(orjson.dumps([container['name'], container.get('image', '')])):08x}"


def sandbox_labels(pod: Object) -> dict[str, str]:
    meta = pod["metadata"]
    return {
        **(meta.get("labels") or {}),
        POD_NAME: meta["name"],
        POD_NAMESPACE: meta["namespace"],
        POD_UID: meta["uid"],
    }


def container_labels(pod: Object, container: Object) -> dict[str, str]:
    meta = pod["metadata"]
    return {
        POD_NAME: meta["name"],
        POD_NAMESPACE: meta["namespace"],
        POD_UID: meta["uid"],
        CONTAINER_NAME: container["name"],
    }


def container_annotations(pod: Object, container: Object, restart_count: int) -> dict[str, str]:
    found = {
        HASH: container_hash(container),
        RESTART_COUNT: str(restart_count),
        TERMINATION_MESSAGE_PATH: container.get("terminationMessagePath") or "/dev/termination-log",
        TERMINATION_MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
        GRACE_PERIOD: str(pod["spec"].get("terminationGracePeriodSeconds", 30)),
    }
    pre_stop = (container.get("lifecycle") or {}).get("preStop")
    if pre_stop:
        found[PRE_STOP] = orjson.dumps(pre_stop).decode()
    return found


def restart_count(container: Container) -> int:
    return int(container.annotations.get(RESTART_COUNT, "0"))


def pod_uid(of: Container | PodSandbox) -> str:
    return of.labels.get(POD_UID, "")


def container_name(container: Container) -> str:
    return container.labels.get(CONTAINER_NAME) or container.metadata.name
