"""Rules of pod specs and templates, and of what may change on a running pod (upstream's ``ValidatePodSpec`` and
``ValidatePodUpdate``)."""

import ipaddress
from copy import deepcopy
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, duplicate, forbidden_field, invalid_value, not_supported, required
from apiserver.registry import objectmeta
from apiserver.registry.containers import (
    validate_amount,
    validate_containers,
    validate_ephemeral_containers,
    validate_seccomp,
)
from apiserver.registry.scheduling_rules import validate_affinity, validate_spreading, validate_tolerations
from apiserver.registry.volumes import validate_volumes

Object = dict[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("PreemptLowerPriority", "Never")
_MAX_INT32 = 0x7FFFFFFF


def validate_template(template: Object, path: str) -> list[FieldError]:
    """A ``PodTemplateSpec``."""
    metadata = template.get("metadata") or {}
    found = objectmeta.validate_labels(metadata.get("labels") or {}, f"{path}.metadata.labels")
    found += objectmeta.validate_annotations(metadata.get("annotations") or {}, f"{path}.metadata.annotations")
    spec = template.get("spec") or {}
    found += validate_pod_spec(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        found.append(forbidden_field(f"{path}.spec.ephemeralContainers", detail))
    return found


def validate_pod_spec(spec: Object, path: str = "spec") -> list[FieldError]:
    grace_period = spec.get("terminationGracePeriodSeconds")
    volumes, found = validate_volumes(spec.get("volumes") or [], f"{path}.volumes")
    found += validate_containers(spec, volumes, grace_period, path)
    found += validate_ephemeral_containers(spec, volumes, path)
    found += _choices(spec, path)
    found += objectmeta.validate_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    found += _security_context(spec, path)
    found += _host_network(spec, path)
    if affinity := spec.get("affinity"):
        found += validate_affinity(affinity, f"{path}.affinity")
    found += _dns_config(spec, f"{path}.dnsConfig")
    found += validate_spreading(spec.get("topologySpreadConstraints") or [], f"{path}.topologySpreadConstraints")
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        where = f"{path}.readinessGates[{i}].conditionType"
        found += [invalid_value(where, kind, p) for p in names.qualified_name(kind)]
    found += _scheduling_gates(spec.get("schedulingGates") or [], f"{path}.schedulingGates")
    found += _names(spec, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        found.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, names.between(1, _MAX_INT32)))
    found += validate_tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    found += _host_aliases(spec.get("hostAliases") or [], f"{path}.hostAliases")
    for name, amount in (spec.get("overhead") or {}).items():
        found += validate_amount(name, amount, f"{path}.overhead[{name}]")
    return found


def _choices(spec: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    policy = spec.get("restartPolicy", "")
    if not policy:
        found.append(required(f"{path}.restartPolicy"))
    elif policy not in _RESTART:
        found.append(not_supported(f"{path}.restartPolicy", policy, sorted(_RESTART)))
    dns = spec.get("dnsPolicy", "")
    if not dns:
        found.append(required(f"{path}.dnsPolicy"))
    elif dns not in _DNS_POLICIES:
        found.append(not_supported(f"{path}.dnsPolicy", dns, sorted(_DNS_POLICIES)))
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in _PREEMPTION:
        found.append(not_supported(f"{path}.preemptionPolicy", preemption, sorted(_PREEMPTION)))
    if (spec.get("os") or {}).get("name") not in (None, "linux", "windows"):
        found.append(not_supported(f"{path}.os.name", spec["os"]["name"], ("linux", "windows")))
    return found


def _names(spec: Object, path: str) -> list[FieldError]:
    """References to other objects must at least be names."""
    found: list[FieldError] = []
    for field in ("nodeName", "serviceAccountName", "priorityClassName", "runtimeClassName"):
        if value := spec.get(field):
            found += [invalid_value(f"{path}.{field}", value, p) for p in names.dns1123_subdomain(value)]
    for field in ("hostname", "subdomain"):
        if value := spec.get(field):
            found += [invalid_value(f"{path}.{field}", value, p) for p in names.dns1123_label(value)]
    for i, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if reference.get("name"):
            problems = names.dns1123_subdomain(reference["name"])
            found += [invalid_value(f"{path}.imagePullSecrets[{i}].name", reference["name"], p) for p in problems]
    return found


def _security_context(spec: Object, path: str) -> list[FieldError]:
    context = spec.get("securityContext") or {}
    where = f"{path}.securityContext"
    found: list[FieldError] = []
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= _MAX_INT32:
            found.append(invalid_value(f"{where}.{field}", value, names.between(0, _MAX_INT32)))
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_INT32:
            found.append(invalid_value(f"{where}.supplementalGroups[{i}]", group, names.between(0, _MAX_INT32)))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(invalid_value(f"{where}.shareProcessNamespace", True, detail))
    seen: set[str] = set()
    for i, sysctl in enumerate(context.get("sysctls") or ()):
        name = sysctl.get("name", "")
        if not name:
            found.append(required(f"{where}.sysctls[{i}].name"))
        elif name in seen:
            found.append(duplicate(f"{where}.sysctls[{i}].name", name))
        seen.add(name)
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in ("Always", "OnRootMismatch"):
        found.append(not_supported(f"{where}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch")))
    return found + validate_seccomp(context.get("seccompProfile"), f"{where}.seccompProfile")


def _host_network(spec: Object, path: str) -> list[FieldError]:
    if not spec.get("hostNetwork"):
        return []
    found: list[FieldError] = []
    for field in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            for j, port in enumerate(container.get("ports") or ()):
                if port.get("hostPort", 0) not in (0, port.get("containerPort")):
                    where = f"{path}.{field}[{i}].ports[{j}].containerPort"
                    detail = "must match `hostPort` when `hostNetwork` is true"
                    found.append(invalid_value(where, port.get("containerPort"), detail))
    return found


def _dns_config(spec: Object, path: str) -> list[FieldError]:
    config = spec.get("dnsConfig") or {}
    servers = config.get("nameservers") or []
    found: list[FieldError] = []
    if spec.get("dnsPolicy") == "None" and not servers:
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [required(f"{path}.nameservers" if "dnsConfig" in spec else path, detail)]
    if len(servers) > 3:
        found.append(invalid_value(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for i, server in enumerate(servers):
        found += validate_ip(server, f"{path}.nameservers[{i}]")
    searches = config.get("searches") or []
    if len(searches) > 32:
        found.append(invalid_value(f"{path}.searches", searches, "must not have more than 32 search paths"))
    for i, search in enumerate(searches):
        if search != ".":
            problems = names.dns1123_subdomain(search.removesuffix(".").replace("_", "-"))
            found += [invalid_value(f"{path}.searches[{i}]", search, p) for p in problems]
    for i, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            found.append(required(f"{path}.options[{i}]", "must not be empty"))
    return found


def validate_ip(address: str, path: str) -> list[FieldError]:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        return [invalid_value(path, address, detail)]
    return []


def _scheduling_gates(gates: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name", "")
        found += [invalid_value(f"{path}[{i}]", name, p) for p in names.qualified_name(name)]
        if name in seen:
            found.append(duplicate(f"{path}[{i}]", name))
        seen.add(name)
    return found


def _host_aliases(aliases: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, alias in enumerate(aliases):
        found += validate_ip(alias.get("ip", ""), f"{path}[{i}].ip")
        for j, name in enumerate(alias.get("hostnames") or ()):
            where = f"{path}[{i}].hostnames[{j}]"
            found += [invalid_value(where, name, p) for p in names.dns1123_subdomain(name)]
    return found


# --- updates ----------------------------------------------------------------------------------------------------

_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_ADD_REMOVE = "pod updates may not add or remove containers"


def validate_pod_update(new: Object, old: Object) -> list[FieldError]:
    """What may change on a pod that exists: images, a shorter deadline, more tolerations, and while gated where it may go."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found: list[FieldError] = []
    for field in ("containers", "initContainers"):
        wanted, had = spec.get(field) or [], before.get(field) or []
        if len(wanted) != len(had):
            return [*found, forbidden_field(f"spec.{field}", _ADD_REMOVE)]
        found += [required(f"spec.{field}[{i}].image") for i, c in enumerate(wanted) if not c.get("image")]
    found += _deadline(spec, before)
    gated = bool(before.get("schedulingGates"))
    found += _gates_update(spec, before)
    if spec.get("tolerations") != before.get("tolerations"):
        found += _tolerations_update(spec.get("tolerations") or [], before.get("tolerations") or [])
    if _pinned(spec, before, gated) != before:
        detail = f"{_IMMUTABLE}\n{_difference(_pinned(spec, before, gated), before)}"
        found.append(forbidden_field("spec", detail))
    return found


def _pinned(spec: Object, before: Object, gated: bool) -> Object:
    """The new spec with everything that may change set back: what is left must be equal."""
    pinned = {**spec}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            pinned[field] = [{**c, "image": b.get("image")} for c, b in zip(spec[field], before[field], strict=True)]
    fields = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if gated:
        fields += ["nodeSelector"] if _only_adds(before.get("nodeSelector"), spec.get("nodeSelector")) else []
        fields += ["affinity"] if _narrows(spec.get("affinity"), before.get("affinity")) else []
    if before.get("terminationGracePeriodSeconds", 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        fields.append("terminationGracePeriodSeconds")
    for field in fields:
        if field in before:
            pinned[field] = before[field]
        else:
            pinned.pop(field, None)
    return pinned


def _only_adds(before: Object | None, after: Object | None) -> bool:
    return all((after or {}).get(k) == v for k, v in (before or {}).items())


def _narrows(after: Object | None, before: Object | None) -> bool:
    """A gated pod may get a node affinity where it had none; a pod affinity may not change."""
    after, before = deepcopy(after or {}), before or {}
    if not (before.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
        after.pop("nodeAffinity", None)
        return after == {k: v for k, v in before.items() if k != "nodeAffinity"}
    return after == before


def _deadline(spec: Object, before: Object) -> list[FieldError]:
    new, old = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if new is not None:
        if not 0 <= new <= _MAX_INT32:
            return [invalid_value(path, new, names.between(0, _MAX_INT32))]
        if old is not None and old < new:
            return [invalid_value(path, new, "must be less than or equal to previous value")]
    elif old is not None:
        return [invalid_value(path, None, "must not update from a positive integer to nil value")]
    return []


def _gates_update(spec: Object, before: Object) -> list[FieldError]:
    had = {g.get("name") for g in before.get("schedulingGates") or ()}
    added = [g.get("name", "") for g in spec.get("schedulingGates") or () if g.get("name") not in had]
    detail = f"only deletion is allowed, but found new scheduling gate '{added[0]}'" if added else ""
    return [forbidden_field("spec.schedulingGates", detail)] if added else []


def _tolerations_update(new: list[Object], old: list[Object]) -> list[FieldError]:
    def same(a: Object, b: Object) -> bool:
        """A toleration's seconds may change; who tolerates what may not."""
        return {k: v for k, v in a.items() if k != "tolerationSeconds"} == {
            k: v for k, v in b.items() if k != "tolerationSeconds"
        }

    if all(any(same(toleration, other) for other in new) for toleration in old):
        return []
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [forbidden_field("spec.tolerations", detail)]


def _difference(new: Object, old: Object) -> Literal:
    """Which fields differ, in the place of upstream's Go diff."""
    changed = sorted(k for k in new.keys() | old.keys() if new.get(k) != old.get(k))
    return Literal("".join(f"  spec.{k} differs\n" for k in changed))
