"""From a pod's spec to the runtime's configurations of its sandbox and containers."""

from dataclasses import dataclass, field
from typing import Any

from kubelet.cri.api import (
    ContainerConfig,
    ContainerMetadata,
    Image,
    Mount,
    NamespaceMode,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
)
from kubelet.layout import Layout, log_path
from kubelet.pods import dns as pod_dns
from kubelet.pods import labels, spec
from kubelet.pods.dns import ClusterDns
from kubelet.pods.expansion import expand
from kubelet.pods.resources import linux_resources
from kubelet.pods.security import check_non_root, security_context

Object = dict[str, Any]

_PROPAGATION = {"HostToContainer": "HOST_TO_CONTAINER", "Bidirectional": "BIDIRECTIONAL"}


@dataclass(slots=True)
class NodeSettings:
    """What containers need to know of the node that they run on."""

    name: str
    ips: list[str]
    layout: Layout
    dns: ClusterDns = field(default_factory=ClusterDns)
    memory_capacity: int = 1
    allocatable: dict[str, str] = field(default_factory=dict)


def sandbox_config(pod: Object, node: NodeSettings, attempt: int) -> PodSandboxConfig:
    meta, pod_spec = pod["metadata"], pod["spec"]
    security = pod_spec.get("securityContext") or {}
    config = PodSandboxConfig(
        metadata=PodSandboxMetadata(meta["name"], meta["uid"], meta["namespace"], attempt),
        hostname=pod_dns.kernel_hostname(pod, node.dns.domain, node.name),
        log_directory=str(node.layout.pod_logs(meta["namespace"], meta["name"], meta["uid"])),
        dns_config=pod_dns.pod_dns(pod, node.dns),
        port_mappings=port_mappings(pod),
        labels=labels.sandbox_labels(pod),
        annotations=dict(meta.get("annotations") or {}),
        sysctls={s["name"]: s["value"] for s in security.get("sysctls") or []},
    )
    if spec.is_host_network(pod):
        config.network = NamespaceMode.NODE
    if pod_spec.get("hostPID"):
        config.pid = NamespaceMode.NODE
    elif pod_spec.get("shareProcessNamespace"):
        config.pid = NamespaceMode.POD
    if pod_spec.get("hostIPC"):
        config.ipc = NamespaceMode.NODE
    return config


def port_mappings(pod: Object) -> list[PortMapping]:
    """The host ports; on the host's network a container port is one already."""
    if spec.is_host_network(pod):
        return []
    return [
        PortMapping(p["containerPort"], p["hostPort"], p.get("protocol") or "TCP", p.get("hostIP") or "")
        for container in (*spec.init_containers(pod), *spec.containers(pod))
        if container in spec.containers(pod) or spec.is_sidecar(container)
        for p in container.get("ports") or []
        if p.get("hostPort")
    ]


def container_config(
    pod: Object,
    container: Object,
    node: NodeSettings,
    *,
    image: Image,
    attempt: int,
    environment: dict[str, str],
    volume_mounts: list[Mount],
) -> ContainerConfig:
    """Raises ContainerFailure when the image's user is not allowed."""
    check_non_root(pod, container, image)
    name, uid = container["name"], pod["metadata"]["uid"]
    mounts = [*volume_mounts]
    targets = {m.container_path for m in mounts}
    if "/etc/hosts" not in targets and not spec.is_host_network(pod):
        mounts.append(Mount("/etc/hosts", str(node.layout.etc_hosts(uid))))
    message_path = container.get("terminationMessagePath") or "/dev/termination-log"
    if message_path not in targets:
        mounts.append(Mount(message_path, str(node.layout.termination_message(uid, name, attempt))))
    return ContainerConfig(
        metadata=ContainerMetadata(name, attempt),
        image=container["image"],
        command=[expand(word, environment) for word in container.get("command") or []],
        args=[expand(word, environment) for word in container.get("args") or []],
        working_dir=container.get("workingDir") or "",
        envs=list(environment.items()),
        mounts=mounts,
        labels=labels.container_labels(pod, container),
        annotations=labels.container_annotations(pod, container, attempt),
        log_path=log_path(name, attempt),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=linux_resources(pod, container, node.memory_capacity),
        security=security_context(pod, container),
        stop_signal=(container.get("lifecycle") or {}).get("stopSignal") or "",
    )


def propagation(mount: Object) -> str:
    return _PROPAGATION.get(mount.get("mountPropagation") or "", "PRIVATE")
