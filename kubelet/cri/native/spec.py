"""From CRI's container configuration to what the monitor launches: a pure function of its inputs.

Keys of a container's specification (builtin types only, for ``marshal``):

``directory`` the container's own; ``mode`` root|user|plain; ``sandbox`` pid of the pause process; ``join`` its namespaces
to enter; ``new_pid``; ``shm`` whether the pod has its own /dev/shm; ``cgroups`` directories to enter and ``cgroup_view``
what to mount of them; ``layers`` and ``lower`` the image's directories, ``lower`` relative to ``layers``; ``hide``;
``mounts`` of ``(source, target, read-only, propagation)``; ``args env cwd user group groups capabilities privileged
seccomp no_new_privs readonly tty stdin stdin_once oom_score_adj``; ``log`` its file.
"""

from typing import Any

from kubelet.cri import api
from kubelet.cri.api import NamespaceMode, RuntimeServiceError
from kubelet.cri.native.records import ContainerRecord, Sandbox
from kubelet.cri.native.shim.identity import capability_mask
from kubelet.images.store import ImageFiles

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHM_SIZE = 64 << 20  # Docker's and containerd's default


def pause_spec(sandbox: Sandbox, state_dir: str) -> dict[str, Any]:
    """The pause process: which namespaces the pod has to itself."""
    config = sandbox.config
    new: list[str] = []
    if sandbox.mode != "plain":
        new = ["mnt"]
        if sandbox.mode == "user":
            new.append("user")
        if config.network is not NamespaceMode.NODE:
            new.append("uts")
            if sandbox.mode == "root":
                new.append("net")
        if config.ipc is not NamespaceMode.NODE:
            new.append("ipc")
        if config.pid is NamespaceMode.POD:
            new.append("pid")
    return {
        "new": new,
        "mark": f"{state_dir}:{sandbox.id}",
        "hostname": config.hostname,
        "shm_size": SHM_SIZE if "ipc" in new else 0,
        "sysctls": sorted(config.sysctls.items()) if sandbox.mode == "root" else [],
        "cgroups": [],
    }


def command(config: api.ContainerConfig, image: ImageFiles) -> list[str]:
    """Kubernetes' rule: ``command`` replaces entrypoint and cmd, ``args`` alone replaces cmd."""
    if config.command:
        arguments = [*config.command, *config.args]
    else:
        arguments = [*image.entrypoint, *(config.args or image.cmd)]
    if not arguments:
        raise RuntimeServiceError(f"image {config.image} has no command, and the container names none")
    return arguments


def environment(config: api.ContainerConfig, image: ImageFiles, hostname: str) -> list[str]:
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    for entry in image.env:
        name, _, value = entry.partition("=")
        values[name] = value
    values.update(config.envs)
    return [f"{name}={value}" for name, value in values.items()]


def container_spec(
    record: ContainerRecord,
    sandbox: Sandbox,
    image: ImageFiles,
    *,
    directory: str,
    cgroups: list[str],
    cgroup_view: list[tuple[str, str, str]],
    pod_files: dict[str, str],
    hide: list[str],
) -> dict[str, Any]:
    config, pod = record.config, sandbox.config
    security = config.security
    if security.seccomp_profile.startswith("localhost/"):
        raise RuntimeServiceError(
            "the native runtime has no seccomp filters of its own: localhost profiles cannot be used"
        )
    mounted = {mount.container_path.rstrip("/") for mount in config.mounts}
    mounts = [(source, target, False, "PRIVATE") for target, source in pod_files.items() if target not in mounted]
    mounts += [(m.host_path, m.container_path, m.readonly, m.propagation) for m in config.mounts]
    joined = [kind for kind in pause_spec(sandbox, "")["new"] if kind != "mnt"]
    user = security.run_as_username or image.user
    if security.run_as_user is not None:
        user = str(security.run_as_user)
    try:
        capabilities = capability_mask(security.add_capabilities, security.drop_capabilities)
    except ValueError as e:
        raise RuntimeServiceError(str(e)) from e
    return {
        "directory": directory,
        "mode": sandbox.mode,
        "sandbox": sandbox.pid,
        "join": joined,
        "new_pid": sandbox.mode != "plain" and pod.pid is NamespaceMode.CONTAINER,
        "shm": "ipc" in joined,
        "cgroups": cgroups,
        "cgroup_view": cgroup_view if cgroups else [],
        "layers": image.layers,
        "lower": list(image.lower),
        "hide": hide if image.is_host else [],
        "mounts": mounts,
        "args": command(config, image),
        "env": environment(config, image, pod.hostname),
        "cwd": config.working_dir or image.working_dir or (directory + "/work" if sandbox.mode == "plain" else "/"),
        "user": user,
        "group": -1 if security.run_as_group is None else security.run_as_group,
        "groups": list(security.supplemental_groups),
        "capabilities": capabilities,
        "privileged": security.privileged,
        "seccomp": security.seccomp_profile == "runtime/default" and not security.privileged,
        "no_new_privs": security.no_new_privs,
        "readonly": security.readonly_rootfs,
        "tty": config.tty,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "oom_score_adj": config.resources.oom_score_adj,
        "log": record.log_path,
    }


def exec_spec(arguments: list[str], *, tty: bool) -> dict[str, Any]:
    """What an exec changes of its container's specification."""
    return {"args": arguments, "tty": tty}


def resolv_conf(dns: api.DNSConfig) -> str:
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "\n".join(lines) + "\n"


def hosts(hostname: str, ip: str) -> str:
    """For pods whose kubelet brings no /etc/hosts of its own."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if ip and hostname:
        lines.append(f"{ip}\t{hostname}")
    return "\n".join(lines) + "\n"
