"""The Pod Security Standards: what a pod may not do at the levels baseline and restricted, version by version.

Each check is a function of a pod's metadata and spec that says what is wrong, as a reason and a detail, or None. ``CHECKS`` says
from which minor version on which function counts, and which baseline checks a restricted one replaces. Texts are upstream's
(``k8s.io/pod-security-admission/policy``), because people search for them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from apimachinery.errors import quote

Object = dict[str, Any]


class Violation(NamedTuple):
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


CheckPod = Callable[[Object, Object], Violation | None]


class Version(NamedTuple):
    """From this minor version on, ``check`` counts; ``overrides`` names the baseline checks that it includes."""

    minor: int
    check: CheckPod
    overrides: tuple[str, ...] = ()


class Check(NamedTuple):
    id: str
    level: str
    versions: tuple[Version, ...]


# --- what checks share ------------------------------------------------------------------------------------------


def _containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _context(holder: Object) -> Object:
    return holder.get("securityContext") or {}


def _plural(singular: str, items: Iterable[str], plural: str = "") -> str:
    return singular if len(list(items)) == 1 else plural or singular + "s"


def _quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def _names(bad: list[str]) -> str:
    return f"{_plural('container', bad)} {_quoted(bad)}"


def _setters(pod: bool, containers: list[str]) -> str:
    """``pod and containers "a", "b"``: who set what may not be set."""
    return " and ".join([*(["pod"] if pod else []), *([_names(containers)] if containers else [])])


def _windows(spec: Object) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def _not_on_windows(check: CheckPod) -> CheckPod:
    return lambda metadata, spec: None if _windows(spec) else check(metadata, spec)


# --- baseline ---------------------------------------------------------------------------------------------------

_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def _apparmor(metadata: Object, spec: Object) -> Violation | None:
    def bad(holder: Object) -> str | None:
        profile = _context(holder).get("appArmorProfile")
        kind = (profile or {}).get("type", "")
        return None if profile is None or kind in ("RuntimeDefault", "Localhost") else kind

    found = {c.get("name", ""): bad(c) for c in _containers(spec)}
    containers = [name for name, kind in found.items() if kind is not None]
    values = sorted({kind for kind in (bad(spec), *found.values()) if kind is not None})
    annotations = sorted(
        f"{key}={quote(value)}"
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    setters = [s for s in (_setters(bad(spec) is not None, containers),) if s]
    if annotations:
        setters.append(_plural("annotation", annotations))
    if not setters:
        return None
    values += annotations
    detail = f"{' and '.join(setters)} must not set AppArmor profile type to {_quoted(values)}"
    return Violation(_plural("forbidden AppArmor profile", values), detail)


_DEFAULT_CAPABILITIES = frozenset((
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
))  # fmt: skip


def _added(container: Object, allowed: frozenset[str]) -> list[str]:
    """Capabilities beyond the allowed ones."""
    added = (_context(container).get("capabilities") or {}).get("add") or ()
    return [c for c in added if c not in allowed]


def _capabilities_baseline(metadata: Object, spec: Object) -> Violation | None:
    found = {c.get("name", ""): _added(c, _DEFAULT_CAPABILITIES) for c in _containers(spec)}
    bad = [name for name, added in found.items() if added]
    if not bad:
        return None
    added = sorted({c for some in found.values() for c in some})
    detail = f"{_names(bad)} must not include {_quoted(added)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def _host_namespaces(metadata: Object, spec: Object) -> Violation | None:
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def _host_path(metadata: Object, spec: Object) -> Violation | None:
    bad = [v.get("name", "") for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    return Violation("hostPath volumes", f"{_plural('volume', bad)} {_quoted(bad)}") if bad else None


def _host_ports(metadata: Object, spec: Object) -> Violation | None:
    found = {
        c.get("name", ""): [str(p["hostPort"]) for p in c.get("ports") or () if p.get("hostPort")]
        for c in _containers(spec)
    }
    bad = [name for name, ports in found.items() if ports]
    if not bad:
        return None
    ports = sorted({port for some in found.values() for port in some})
    detail = f"{_names(bad)} {_plural('uses', bad, 'use')} {_plural('hostPort', ports)} {', '.join(ports)}"
    return Violation("hostPort", detail)


def _privileged(metadata: Object, spec: Object) -> Violation | None:
    bad = [c.get("name", "") for c in _containers(spec) if _context(c).get("privileged")]
    return Violation("privileged", f"{_names(bad)} must not set securityContext.privileged=true") if bad else None


def _proc_mount(metadata: Object, spec: Object) -> Violation | None:
    found = {c.get("name", ""): _context(c).get("procMount", "Default") for c in _containers(spec)}
    bad = [name for name, kind in found.items() if kind != "Default"]
    if not bad:
        return None
    kinds = sorted(set(found.values()) - {"Default"})
    return Violation("procMount", f"{_names(bad)} must not set securityContext.procMount to {_quoted(kinds)}")


_SELINUX_1_0 = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))
_SELINUX_1_31 = _SELINUX_1_0 | {"container_engine_t"}


def _selinux(allowed: frozenset[str]) -> CheckPod:
    def check(metadata: Object, spec: Object) -> Violation | None:
        types: set[str] = set()
        fields: set[str] = set()

        def bad(holder: Object) -> bool:
            options = _context(holder).get("seLinuxOptions") or {}
            wrong = {options.get("type", "")} - allowed
            named = {field for field in ("user", "role") if options.get(field)}
            types.update(wrong)
            fields.update(named)
            return bool(wrong or named)

        setters = _setters(bad(spec), [c.get("name", "") for c in _containers(spec) if bad(c)])
        if not setters:
            return None
        data = [f"{_plural('type', types)} {_quoted(sorted(types))}"] if types else []
        data += [f"{field} may not be set" for field in ("user", "role") if field in fields]
        detail = f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
        return Violation("seLinuxOptions", detail)

    return check


_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def _seccomp_annotations(metadata: Object, spec: Object) -> Violation | None:
    """Before 1.19 the profile was an annotation."""
    annotations = metadata.get("annotations") or {}
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + c.get("name", "") for c in _containers(spec))]
    bad = sorted({
        f"{key}={quote(annotations[key])}"
        for key in keys
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    })  # fmt: skip
    return Violation("seccompProfile", f"forbidden {_plural('annotation', bad)} {', '.join(bad)}") if bad else None


def _seccomp(holder: Object) -> str | None:
    """The profile's type, or None where none is set."""
    profile = _context(holder).get("seccompProfile")
    return None if profile is None else profile.get("type", "")


def _bad_seccomp(kind: str | None) -> bool:
    return kind is not None and kind not in ("Localhost", "RuntimeDefault")


def _seccomp_baseline(metadata: Object, spec: Object) -> Violation | None:
    found = {c.get("name", ""): _seccomp(c) for c in _containers(spec)}
    setters = _setters(_bad_seccomp(_seccomp(spec)), [name for name, kind in found.items() if _bad_seccomp(kind)])
    if not setters:
        return None
    values = sorted({kind for kind in (_seccomp(spec), *found.values()) if kind is not None and _bad_seccomp(kind)})
    return Violation(
        "seccompProfile", f"{setters} must not set securityContext.seccompProfile.type to {_quoted(values)}"
    )


_SYSCTLS_1_0 = frozenset((
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
))  # fmt: skip
_SYSCTLS_1_27 = _SYSCTLS_1_0 | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_1_29 = _SYSCTLS_1_27 | {
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
_SYSCTLS_1_32 = _SYSCTLS_1_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}


def _sysctls(allowed: frozenset[str]) -> CheckPod:
    def check(metadata: Object, spec: Object) -> Violation | None:
        names = [s.get("name", "") for s in _context(spec).get("sysctls") or ()]
        bad = [name for name in names if name not in allowed]
        return Violation("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def _host_process(metadata: Object, spec: Object) -> Violation | None:
    def bad(holder: Object) -> bool:
        return bool((_context(holder).get("windowsOptions") or {}).get("hostProcess"))

    setters = _setters(bad(spec), [c.get("name", "") for c in _containers(spec) if bad(c)])
    if not setters:
        return None
    return Violation("hostProcess", f"{setters} must not set securityContext.windowsOptions.hostProcess=true")


# --- restricted -------------------------------------------------------------------------------------------------


def _privilege_escalation(metadata: Object, spec: Object) -> Violation | None:
    bad = [c.get("name", "") for c in _containers(spec) if _context(c).get("allowPrivilegeEscalation", True)]
    if not bad:
        return None
    detail = f"{_names(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def _capabilities_restricted(metadata: Object, spec: Object) -> Violation | None:
    allowed = frozenset(("NET_BIND_SERVICE",))
    details = []
    undropped = [
        c.get("name", "")
        for c in _containers(spec)
        if "ALL" not in ((_context(c).get("capabilities") or {}).get("drop") or ())
    ]
    if undropped:
        details.append(f'{_names(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    found = {c.get("name", ""): _added(c, allowed) for c in _containers(spec)}
    if bad := [name for name, added in found.items() if added]:
        added = sorted({c for some in found.values() for c in some})
        details.append(f"{_names(bad)} must not include {_quoted(added)} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


_VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip
_RESTRICTED_VOLUMES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume",
    "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
    "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def _restricted_volumes(metadata: Object, spec: Object) -> Violation | None:
    bad = [v for v in spec.get("volumes") or () if all(v.get(kind) is None for kind in _VOLUMES)]
    if not bad:
        return None
    names = [v.get("name", "") for v in bad]
    kinds = sorted({next((k for k in _RESTRICTED_VOLUMES if v.get(k) is not None), "unknown") for v in bad})
    detail = (
        f"{_plural('volume', names)} {_quoted(names)} {_plural('uses', names, 'use')} "
        f"{_plural('restricted volume type', kinds)} {_quoted(kinds)}"
    )
    return Violation("restricted volume types", detail)


def _run_as_non_root(metadata: Object, spec: Object) -> Violation | None:
    pod = _context(spec).get("runAsNonRoot")
    found = {c.get("name", ""): _context(c).get("runAsNonRoot") for c in _containers(spec)}
    reason = "runAsNonRoot != true"
    setters = _setters(pod is False, [name for name, wanted in found.items() if wanted is False])
    if setters:
        return Violation(reason, f"{setters} must not set securityContext.runAsNonRoot=false")
    unset = [name for name, wanted in found.items() if wanted is None]
    if unset and not pod:
        return Violation(reason, f"pod or {_names(unset)} must set securityContext.runAsNonRoot=true")
    return None


def _run_as_user(metadata: Object, spec: Object) -> Violation | None:
    bad = [c.get("name", "") for c in _containers(spec) if _context(c).get("runAsUser") == 0]
    setters = _setters(_context(spec).get("runAsUser") == 0, bad)
    return Violation("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def _seccomp_restricted(metadata: Object, spec: Object) -> Violation | None:
    explicit = _seccomp_baseline(metadata, spec)
    if explicit is not None:
        return explicit
    unset = [c.get("name", "") for c in _containers(spec) if _seccomp(c) is None]
    if not unset or _seccomp(spec) is not None:
        return None
    detail = f'pod or {_names(unset)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", detail)


# --- the table --------------------------------------------------------------------------------------------------

BASELINE, RESTRICTED = "baseline", "restricted"
#: The newest version whose rules are known; a later one, or "latest", means this one.
NEWEST = 33

CHECKS = (
    Check("appArmorProfile", BASELINE, (Version(0, _apparmor),)),
    Check("capabilities_baseline", BASELINE, (Version(0, _capabilities_baseline),)),
    Check("hostNamespaces", BASELINE, (Version(0, _host_namespaces),)),
    Check("hostPathVolumes", BASELINE, (Version(0, _host_path),)),
    Check("hostPorts", BASELINE, (Version(0, _host_ports),)),
    Check("privileged", BASELINE, (Version(0, _privileged),)),
    Check("procMount", BASELINE, (Version(0, _proc_mount),)),
    Check("seLinuxOptions", BASELINE, (Version(0, _selinux(_SELINUX_1_0)), Version(31, _selinux(_SELINUX_1_31)))),
    Check("seccompProfile_baseline", BASELINE, (Version(0, _seccomp_annotations), Version(19, _seccomp_baseline))),
    Check(
        "sysctls",
        BASELINE,
        (
            Version(0, _sysctls(_SYSCTLS_1_0)),
            Version(27, _sysctls(_SYSCTLS_1_27)),
            Version(29, _sysctls(_SYSCTLS_1_29)),
            Version(32, _sysctls(_SYSCTLS_1_32)),
        ),
    ),
    Check("windowsHostProcess", BASELINE, (Version(0, _host_process),)),
    Check(
        "allowPrivilegeEscalation",
        RESTRICTED,
        (Version(8, _privilege_escalation), Version(25, _not_on_windows(_privilege_escalation))),
    ),
    Check(
        "capabilities_restricted",
        RESTRICTED,
        (
            Version(22, _capabilities_restricted, ("capabilities_baseline",)),
            Version(25, _not_on_windows(_capabilities_restricted), ("capabilities_baseline",)),
        ),
    ),
    Check("restrictedVolumes", RESTRICTED, (Version(0, _restricted_volumes, ("hostPathVolumes",)),)),
    Check("runAsNonRoot", RESTRICTED, (Version(0, _run_as_non_root),)),
    Check("runAsUser", RESTRICTED, (Version(23, _run_as_user),)),
    Check(
        "seccompProfile_restricted",
        RESTRICTED,
        (
            Version(19, _seccomp_restricted, ("seccompProfile_baseline",)),
            Version(25, _not_on_windows(_seccomp_restricted), ("seccompProfile_baseline",)),
        ),
    ),
)


@lru_cache(maxsize=128)
def checks(level: str, minor: int) -> tuple[CheckPod, ...]:
    """What counts at a level and version: baseline's checks, then restricted's, each by name."""
    chosen: dict[str, Version] = {}
    for check in sorted(CHECKS, key=lambda c: (c.level, c.id)):
        if check.level == RESTRICTED and level != RESTRICTED:
            continue
        reached = [v for v in check.versions if v.minor <= minor]
        if reached:
            chosen[check.id] = reached[-1]
    overridden = {name for version in chosen.values() for name in version.overrides}
    return tuple(version.check for name, version in chosen.items() if name not in overridden)


def violations(level: str, minor: int | None, metadata: Object, spec: Object) -> list[Violation]:
    """Everything that a pod does against a standard; ``minor`` None is the latest version."""
    if level not in (BASELINE, RESTRICTED):
        return []
    version = NEWEST if minor is None else min(minor, NEWEST)
    found = (check(metadata, spec) for check in checks(level, version))
    return [violation for violation in found if violation is not None]
