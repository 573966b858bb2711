"""Rules of what a kubelet may report of a pod."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, duplicate, forbidden_field, invalid_value, quote
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.pod_rules import validate_ip

Object = dict[str, Any]

_BUILT_IN_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def validate_pod_status(new: Object, old: Object) -> list[FieldError]:
    status, before, spec = new.get("status") or {}, old.get("status") or {}, old.get("spec") or {}
    found = _conditions(status.get("conditions") or [])
    nominated = status.get("nominatedNodeName", "")
    if nominated and nominated != before.get("nominatedNodeName"):
        problems = names.dns1123_subdomain(nominated)
        found += [invalid_value("status.nominatedNodeName", nominated, p) for p in problems]
    if status.get("qosClass") != before.get("qosClass") and before.get("qosClass"):
        found.append(invalid_value("status.qosClass", status.get("qosClass", ""), IMMUTABLE))
    found += _transitions(status, before, "containerStatuses", spec.get("restartPolicy", "Always"))
    found += _transitions(
        status, before, "initContainerStatuses", spec.get("restartPolicy", "Always"), skip=_sidecars(spec)
    )
    found += _transitions(status, before, "ephemeralContainerStatuses", "Never")
    found += _claims(status.get("resourceClaimStatuses") or [], spec)
    found += _addresses(status, before, "podIPs", "PodIP")
    hosts = status.get("hostIPs") or []
    if hosts and hosts[0].get("ip") != status.get("hostIP", ""):
        found.append(invalid_value("status.hostIPs[0].ip", hosts[0].get("ip", ""), "must be equal to `hostIP`"))
    return found + _addresses(status, before, "hostIPs", "HostIP")


def _conditions(conditions: list[Object]) -> list[FieldError]:
    """Upstream's path says metadata."""
    found: list[FieldError] = []
    for i, condition in enumerate(conditions):
        kind = condition.get("type", "")
        if kind not in _BUILT_IN_CONDITIONS:
            found += [invalid_value(f"metadata.conditions[{i}].Type", kind, p) for p in names.qualified_name(kind)]
    return found


def _sidecars(spec: Object) -> frozenset[str]:
    containers = spec.get("initContainers") or ()
    return frozenset(c["name"] for c in containers if c.get("restartPolicy") == "Always")


def _transitions(
    status: Object, before: Object, field: str, policy: str, skip: frozenset[str] = frozenset()
) -> list[FieldError]:
    """What is over stays over, unless it is to be started again."""
    if policy == "Always":
        return []
    found: list[FieldError] = []
    alive = {c.get("name") for c in status.get(field) or () if "terminated" not in (c.get("state") or {})}
    for i, container in enumerate(before.get(field) or ()):
        terminated = (container.get("state") or {}).get("terminated")
        if terminated is None or container.get("name") in skip:
            continue
        if terminated.get("exitCode", 0) != 0 and policy == "OnFailure":
            continue
        if container.get("name") in alive:
            detail = "may not be transitioned to non-terminated state"
            found.append(forbidden_field(f"status.{field}[{i}].state", detail))
    return found


def _claims(statuses: list[Object], spec: Object) -> list[FieldError]:
    known = {c.get("name") for c in spec.get("resourceClaims") or ()}
    given = [s.get("name", "") for s in statuses]
    found: list[FieldError] = []
    for i, status in enumerate(statuses):
        where = f"status.resourceClaimStatuses[{i}].name"
        if given[i] not in known:
            detail = "must match the name of an entry in `spec.resourceClaims`"
            found.append(invalid_value(where, given[i], detail))
        if given[i] in given[:i]:
            found.append(duplicate(where, given[i]))
        if claim := status.get("resourceClaimName"):
            found += [invalid_value(where, claim, p) for p in names.dns1123_subdomain(claim)]
    return found


def _addresses(status: Object, before: Object, field: str, go_type: str) -> list[FieldError]:
    """Valid ones, at most one of each family; what was reported before may stay."""
    addresses = [a.get("ip", "") for a in status.get(field) or ()]
    known = {a.get("ip", "") for a in before.get(field) or ()}
    found: list[FieldError] = []
    for i, address in enumerate(addresses):
        if address not in known:
            found += validate_ip(address, f"status.{field}[{i}]")
    families = {":" in a for a in addresses}
    if len(addresses) > 1 and (len(addresses) > 2 or len(families) < 2):
        shown = ", ".join(f"core.{go_type}{{IP:{quote(a)}}}" for a in addresses)
        detail = "may specify no more than one IP for each IP family"
        found.append(invalid_value(f"status.{field}", Literal(f"[]core.{go_type}{{{shown}}}"), detail))
    return found
