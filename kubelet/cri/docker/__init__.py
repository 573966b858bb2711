"""The runtime adapter for a Docker engine.

A sandbox is a pause container without a network (``--network none --ipc shareable``), which the node's pod network is then
given to exactly as to a native one; the pod's containers share its network and IPC. All objects carry the labels that
cri-dockerd gives them, and the node's own: several nodes may share one engine, each sees only what is its own.

Calls go through the ``docker`` package in threads (:mod:`.engine`); what streams for long, logs, events, execs and attaches,
is read by the event loop itself (:mod:`.streams`), because a thread for each would not do. Read :mod:`.runtime` first.

What Docker cannot do: put a pod into the node's network namespace. A pod with ``hostNetwork`` uses the network of the
machine that the engine runs on. Cgroup parents are left to the engine.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubelet.cri.docker.images import DockerImages
    from kubelet.cri.docker.runtime import DockerRuntime


def open_docker(
    endpoint: str,
    *,
    node_name: str,
    root_dir: str,
    pod_cidr: str = "",
    pod_infra_container_image: str = "",
) -> "tuple[DockerRuntime, DockerImages]":
    from kubelet.cri.docker.engine import Engine
    from kubelet.cri.docker.images import DockerImages
    from kubelet.cri.docker.runtime import DockerRuntime

    engine = Engine(endpoint)
    images = DockerImages(engine)
    runtime = DockerRuntime(
        engine, images, node_name=node_name, root_dir=root_dir, pod_cidr=pod_cidr, pause_image=pod_infra_container_image
    )
    return runtime, images
