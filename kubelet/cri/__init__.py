"""The container runtime interface: what a kubelet asks of a runtime.

The calls and message shapes are those of the CRI v1 gRPC API (``runtime.v1.RuntimeService`` and ``ImageService``,
kubernetes/cri-api), as plain dataclasses, so that an adapter for containerd is a translation of names and nothing
more. Read :mod:`kubelet.cri.api`. Adapters: :mod:`kubelet.cri.native` (Linux namespaces, no engine) and
:mod:`kubelet.cri.docker` (a Docker engine). :func:`connect` picks one by the endpoint.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kubelet.cri.api import ImageService, RuntimeService


def connect(
    endpoint: str,
    *,
    node_name: str,
    root_dir: str,
    pod_cidr: str = "",
    image_dir: str = "",
    hide: tuple[str, ...] = (),
    pod_infra_container_image: str = "",
) -> "tuple[RuntimeService, ImageService]":
    """The runtime behind a ``--container-runtime-endpoint``; nothing is touched before ``await runtime.start()``.

    ``native://`` is the embedded runtime, a ``unix://...docker.sock`` or ``tcp://`` engine is Docker. ``root_dir`` is the
    kubelet's (``--root-dir``): runtimes keep what must survive the kubelet below it. ``pod_cidr`` may be empty and come
    later by ``update_runtime_config``. ``image_dir`` is the machine's image store (default: ``.images`` beside
    ``root_dir``, shared by the nodes of one cluster). ``hide`` lists directories which containers on the host's own root
    (images ``mk8s.local/...``) must not see, besides the cluster's state. ``pod_infra_container_image`` is Docker's pause
    image. ``ValueError`` for an endpoint that is neither.
    """
    if endpoint in ("native", "native://"):
        from kubelet.cri.native.runtime import open_native

        return open_native(root_dir=root_dir, pod_cidr=pod_cidr, image_dir=image_dir, hide=hide)
    if endpoint.startswith("tcp://") or (endpoint.startswith("unix://") and "docker" in endpoint):
        from kubelet.cri.docker import open_docker

        return open_docker(
            endpoint,
            node_name=node_name,
            root_dir=root_dir,
            pod_cidr=pod_cidr,
            pod_infra_container_image=pod_infra_container_image,
        )
    raise ValueError(
        f"--container-runtime-endpoint {endpoint!r}: use native:// or a Docker engine's socket, "
        "such as unix:///var/run/docker.sock"
    )
