"""Rules of containers, init containers and ephemeral containers (upstream's ``validateContainers`` and its siblings).

Their parts are in modules of their own: ``environment``, ``mounts``, ``probes``, ``amounts`` and ``security``.
"""

from typing import Any

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_found_value,
    not_supported,
    required,
)
from apiserver.registry.amounts import validate_resources
from apiserver.registry.environment import validate_env, validate_env_from
from apiserver.registry.mounts import Volumes, validate_devices, validate_mounts
from apiserver.registry.probes import PROBES, validate_lifecycle, validate_probes
from apiserver.registry.security import validate_container_security

Object = dict[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESIZE_RESOURCES, _RESIZE_POLICIES = ("cpu", "memory"), ("NotRequired", "RestartContainer")
_INIT_FORBIDDEN = "may not be set for init containers without restartPolicy=Always"
_EPHEMERAL = "cannot be set for an Ephemeral Container"
_NOT_EPHEMERAL = ("ports", "resources", "resizePolicy", "restartPolicy", *PROBES, "lifecycle")


class Surroundings:
    """What a pod spec says about all of its containers."""

    __slots__ = ("claims", "grace_period", "host_users", "restart_policy", "system", "volumes")

    def __init__(self, spec: Object, volumes: Volumes) -> None:
        self.volumes = volumes
        self.grace_period: int | None = spec.get("terminationGracePeriodSeconds")
        self.restart_policy: str = spec.get("restartPolicy", "")
        self.host_users = spec.get("hostUsers") is not False
        self.system: str = (spec.get("os") or {}).get("name", "")
        self.claims = frozenset(c["name"] for c in spec.get("resourceClaims") or () if c.get("name"))


def validate_containers(spec: Object, volumes: Volumes, path: str) -> list[FieldError]:
    """All containers and init containers of a pod spec."""
    containers, around = spec.get("containers") or [], Surroundings(spec, volumes)
    found = [] if containers else [required(f"{path}.containers")]
    seen: set[str] = set()
    for i, container in enumerate(containers):
        where = f"{path}.containers[{i}]"
        found += _container(container, around, where)
        found += _name_is_new(container, seen, where)
        found += validate_lifecycle(container, around.grace_period, where, around.system)
        found += validate_probes(container, where)
        if "restartPolicy" in container:
            found.append(forbidden_field(f"{where}.restartPolicy", "may not be set for non-init containers"))
    found += _host_ports(containers, f"{path}.containers")
    for i, container in enumerate(spec.get("initContainers") or ()):
        where = f"{path}.initContainers[{i}]"
        found += _container(container, around, where)
        found += _init_restart(container, where)
        found += _name_is_new(container, seen, where)
        found += _host_ports([container], f"{path}.initContainers")  # one after the other: each has the ports to itself
        found += _init(container, around, where)
    return found


def _name_is_new(container: Object, seen: set[str], path: str) -> list[FieldError]:
    name = container.get("name", "")
    if name and name in seen:
        return [duplicate(f"{path}.name", name)]
    seen.add(name)
    return []


def _init_restart(container: Object, path: str) -> list[FieldError]:
    policy = container.get("restartPolicy")
    return [] if policy in (None, "Always") else [not_supported(f"{path}.restartPolicy", policy, ("Always",))]


def _init(container: Object, around: Surroundings, path: str) -> list[FieldError]:
    if container.get("restartPolicy") == "Always":
        found = validate_lifecycle(container, around.grace_period, path, around.system)
        return found + validate_probes(container, path)
    return [forbidden_field(f"{path}.{f}", _INIT_FORBIDDEN) for f in ("lifecycle", *PROBES) if f in container]


def validate_ephemeral_containers(spec: Object, volumes: Volumes, path: str) -> list[FieldError]:
    """Containers added to a running pod: their own names, and nothing that a pod could come to depend on."""
    around = Surroundings(spec, volumes)
    targets = {c.get("name", "") for f in ("containers", "initContainers") for c in spec.get(f) or ()}
    seen = set(targets)
    found: list[FieldError] = []
    for i, container in enumerate(spec.get("ephemeralContainers") or ()):
        where = f"{path}.ephemeralContainers[{i}]"
        found += _container(container, around, where)
        found += image_is_trimmed(container, where)
        found += _name_is_new(container, seen, where)
        target = container.get("targetContainerName")
        if target and target not in targets:
            found.append(not_found_value(f"{where}.targetContainerName", target))
        found += [forbidden_field(f"{where}.{f}", _EPHEMERAL) for f in _NOT_EPHEMERAL if container.get(f)]
        for j, mount in enumerate(container.get("volumeMounts") or ()):
            given = [f for f in ("subPath", "subPathExpr") if mount.get(f)]
            found += [forbidden_field(f"{where}.volumeMounts[{j}].{f}", _EPHEMERAL) for f in given]
    return found


def image_is_trimmed(container: Object, path: str) -> list[FieldError]:
    """Only asked of pods: templates with such images exist."""
    image = container.get("image", "")
    if image.strip() == image:
        return []
    return [invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")]


def _container(container: Object, around: Surroundings, path: str) -> list[FieldError]:
    """What holds for containers of every kind."""
    found: list[FieldError] = []
    name = container.get("name", "")
    if not name:
        found.append(required(f"{path}.name"))
    else:
        found += [invalid_value(f"{path}.name", name, p) for p in names.dns1123_label(name)]
    if not container.get("image"):
        found.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy", "")
    if not policy:
        found.append(required(f"{path}.terminationMessagePolicy"))
    elif policy not in ("File", "FallbackToLogsOnError"):
        found.append(not_supported(f"{path}.terminationMessagePolicy", policy, ("File", "FallbackToLogsOnError")))
    if ports := container.get("ports"):
        found += _ports(ports, f"{path}.ports")
    if env := container.get("env"):
        found += validate_env(env, f"{path}.env")
    if sources := container.get("envFrom"):
        found += validate_env_from(sources, f"{path}.envFrom")
    if "volumeMounts" in container:
        found += validate_mounts(container, around.volumes, f"{path}.volumeMounts")
    if "volumeDevices" in container:
        found += validate_devices(container, around.volumes, f"{path}.volumeDevices")
    found += validate_pull_policy(container.get("imagePullPolicy", ""), f"{path}.imagePullPolicy")
    if resources := container.get("resources"):
        found += validate_resources(resources, f"{path}.resources", around.claims)
    if resizes := container.get("resizePolicy"):
        found += _resize(resizes, around.restart_policy, f"{path}.resizePolicy")
    if context := container.get("securityContext"):
        found += validate_container_security(context, f"{path}.securityContext", host_users=around.host_users)
    return found


def validate_pull_policy(policy: str, path: str) -> list[FieldError]:
    if not policy:
        return [required(path)]
    return [] if policy in PULL_POLICIES else [not_supported(path, policy, PULL_POLICIES)]


def _resize(policies: list[Object], restart_policy: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, entry in enumerate(policies):
        name, policy = entry.get("resourceName", ""), entry.get("restartPolicy", "")
        if name in seen:
            found.append(duplicate(f"{path}[{i}]", name))
        seen.add(name)
        for value, supported in ((name, _RESIZE_RESOURCES), (policy, _RESIZE_POLICIES)):
            if not value:
                found.append(required(path))
            elif value not in supported:
                found.append(not_supported(path, value, supported))
        if restart_policy == "Never" and policy != "NotRequired":
            found.append(invalid_value(path, policy, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
    return found


# --- ports ------------------------------------------------------------------------------------------------------


def _ports(ports: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, port in enumerate(ports):
        where = f"{path}[{i}]"
        name, number, host_port = port.get("name"), port.get("containerPort", 0), port.get("hostPort", 0)
        if name:
            problems = names.port_name(name)
            found += [invalid_value(f"{where}.name", name, p) for p in problems]
            if not problems and name in seen:
                found.append(duplicate(f"{where}.name", name))
            seen.add(name)
        if not number:
            found.append(required(f"{where}.containerPort"))
        else:
            found += [invalid_value(f"{where}.containerPort", number, p) for p in names.port_number(number)]
        if host_port:
            found += [invalid_value(f"{where}.hostPort", host_port, p) for p in names.port_number(host_port)]
        protocol = port.get("protocol", "")
        if not protocol:
            found.append(required(f"{where}.protocol"))
        elif protocol not in PROTOCOLS:
            found.append(not_supported(f"{where}.protocol", protocol, PROTOCOLS))
    return found


def _host_ports(containers: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, container in enumerate(containers):
        for j, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            taken = f"{port.get('protocol')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if taken in seen:
                found.append(duplicate(f"{path}[{i}].ports[{j}].hostPort", taken))
            seen.add(taken)
    return found
