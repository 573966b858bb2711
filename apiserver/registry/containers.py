"""Rules of containers: names, images, ports, environment, mounts, probes, resources, security (upstream's
``validateContainers``)."""

from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_found_value,
    not_supported,
    required,
)
from apiserver.registry.objectmeta import NON_NEGATIVE
from apiserver.registry.volumes import local_path

Object = dict[str, Any]
Volumes = dict[str, Object]

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_ENV_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_NATIVE_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage", "storage", "pods"))
_CONTAINER_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage"))
_INIT_FORBIDDEN = "may not be set for init containers without restartPolicy=Always"


def validate_containers(spec: Object, volumes: Volumes, grace_period: int | None, path: str) -> list[FieldError]:
    """All containers and init containers of a pod spec."""
    containers, init = spec.get("containers") or [], spec.get("initContainers") or []
    if not containers:
        return [required(f"{path}.containers")]
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, container in enumerate(containers):
        where = f"{path}.containers[{i}]"
        found += _container(container, volumes, where)
        found += _name_is_new(container, seen, where)
        found += _lifecycle(container, grace_period, where)
        found += _probes(container, grace_period, where)
        if "restartPolicy" in container:
            found.append(forbidden_field(f"{where}.restartPolicy", "may not be set for non-init containers"))
    found += _host_ports(containers, f"{path}.containers")
    for i, container in enumerate(init):
        where = f"{path}.initContainers[{i}]"
        found += _container(container, volumes, where)
        found += _name_is_new(container, seen, where)
        found += _init(container, grace_period, where)
    return found


def _name_is_new(container: Object, seen: set[str], path: str) -> list[FieldError]:
    name = container.get("name", "")
    if name and name in seen:
        return [duplicate(f"{path}.name", name)]
    seen.add(name)
    return []


def _init(container: Object, grace_period: int | None, path: str) -> list[FieldError]:
    policy = container.get("restartPolicy")
    if policy is not None and policy != "Always":
        return [not_supported(f"{path}.restartPolicy", policy, ("Always",))]
    if policy == "Always":
        return _lifecycle(container, grace_period, path) + _probes(container, grace_period, path)
    fields = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
    return [forbidden_field(f"{path}.{f}", _INIT_FORBIDDEN) for f in fields if f in container]


def validate_ephemeral_containers(spec: Object, volumes: Volumes, path: str) -> list[FieldError]:
    """Containers added to a running pod: their own names, no ports, probes or resources."""
    seen = {c.get("name", "") for f in ("containers", "initContainers") for c in spec.get(f) or ()}
    targets = set(seen)
    found: list[FieldError] = []
    for i, container in enumerate(spec.get("ephemeralContainers") or ()):
        where = f"{path}.ephemeralContainers[{i}]"
        found += _container(container, volumes, where)
        found += _name_is_new(container, seen, where)
        target = container.get("targetContainerName")
        if target and target not in targets:
            found.append(not_found_value(f"{where}.targetContainerName", target))
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "ports", "resizePolicy"):
            if container.get(field):
                detail = "cannot be set for an Ephemeral Container"
                found.append(forbidden_field(f"{where}.{field}", detail))
        for field in ("limits", "requests"):
            if (container.get("resources") or {}).get(field):
                found.append(forbidden_field(f"{where}.resources", "cannot be set for an Ephemeral Container"))
    return found


def _container(container: Object, volumes: Volumes, path: str) -> list[FieldError]:
    """What holds for containers of every kind."""
    found: list[FieldError] = []
    name, image = container.get("name", ""), container.get("image", "")
    if not name:
        found.append(required(f"{path}.name"))
    else:
        found += [invalid_value(f"{path}.name", name, p) for p in names.dns1123_label(name)]
    if not image:
        found.append(required(f"{path}.image"))
    elif image.strip() != image:
        found.append(invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace"))
    policy = container.get("terminationMessagePolicy", "File")
    if policy not in ("File", "FallbackToLogsOnError"):
        found.append(not_supported(f"{path}.terminationMessagePolicy", policy, ("FallbackToLogsOnError", "File")))
    if ports := container.get("ports"):
        found += _ports(ports, f"{path}.ports")
    if env := container.get("env"):
        found += _env(env, f"{path}.env")
    if sources := container.get("envFrom"):
        found += _env_from(sources, f"{path}.envFrom")
    found += _mounts(container, volumes, path)
    pull = container.get("imagePullPolicy", "")
    if not pull:
        found.append(required(f"{path}.imagePullPolicy"))
    elif pull not in _PULL_POLICIES:
        found.append(not_supported(f"{path}.imagePullPolicy", pull, _PULL_POLICIES))
    if resources := container.get("resources"):
        found += validate_resources(resources, f"{path}.resources")
    if context := container.get("securityContext"):
        found += _security_context(context, f"{path}.securityContext")
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
            taken = f"{port['hostPort']}/{port.get('protocol')}/{port.get('hostIP', '')}"
            shown = f"{port.get('protocol')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if taken in seen:
                found.append(duplicate(f"{path}[{i}].ports[{j}].hostPort", shown))
            seen.add(taken)
    return found


# --- environment ------------------------------------------------------------------------------------------------


def _env(variables: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, variable in enumerate(variables):
        where = f"{path}[{i}]"
        name = variable.get("name", "")
        if not name:
            found.append(required(f"{where}.name"))
        else:
            found += [invalid_value(f"{where}.name", name, p) for p in names.env_var_name(name)]
        if "valueFrom" in variable:
            found += _value_from(variable, f"{where}.valueFrom")
    return found


def _value_from(variable: Object, path: str) -> list[FieldError]:
    source = variable["valueFrom"]
    given = [f for f in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef") if f in source]
    found: list[FieldError] = []
    if "fieldRef" in given:
        found += _field_ref(source["fieldRef"], f"{path}.fieldRef")
    if "resourceFieldRef" in given:
        resource = source["resourceFieldRef"].get("resource", "")
        if not resource:
            found.append(required(f"{path}.resourceFieldRef.resource"))
        elif resource not in _ENV_RESOURCES and "hugepages-" not in resource:
            found.append(not_supported(f"{path}.resourceFieldRef.resource", resource, _ENV_RESOURCES))
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in given:
            found += _key_ref(source[kind], f"{path}.{kind}")
    if not given:
        detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        found.append(invalid_value(path, "", detail))
    elif variable.get("value"):
        found.append(invalid_value(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        found.append(invalid_value(path, "", "may not have more than one field specified at a time"))
    return found


def _field_ref(ref: Object, path: str) -> list[FieldError]:
    field = ref.get("fieldPath", "")
    if not ref.get("apiVersion"):
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    for annotated in ("metadata.annotations", "metadata.labels"):
        if field.startswith(annotated + "['") and field.endswith("']"):
            key = field[len(annotated) + 2 : -2]
            return [invalid_value(f"{path}.fieldPath", field, p) for p in names.qualified_name(key.lower())]
    return [] if field in _ENV_FIELDS else [not_supported(f"{path}.fieldPath", field, _ENV_FIELDS)]


def _key_ref(ref: Object, path: str) -> list[FieldError]:
    found = [] if ref.get("name") else [required(f"{path}.name")]
    key = ref.get("key", "")
    if not key:
        found.append(required(f"{path}.key"))
    else:
        found += [invalid_value(f"{path}.key", key, p) for p in names.config_map_key(key)]
    return found


def _env_from(sources: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, source in enumerate(sources):
        where = f"{path}[{i}]"
        if source.get("prefix"):
            found += [
                invalid_value(f"{where}.prefix", source["prefix"], p) for p in names.env_var_name(source["prefix"])
            ]
        given = [f for f in ("configMapRef", "secretRef") if f in source]
        found += [required(f"{where}.{f}.name") for f in given if not source[f].get("name")]
        if not given:
            found.append(invalid_value(where, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            found.append(invalid_value(where, "", "may not have more than one field specified at a time"))
    return found


# --- mounts -----------------------------------------------------------------------------------------------------


def _mounts(container: Object, volumes: Volumes, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{i}]"
        name, at = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(required(f"{where}.name"))
        elif name not in volumes:
            found.append(not_found_value(f"{where}.name", name))
        if not at:
            found.append(required(f"{where}.mountPath"))
        elif at in seen:
            found.append(invalid_value(f"{where}.mountPath", at, "must be unique"))
        seen.add(at)
        if mount.get("subPath"):
            found += local_path(mount["subPath"], f"{where}.subPath")
        if mount.get("subPathExpr"):
            if mount.get("subPath"):
                detail = "subPathExpr and subPath are mutually exclusive"
                found.append(invalid_value(f"{where}.subPathExpr", mount["subPathExpr"], detail))
            found += local_path(mount["subPathExpr"], f"{where}.subPathExpr")
        propagation = mount.get("mountPropagation")
        if propagation is not None and propagation not in ("Bidirectional", "HostToContainer", "None"):
            choices = ("Bidirectional", "HostToContainer", "None")
            found.append(not_supported(f"{where}.mountPropagation", propagation, choices))
    for i, device in enumerate(container.get("volumeDevices") or ()):
        where = f"{path}.volumeDevices[{i}]"
        if not device.get("name"):
            found.append(required(f"{where}.name"))
        elif device["name"] not in volumes:
            found.append(not_found_value(f"{where}.name", device["name"]))
        if not device.get("devicePath"):
            found.append(required(f"{where}.devicePath"))
    return found


# --- probes and lifecycle ---------------------------------------------------------------------------------------

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def _handler(handler: Object, path: str, grace_period: int | None) -> list[FieldError]:
    given = [h for h in _HANDLERS if h in handler]
    if not given:
        return [required(path, "must specify a handler type")]
    found = [forbidden_field(f"{path}.{h}", "may not specify more than 1 handler type") for h in given[1:]]
    kind, action = given[0], handler[given[0]]
    where = f"{path}.{kind}"
    if kind == "exec" and not action.get("command"):
        found.append(required(f"{where}.command"))
    elif kind == "httpGet":
        found += _http_get(action, where)
    elif kind == "tcpSocket":
        found += port_or_name(action.get("port", 0), f"{where}.port")
    elif kind == "grpc":
        found += [
            invalid_value(f"{where}.port", action.get("port", 0), p) for p in names.port_number(action.get("port", 0))
        ]
    elif kind == "sleep":
        seconds = action.get("seconds", 0)
        if seconds < 0 or (grace_period is not None and seconds > grace_period):
            detail = (
                "must be non-negative and less than terminationGracePeriodSeconds "
                f"({grace_period}). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."
            )
            found.append(invalid_value(where, seconds, detail))
    return found


def _http_get(action: Object, path: str) -> list[FieldError]:
    found = [] if action.get("path") else [required(f"{path}.path")]
    found += port_or_name(action.get("port", 0), f"{path}.port")
    if action.get("scheme", "HTTP") not in ("HTTP", "HTTPS"):
        found.append(not_supported(f"{path}.scheme", action["scheme"], ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        found += [invalid_value(f"{path}.httpHeaders", name, p) for p in names.http_header_name(name)]
    return found


def port_or_name(port: int | str, path: str) -> list[FieldError]:
    problems = names.port_number(port) if isinstance(port, int) else names.port_name(port)
    return [invalid_value(path, port, p) for p in problems]


def _probes(container: Object, grace_period: int | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        where = f"{path}.{kind}"
        found += _handler(probe, where, None)
        numbers = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
        found += [invalid_value(f"{where}.{n}", probe[n], NON_NEGATIVE) for n in numbers if probe.get(n, 0) < 0]
        if kind == "readinessProbe":
            if "terminationGracePeriodSeconds" in probe:
                seconds = probe["terminationGracePeriodSeconds"]
                detail = "must not be set for readinessProbes"
                found.append(invalid_value(f"{where}.terminationGracePeriodSeconds", seconds, detail))
        else:
            if probe.get("terminationGracePeriodSeconds", 1) <= 0:
                seconds = probe["terminationGracePeriodSeconds"]
                found.append(invalid_value(f"{where}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))
            if probe.get("successThreshold", 1) != 1:
                found.append(invalid_value(f"{where}.successThreshold", probe["successThreshold"], "must be 1"))
    return found


def _lifecycle(container: Object, grace_period: int | None, path: str) -> list[FieldError]:
    lifecycle = container.get("lifecycle") or {}
    found: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            found += _handler(lifecycle[hook], f"{path}.lifecycle.{hook}", grace_period)
    if lifecycle.get("stopSignal"):
        detail = "may not be set when `os.name` is empty"
        found.append(forbidden_field(f"{path}.lifecycle.stopSignal", detail))
    return found


# --- resources and security -------------------------------------------------------------------------------------


def _resource_name(name: str, path: str) -> list[FieldError]:
    problems = names.qualified_name(name)
    if problems:
        return [invalid_value(path, name, p) for p in problems]
    if "/" not in name:
        if name not in _NATIVE_RESOURCES and not name.startswith("hugepages-"):
            return [invalid_value(path, name, "must be a standard resource type or fully qualified")]
        if name not in _CONTAINER_RESOURCES and not name.startswith("hugepages-"):
            return [invalid_value(path, name, "must be a standard resource for containers")]
    return []


def validate_resources(resources: Object, path: str) -> list[FieldError]:
    """Requests never exceed limits; what cannot be overcommitted needs a limit equal to its request."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    found: list[FieldError] = []
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{path}.{field}"
            found += _resource_name(name, where)
            found += validate_amount(name, amount, f"{where}[{name}]")
    for name, amount in requests.items():
        where = f"{path}.requests"
        if name in limits:
            larger = quantity.compare(amount, limits[name])
            if larger > 0:
                detail = f"must be less than or equal to {name} limit of {limits[name]}"
                found.append(invalid_value(where, amount, detail))
            elif larger and not _overcommits(name):
                detail = f"must be equal to {name} limit of {limits[name]}"
                found.append(invalid_value(where, amount, detail))
        elif not _overcommits(name):
            found.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
    return found


def _overcommits(name: str) -> bool:
    return ("/" not in name or name.rpartition("/")[0].endswith("kubernetes.io")) and not name.startswith("hugepages-")


def validate_amount(name: str, amount: str, path: str) -> list[FieldError]:
    if amount.startswith("-"):
        return [invalid_value(path, amount, NON_NEGATIVE)]
    if not _overcommits(name) and "/" in name and quantity.parse(amount).milli_value % 1000:
        return [invalid_value(path, amount, "must be an integer")]
    return []


def _security_context(context: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= 0x7FFFFFFF:
            found.append(invalid_value(f"{path}.{field}", value, names.between(0, 0x7FFFFFFF)))
    if context.get("procMount", "Default") not in ("Default", "Unmasked"):
        found.append(not_supported(f"{path}.procMount", context["procMount"], ("Default", "Unmasked")))
    found += validate_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(invalid_value(path, context, detail))
        if "SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(invalid_value(path, context, detail))
    return found


def validate_seccomp(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if kind == "Localhost":
        return [] if local else [required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")]
    found: list[FieldError] = []
    if not kind:
        found.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in ("RuntimeDefault", "Unconfined"):
        found.append(not_supported(f"{path}.type", kind, ("Localhost", "RuntimeDefault", "Unconfined")))
    if local is not None:
        detail = "can only be set when seccomp type is Localhost"
        found.append(invalid_value(f"{path}.localhostProfile", local, detail))
    return found
