"""CRI's messages as the engine's objects and back: names, labels, host configuration, states, times. Pure functions."""

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from kubelet.cri import api
from kubelet.cri.api import ContainerState, NamespaceMode, SandboxState

# cri-dockerd's labels
TYPE = "io.kubernetes.docker.type"
SANDBOX_ID = "io.kubernetes.sandbox.id"
LOG_PATH = "io.kubernetes.container.logpath"
_ANNOTATION = "annotation."
# Our own: which node's it is, and what CRI wants back
NODE = "minik8s.io/node"
ROOT_DIR = "minik8s.io/root-dir"
METADATA = "minik8s.io/metadata"
_OWN = (TYPE, SANDBOX_ID, LOG_PATH, NODE, ROOT_DIR, METADATA)

_PROPAGATION = {"PRIVATE": "rprivate", "HOST_TO_CONTAINER": "rslave", "BIDIRECTIONAL": "rshared"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-]\d\d):(\d\d))")


def nanoseconds(text: str) -> int:
    """RFC 3339 with any fraction to nanoseconds since the epoch; the engine's year 1 ("never") is 0."""
    match = _TIME.fullmatch(text)
    if match is None or text.startswith("0001-"):
        return 0
    base, fraction, hours, minutes = match.groups()
    seconds = int(datetime.fromisoformat(base).replace(tzinfo=UTC).timestamp())
    if hours:
        seconds -= int(hours) * 3600 + (-1 if hours.startswith("-") else 1) * int(minutes) * 60
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0")[:9])


def sandbox_name(config: api.PodSandboxConfig) -> str:
    m = config.metadata
    return f"k8s_POD_{m.name}_{m.namespace}_{m.uid}_{m.attempt}"


def container_name(config: api.ContainerConfig, sandbox: api.PodSandboxConfig) -> str:
    m = sandbox.metadata
    return f"k8s_{config.metadata.name}_{m.name}_{m.namespace}_{m.uid}_{config.metadata.attempt}"


def _labels(kind: str, labels: dict[str, str], annotations: dict[str, str], metadata: Any) -> dict[str, str]:
    found = dict(labels) | {_ANNOTATION + key: value for key, value in annotations.items()}
    return found | {TYPE: kind, METADATA: orjson.dumps(metadata).decode()}


def sandbox_labels(config: api.PodSandboxConfig) -> dict[str, str]:
    return _labels("podsandbox", config.labels, config.annotations, config.metadata)


def container_labels(config: api.ContainerConfig, sandbox: str, log_path: str) -> dict[str, str]:
    labels = _labels("container", config.labels, config.annotations, config.metadata)
    return labels | {SANDBOX_ID: sandbox, LOG_PATH: log_path}


def given(labels: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """``(labels, annotations)`` as the kubelet gave them."""
    annotations = {k.removeprefix(_ANNOTATION): v for k, v in labels.items() if k.startswith(_ANNOTATION)}
    rest = {k: v for k, v in labels.items() if k not in _OWN and not k.startswith(_ANNOTATION)}
    return rest, annotations


def sandbox_host_config(config: api.PodSandboxConfig, *, own_network: bool) -> dict[str, Any]:
    """``own_network``: the node's pod network is joined later; otherwise the engine's bridge serves."""
    network = "none" if own_network else "bridge"
    wanted: dict[str, Any] = {
        "NetworkMode": "host" if config.network is NamespaceMode.NODE else network,
        "IpcMode": "host" if config.ipc is NamespaceMode.NODE else "shareable",
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none"},
        "OomScoreAdj": 0,
    }
    if config.pid is NamespaceMode.NODE:
        wanted["PidMode"] = "host"
    if config.sysctls:
        wanted["Sysctls"] = dict(config.sysctls)
    if wanted["NetworkMode"] == "bridge" and config.port_mappings:
        wanted["PortBindings"] = {
            f"{p.container_port}/{p.protocol.lower()}": [{"HostIp": p.host_ip, "HostPort": str(p.host_port)}]
            for p in config.port_mappings
            if p.host_port
        }
    return wanted


def resources(limits: api.LinuxResources) -> dict[str, int]:
    wanted = {
        "Memory": limits.memory_limit_in_bytes,
        "MemorySwap": limits.memory_limit_in_bytes,
        "CpuShares": limits.cpu_shares,
        "CpuPeriod": limits.cpu_period if limits.cpu_quota else 0,
        "CpuQuota": limits.cpu_quota,
        "PidsLimit": limits.pids_limit,
    }
    return {name: value for name, value in wanted.items() if value}


def container_host_config(
    config: api.ContainerConfig,
    sandbox_config: api.PodSandboxConfig,
    sandbox: str,
    pod_files: dict[str, str],
    oom_score_adj: int,
) -> dict[str, Any]:
    security = config.security
    mounted = {mount.container_path.rstrip("/") for mount in config.mounts}
    mounts = [
        {"Type": "bind", "Source": source, "Target": target, "ReadOnly": False}
        for target, source in pod_files.items()
        if target not in mounted
    ]
    mounts += [
        {
            "Type": "bind",
            "Source": mount.host_path,
            "Target": mount.container_path,
            "ReadOnly": mount.readonly,
            "BindOptions": {"Propagation": _PROPAGATION.get(mount.propagation, "rprivate")},
        }
        for mount in config.mounts
    ]
    host_network = sandbox_config.network is NamespaceMode.NODE
    wanted: dict[str, Any] = {
        "NetworkMode": "host" if host_network else f"container:{sandbox}",
        "IpcMode": "host" if sandbox_config.ipc is NamespaceMode.NODE else f"container:{sandbox}",
        "RestartPolicy": {"Name": "no"},
        # The engine keeps the output until we have read it, also while no kubelet runs.
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "2"}},
        "Mounts": mounts,
        "Privileged": security.privileged,
        "ReadonlyRootfs": security.readonly_rootfs,
        "CapAdd": list(security.add_capabilities),
        "CapDrop": list(security.drop_capabilities),
        "GroupAdd": [str(group) for group in security.supplemental_groups],
        "SecurityOpt": security_options(security),
        "OomScoreAdj": oom_score_adj,
        **resources(config.resources),
    }
    if sandbox_config.pid is NamespaceMode.NODE:
        wanted["PidMode"] = "host"
    elif sandbox_config.pid is NamespaceMode.POD:
        wanted["PidMode"] = f"container:{sandbox}"
    if host_network:
        wanted["UTSMode"] = "host"
    return wanted


def security_options(security: api.SecurityContext) -> list[str]:
    """As upstream: without a profile a container is unconfined by seccomp; the engine's default on request."""
    options = ["no-new-privileges"] if security.no_new_privs else []
    if security.seccomp_profile in ("", "unconfined"):
        options.append("seccomp=unconfined")
    elif security.seccomp_profile.startswith("localhost/"):
        options.append("seccomp=" + security.seccomp_profile.removeprefix("localhost/"))
    if security.apparmor_profile.startswith("localhost/"):
        options.append("apparmor=" + security.apparmor_profile.removeprefix("localhost/"))
    return options


def user(security: api.SecurityContext) -> str:
    name = str(security.run_as_user) if security.run_as_user is not None else security.run_as_username
    if security.run_as_group is not None:
        return f"{name or 0}:{security.run_as_group}"
    return name


def sandbox(entry: dict[str, Any]) -> api.PodSandbox:
    """From an entry of the engine's list."""
    labels, annotations = given(entry["Labels"])
    state = SandboxState.READY if entry["State"] == "running" else SandboxState.NOTREADY
    metadata = api.PodSandboxMetadata(**orjson.loads(entry["Labels"][METADATA]))
    return api.PodSandbox(entry["Id"], metadata, state, entry["Created"] * 1_000_000_000, labels, annotations)


def listed_state(entry: dict[str, Any]) -> ContainerState:
    match entry["State"]:
        case "running" | "paused" | "restarting":
            return ContainerState.RUNNING
        case "exited" | "dead":
            return ContainerState.EXITED
        case "created":
            return ContainerState.CREATED
    return ContainerState.UNKNOWN


def container(entry: dict[str, Any]) -> api.Container:
    labels, annotations = given(entry["Labels"])
    return api.Container(
        id=entry["Id"],
        pod_sandbox_id=entry["Labels"][SANDBOX_ID],
        metadata=api.ContainerMetadata(**orjson.loads(entry["Labels"][METADATA])),
        image=entry["Image"],
        image_ref=entry["ImageID"],
        state=listed_state(entry),
        created_at=entry["Created"] * 1_000_000_000,
        labels=labels,
        annotations=annotations,
    )


def container_status(details: dict[str, Any]) -> api.ContainerStatus:
    """From the engine's inspection."""
    state, config = details["State"], details["Config"]
    labels, annotations = given(config["Labels"])
    status = api.ContainerStatus(
        id=details["Id"],
        pod_sandbox_id=config["Labels"][SANDBOX_ID],
        metadata=api.ContainerMetadata(**orjson.loads(config["Labels"][METADATA])),
        image=config["Image"],
        image_ref=details["Image"],
        state=listed_state({"State": state["Status"]}),
        created_at=nanoseconds(details["Created"]),
        labels=labels,
        annotations=annotations,
        started_at=nanoseconds(state["StartedAt"]),
        finished_at=nanoseconds(state["FinishedAt"]),
        exit_code=state["ExitCode"],
        message=state["Error"],
        log_path=config["Labels"][LOG_PATH],
        mounts=[
            api.Mount(mount["Destination"], mount["Source"], not mount["RW"]) for mount in details.get("Mounts", [])
        ],
    )
    if status.state is ContainerState.RUNNING:
        status.finished_at = 0
    elif status.state is ContainerState.CREATED and state["ExitCode"]:
        # It was started, and the engine could not: as cri-dockerd reports it.
        status.state, status.reason = ContainerState.EXITED, "ContainerCannotRun"
        status.started_at = status.finished_at = status.created_at
    elif status.state is ContainerState.EXITED:
        # The engine notes the start after the process may have ended already.
        status.finished_at = max(status.finished_at, status.started_at)
        finished = "Completed" if status.exit_code == 0 else "Error"
        status.reason = "OOMKilled" if state["OOMKilled"] else finished
    return status
