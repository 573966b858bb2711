"""Which pod and container a request is about, or why that cannot be answered."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from kubelet.cri.api import ContainerState
from kubelet.pods import spec

if TYPE_CHECKING:
    from kubelet.agent import Kubelet

Object = dict[str, Any]


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def find(kubelet: "Kubelet", request: Request) -> tuple[Object, Object]:
    """The pod and container that the path names."""
    parts = request.path_params
    workers = kubelet.workers
    pod = workers.pod(parts["namespace"], parts["pod"], parts.get("uid", "")) if workers is not None else None
    if pod is None:
        raise Refused(404, f'pod "{parts["pod"]}" not found\n')
    container = spec.container_named(pod, parts["container"])
    if container is None:
        raise Refused(404, f'container "{parts["container"]}" not found in pod "{parts["pod"]}"\n')
    return pod, container


def running_container(kubelet: "Kubelet", pod: Object, name: str) -> str:
    seen = kubelet.cache.pod(pod["metadata"]["uid"]).container(name)
    if seen is None or seen.state is not ContainerState.RUNNING:
        raise Refused(500, f'unable to upgrade connection: container not found ("{name}")')
    return seen.id
