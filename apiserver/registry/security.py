"""Rules of security contexts, of pods and of containers, and of which fields an operating system has."""

import re
from collections.abc import Iterator
from typing import Any

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from apiserver.registry.volumes import local_path

Object = dict[str, Any]

_MAX_ID = 0x7FFFFFFF
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def containers_with_path(spec: Object, path: str) -> Iterator[tuple[Object, str]]:
    """Every container of a pod spec and where it stands, in upstream's order."""
    for field in _CONTAINER_LISTS:
        for i, container in enumerate(spec.get(field) or ()):
            yield container, f"{path}.{field}[{i}]"


def _ids(context: Object, path: str, *fields: str) -> list[FieldError]:
    values = [(field, context.get(field)) for field in fields]
    wrong = [(field, value) for field, value in values if value is not None and not 0 <= value <= _MAX_ID]
    return [invalid_value(f"{path}.{field}", value, names.between(0, _MAX_ID)) for field, value in wrong]


# --- containers -------------------------------------------------------------------------------------------------


def validate_container_security(context: Object, path: str, *, host_users: bool) -> list[FieldError]:
    found = _ids(context, path, "runAsUser", "runAsGroup")
    mount = context.get("procMount")
    if mount is not None and mount not in ("Default", "Unmasked"):
        found.append(not_supported(f"{path}.procMount", mount, ("Default", "Unmasked")))
    if mount == "Unmasked" and host_users:
        found.append(invalid_value(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    found += validate_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(invalid_value(path, context, detail))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(invalid_value(path, context, detail))
    found += _windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
    return found + _apparmor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


# --- pods -------------------------------------------------------------------------------------------------------

_SYSCTL_SEGMENT = r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_PATTERN = f"^({_SYSCTL_SEGMENT}[\\./])*{_SYSCTL_SEGMENT}$"
_SYSCTL = re.compile(_SYSCTL_PATTERN)
_IPC_SYSCTLS = re.compile(r"kernel\.(shm.*|msg.*|sem)|fs\.mqueue\..*")
_CHOICES = {
    "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
    "supplementalGroupsPolicy": ("Merge", "Strict"),
    "seLinuxChangePolicy": ("MountOption", "Recursive"),
}


def validate_pod_security(spec: Object, path: str) -> list[FieldError]:
    context, where = spec.get("securityContext") or {}, f"{path}.securityContext"
    found = _ids(context, where, "fsGroup", "runAsUser", "runAsGroup")
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            found.append(invalid_value(f"{where}.supplementalGroups[{i}]", group, names.between(0, _MAX_ID)))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(invalid_value(f"{where}.shareProcessNamespace", True, detail))
    found += _sysctls(spec, context.get("sysctls") or [], f"{where}.sysctls")
    found += _choice(context, "fsGroupChangePolicy", where)
    found += validate_seccomp(context.get("seccompProfile"), f"{where}.seccompProfile")
    found += _windows_options(context.get("windowsOptions"), f"{where}.windowsOptions")
    found += _apparmor(context.get("appArmorProfile"), f"{where}.appArmorProfile")
    return found + _choice(context, "supplementalGroupsPolicy", where) + _choice(context, "seLinuxChangePolicy", where)


def _choice(context: Object, field: str, path: str) -> list[FieldError]:
    value = context.get(field)
    if value is None or value in _CHOICES[field]:
        return []
    return [not_supported(f"{path}.{field}", value, _CHOICES[field])]


def _sysctls(spec: Object, sysctls: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        where, name = f"{path}[{i}].name", sysctl.get("name", "")
        if not name:
            found.append(required(where))
        elif len(name) > 253 or not _SYSCTL.match(name):
            detail = f"must have at most 253 characters and match regex {_SYSCTL_PATTERN}"
            found.append(invalid_value(where, name, detail))
        elif name in seen:
            found.append(duplicate(where, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            found.append(invalid_value(where, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and _IPC_SYSCTLS.fullmatch(dotted):
            found.append(invalid_value(where, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)
    return found


def validate_host_users(spec: Object, path: str) -> list[FieldError]:
    """A pod with users of its own shares no other namespace with its host."""
    if spec.get("hostUsers") is not False:
        return []
    fields = (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
    why = "when `pod.Spec.HostUsers` is false"
    return [forbidden_field(f"{path}.{shown}", why) for field, shown in fields if spec.get(field)]


# --- profiles ---------------------------------------------------------------------------------------------------

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def validate_seccomp(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    found: list[FieldError] = []
    if not kind:
        found.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        found.append(not_supported(f"{path}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            found.append(required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            found += local_path(local, f"{path}.localhostProfile")
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        found.append(invalid_value(f"{path}.localhostProfile", profile, detail))
    return found


def _apparmor(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local, where = profile.get("type", ""), profile.get("localhostProfile"), f"{path}.localhostProfile"
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILES:
        return [not_supported(f"{path}.type", kind, _PROFILES)]
    if kind != "Localhost":
        detail = "can only be set when AppArmor type is Localhost"
        return [] if local is None else [invalid_value(where, local, detail)]
    if not local:
        return [required(where, "must be set when AppArmor type is Localhost")]
    found = [] if local.strip() == local else [invalid_value(where, local, "must not be padded with whitespace")]
    return found + ([too_long(where, 4095)] if len(local) > 4095 else [])


# --- Windows ----------------------------------------------------------------------------------------------------

_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DNS = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*")
_BAD_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_MAX_CREDENTIAL_KIB = 64


def _windows_options(options: Object | None, path: str) -> list[FieldError]:
    if options is None:
        return []
    found: list[FieldError] = []
    name, spec = options.get("gmsaCredentialSpecName"), options.get("gmsaCredentialSpec")
    if name is not None:
        found += [invalid_value(f"{path}.gmsaCredentialSpecName", name, p) for p in names.dns1123_subdomain(name)]
    if spec == "":
        detail = "gmsaCredentialSpec cannot be an empty string"
        found.append(invalid_value(f"{path}.gmsaCredentialSpec", spec, detail))
    elif spec is not None and len(spec) > _MAX_CREDENTIAL_KIB * 1024:
        detail = f"gmsaCredentialSpec size must be under {_MAX_CREDENTIAL_KIB} KiB"
        found.append(invalid_value(f"{path}.gmsaCredentialSpec", spec, detail))
    user = options.get("runAsUserName")
    if user is not None:
        found += [invalid_value(f"{path}.runAsUserName", user, f"runAsUserName{p}") for p in _user_problems(user)]
    return found


def _user_problems(name: str) -> list[str]:
    """``user`` or ``DOMAIN\\user``."""
    parts = name.split("\\")
    if not name:
        return [" cannot be an empty string"]
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in name):
        return [" cannot contain control characters"]
    if len(parts) > 2:
        return [" cannot contain more than one backslash"]
    domain, user = parts[0] if len(parts) == 2 else None, parts[-1]
    found = []
    if domain is not None and len(domain) >= 256:
        found.append("'s Domain length must be under 256 characters")
    if domain is not None and not _NETBIOS.fullmatch(domain) and not _DNS.fullmatch(domain):
        found.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        found.append("'s User cannot be empty")
    elif len(user) > 104:
        found.append("'s User length must not be longer than 104 characters")
    if user and not user.strip(". "):
        found.append("'s User cannot contain only periods or spaces")
    if _BAD_USER.search(user):
        found.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return found


def validate_host_process(spec: Object, path: str) -> list[FieldError]:
    """Either all containers of a Windows pod run on the host, or none."""
    pod = _host_process(spec)
    found: list[FieldError] = []
    running: list[bool] = []
    for container, where in containers_with_path(spec, path):
        own = _host_process(container)
        if pod is not None and own is not None and pod != own:
            detail = f"pod hostProcess value must be identical if both are specified, was {'true' if pod else 'false'}"
            found.append(invalid_value(f"{where}.securityContext.windowsOptions.hostProcess", own, detail))
        running.append(bool(pod if own is None else own))
    if any(running):
        if not all(running):
            detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
            found.append(invalid_value(path, "", detail))
        if not spec.get("hostNetwork"):
            detail = "hostNetwork must be true if pod contains any hostProcess containers"
            found.append(invalid_value(f"{path}.hostNetwork", False, detail))
    return found


def _host_process(holder: Object) -> bool | None:
    value: bool | None = ((holder.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    return value


_NOT_ON_WINDOWS = (
    "securityContext.appArmorProfile", "securityContext.seLinuxOptions", "hostUsers", "hostPID", "hostIPC",
    "securityContext.seccompProfile", "securityContext.fsGroup", "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls", "shareProcessNamespace", "securityContext.runAsUser", "securityContext.runAsGroup",
    "securityContext.supplementalGroups", "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)  # fmt: skip
_NOT_IN_WINDOWS_CONTAINERS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def validate_os(spec: Object, path: str) -> list[FieldError]:
    """Which of the fields an operating system does not have."""
    if "os" not in spec:
        return []
    name = spec["os"].get("name", "")
    if not name:
        return [required(f"{path}.os.name", "cannot be empty")]
    if name not in ("linux", "windows"):
        return [not_supported(f"{path}.os", name, ("linux", "windows"))]
    return _linux(spec, path) if name == "linux" else _windows(spec, path)


def _linux(spec: Object, path: str) -> list[FieldError]:
    holders = [(spec, path), *containers_with_path(spec, path)]
    return [
        forbidden_field(f"{where}.securityContext.windowsOptions", "windows options cannot be set for a linux pod")
        for holder, where in holders
        if "windowsOptions" in (holder.get("securityContext") or {})
    ]


def _windows(spec: Object, path: str) -> list[FieldError]:
    why = "cannot be set for a windows pod"
    context = spec.get("securityContext") or {}
    found: list[FieldError] = []
    for field in _NOT_ON_WINDOWS:
        inner = field.removeprefix("securityContext.")
        present = inner in context if inner != field else spec.get(field) not in (None, False)
        if present or (inner == field and field in ("hostUsers", "shareProcessNamespace") and field in spec):
            found.append(forbidden_field(f"{path}.{field}", why))
    for container, where in containers_with_path(spec, path):
        own = container.get("securityContext") or {}
        found += [forbidden_field(f"{where}.securityContext.{f}", why) for f in _NOT_IN_WINDOWS_CONTAINERS if f in own]
    return found
