"""Rules of pod specs and templates (upstream's ``ValidatePodSpec``). What may change on a pod is in ``pod_update``."""

import ipaddress
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, duplicate, forbidden_field, invalid_value, not_supported, required
from apiserver.registry import objectmeta
from apiserver.registry.amounts import validate_resources
from apiserver.registry.containers import image_is_trimmed, validate_containers, validate_ephemeral_containers
from apiserver.registry.pod_annotations import profiles_agree, validate_annotations
from apiserver.registry.scheduling_rules import validate_affinity, validate_spreading, validate_tolerations
from apiserver.registry.security import (
    validate_host_process,
    validate_host_users,
    validate_os,
    validate_pod_security,
)
from apiserver.registry.volumes import validate_volumes

Object = dict[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("PreemptLowerPriority", "Never")
_MAX_INT32 = 0x7FFFFFFF
_MAX_SEARCH_LENGTH = 2048


def validate_template(template: Object, path: str) -> list[FieldError]:
    """A ``PodTemplateSpec``. Upstream's paths leave ``metadata`` out."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    found = objectmeta.validate_labels(metadata.get("labels") or {}, f"{path}.labels")
    found += objectmeta.validate_annotations(metadata.get("annotations") or {}, f"{path}.annotations")
    found += validate_annotations(metadata.get("annotations") or {}, spec, f"{path}.annotations")
    found += validate_pod_spec(spec, f"{path}.spec")
    found += profiles_agree(metadata.get("annotations") or {}, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        found.append(forbidden_field(f"{path}.spec.ephemeralContainers", detail))
    return found


def validate_pod(pod: Object) -> list[FieldError]:
    """What holds for every pod, at its creation and ever after; some of it was never asked of templates."""
    metadata, spec = pod["metadata"], pod["spec"]
    found = validate_annotations(metadata.get("annotations") or {}, spec, "metadata.annotations")
    found += validate_pod_spec(spec, "spec", metadata.get("name", ""), is_pod=True)
    if not spec.get("serviceAccountName"):
        for i, volume in enumerate(spec.get("volumes") or ()):
            for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if "serviceAccountToken" in source:
                    where = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                    found.append(forbidden_field(where, "must not be specified when serviceAccountName is not set"))
    for field in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            found += image_is_trimmed(container, f"spec.{field}[{i}]")
    return found


def validate_new_pod(pod: Object) -> list[FieldError]:
    """What holds for a pod at its creation only."""
    spec = pod["spec"]
    found: list[FieldError] = []
    if spec.get("ephemeralContainers"):
        found.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        found.append(forbidden_field("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return found + profiles_agree(pod["metadata"].get("annotations") or {}, spec, "spec")


def validate_pod_spec(
    spec: Object, path: str = "spec", pod_name: str = "", *, is_pod: bool = False
) -> list[FieldError]:
    volumes, found = validate_volumes(spec.get("volumes") or [], f"{path}.volumes", pod_name)
    found += _resource_claims(spec.get("resourceClaims") or [], f"{path}.resourceClaims")
    found += validate_containers(spec, volumes, path)
    found += validate_ephemeral_containers(spec, volumes, path)
    found += _host_network(spec, path, is_pod)
    found += _required_choice(spec, "restartPolicy", _RESTART, path)
    found += _required_choice(spec, "dnsPolicy", _DNS_POLICIES, path)
    found += objectmeta.validate_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    found += validate_pod_security(spec, path)
    if affinity := spec.get("affinity"):
        found += validate_affinity(affinity, f"{path}.affinity")
    found += _dns_config(spec, f"{path}.dnsConfig")
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        kind, where = gate.get("conditionType", ""), f"{path}.readinessGates[{i}].conditionType"
        found += [invalid_value(where, kind, p) for p in names.qualified_name(kind)]
    found += _scheduling_gates(spec.get("schedulingGates") or [], f"{path}.schedulingGates")
    found += validate_spreading(spec.get("topologySpreadConstraints") or [], f"{path}.topologySpreadConstraints")
    found += validate_host_process(spec, path)
    found += validate_host_users(spec, path)
    return found + _singles(spec, path)


def _singles(spec: Object, path: str) -> list[FieldError]:
    """Single fields, each by itself."""
    found = _names(spec, path, names.dns1123_subdomain, "serviceAccountName", "nodeName")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        found.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, names.between(1, _MAX_INT32)))
    found += _names(spec, path, names.dns1123_label, "hostname", "subdomain")
    found += validate_tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    found += _host_aliases(spec.get("hostAliases") or [], f"{path}.hostAliases")
    found += _names(spec, path, names.dns1123_subdomain, "priorityClassName")
    if "runtimeClassName" in spec:
        name = spec["runtimeClassName"]
        found += [invalid_value(f"{path}.runtimeClassName", name, p) for p in names.dns1123_subdomain(name)]
    if "preemptionPolicy" in spec:
        found += _required_choice(spec, "preemptionPolicy", _PREEMPTION, path)
    if "overhead" in spec:
        found += validate_resources({"limits": spec["overhead"]}, f"{path}.overhead")
    return found + validate_os(spec, path)


def _required_choice(spec: Object, field: str, choices: tuple[str, ...], path: str) -> list[FieldError]:
    value = spec.get(field, "")
    if not value:
        return [required(f"{path}.{field}")]
    return [] if value in choices else [not_supported(f"{path}.{field}", value, choices)]


def _names(spec: Object, path: str, rule: Any, *fields: str) -> list[FieldError]:
    """References to other objects must at least be names."""
    given = [(field, spec[field]) for field in fields if spec.get(field)]
    return [invalid_value(f"{path}.{field}", value, problem) for field, value in given for problem in rule(value)]


def _resource_claims(claims: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    sources = ("resourceClaimName", "resourceClaimTemplateName")
    for i, claim in enumerate(claims):
        where, name = f"{path}[{i}]", claim.get("name", "")
        if not name:
            found.append(required(f"{where}.name"))
        elif name in seen:
            found.append(duplicate(f"{where}.name", name))
        else:
            found += [invalid_value(f"{where}.name", name, p) for p in names.dns1123_label(name)]
        seen.add(name)
        given = [source for source in sources if source in claim]
        if len(given) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            found.append(invalid_value(where, claim, detail))
        elif not given:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            found.append(invalid_value(where, claim, detail))
        for source in given:
            problems = names.dns1123_subdomain(claim[source])
            found += [invalid_value(f"{where}.{source}", claim[source], p) for p in problems]
    return found


def _host_network(spec: Object, path: str, is_pod: bool) -> list[FieldError]:
    """A pod's ports are its host's; a template may leave that to be filled in."""
    if not spec.get("hostNetwork"):
        return []
    found: list[FieldError] = []
    for i, container in enumerate(spec.get("containers") or ()):
        for j, port in enumerate(container.get("ports") or ()):
            host_port = port.get("hostPort", 0)
            if (is_pod or host_port) and host_port != port.get("containerPort", 0):
                where = f"{path}.containers[{i}].ports[{j}].hostPort"
                detail = "must match `containerPort` when `hostNetwork` is true"
                found.append(invalid_value(where, host_port, detail))
    return found


def _dns_config(spec: Object, path: str) -> list[FieldError]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", detail)]
    config = config or {}
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    found: list[FieldError] = []
    if len(servers) > 3:
        found.append(invalid_value(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for i, server in enumerate(servers):
        found += validate_ip(server, f"{path}.nameservers[{i}]")
    if len(searches) > 32:
        found.append(invalid_value(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > _MAX_SEARCH_LENGTH:
        detail = f"must not have more than {_MAX_SEARCH_LENGTH} characters (including spaces) in the search list"
        found.append(invalid_value(f"{path}.searches", searches, detail))
    for i, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            problems = names.dns1123_subdomain(bare.replace("_", "-"))
            found += [invalid_value(f"{path}.searches[{i}]", bare, p) for p in problems]
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
