"""Rules of environment variables, and of what refers to fields of the pod: in variables and in volumes."""

import re
from collections.abc import Iterable
from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import FieldError, invalid_value, not_supported, required

Object = dict[str, Any]

ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
#: Fields of a pod that have a name at all; each use allows some of them.
_LABELS = frozenset((
    *ENV_FIELDS, "metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase",
))  # fmt: skip
_SUBSCRIPTED = re.compile(r"(.*)\['(.*)'\]", re.DOTALL)
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_BYTES = ("1", *(f"1{p}" for p in "kMGTPE"), *(f"1{p}i" for p in "KMGTPE"))
_DIVISORS = {
    "cpu": (("1m", "1"), "only divisor's values 1m and 1 are supported with the cpu resource"),
    "memory": (_BYTES, f"only divisor's values {', '.join(_BYTES)} are supported with the memory resource"),
    "ephemeral-storage": (
        _BYTES, f"only divisor's values {', '.join(_BYTES)} are supported with the local ephemeral storage resource",
    ),
    "hugepages": (_BYTES, f"only divisor's values {', '.join(_BYTES)} are supported with the hugepages resource"),
}  # fmt: skip


def validate_env(variables: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, variable in enumerate(variables):
        where, name = f"{path}[{i}]", variable.get("name", "")
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
        found += validate_field_ref(source["fieldRef"], ENV_FIELDS, f"{path}.fieldRef")
    if "resourceFieldRef" in given:
        found += validate_resource_field_ref(source["resourceFieldRef"], f"{path}.resourceFieldRef", volume=False)
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


def validate_field_ref(ref: Object, allowed: Iterable[str], path: str) -> list[FieldError]:
    """A reference to a field of the pod, or to one of its labels or annotations."""
    version, field = ref.get("apiVersion", ""), ref.get("fieldPath", "")
    if not version:
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    why = ""
    match = _SUBSCRIPTED.fullmatch(field)
    if version != "v1":
        why = f"unsupported pod version: {version}"
    elif match:
        if match[1] not in ("metadata.annotations", "metadata.labels"):
            why = "field label does not support subscript"
    elif field not in _LABELS and field != "spec.host":
        why = f"field label not supported: {field}"
    if why:
        return [invalid_value(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")]
    if match:
        key = match[2].lower() if match[1] == "metadata.annotations" else match[2]
        return [invalid_value(path, key, p) for p in names.qualified_name(key)]
    field = "spec.nodeName" if field == "spec.host" else field
    return [] if field in allowed else [not_supported(f"{path}.fieldPath", field, sorted(allowed))]


def validate_resource_field_ref(ref: Object, path: str, *, volume: bool) -> list[FieldError]:
    """A reference to what a container asks for; in a volume it has to say which container."""
    resource = ref.get("resource", "")
    found: list[FieldError] = []
    if volume and not ref.get("containerName"):
        found.append(required(f"{path}.containerName"))
    elif not resource:
        found.append(required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        found.append(not_supported(f"{path}.resource", resource, _RESOURCES))
    return found + _divisor(resource, ref.get("divisor", "0"), f"{path}.divisor")


def _divisor(resource: str, divisor: str, path: str) -> list[FieldError]:
    if not quantity.parse(divisor).unscaled:
        return []
    kind = "hugepages" if resource.startswith(_HUGE_PAGES) else resource.partition(".")[2]
    supported, why = _DIVISORS.get(kind, ((divisor,), ""))
    return [] if divisor in supported else [invalid_value(path, resource, why)]


def _key_ref(ref: Object, path: str) -> list[FieldError]:
    name, key = ref.get("name", ""), ref.get("key", "")
    found = [invalid_value(f"{path}.name", name, p) for p in names.dns1123_subdomain(name)]
    if not key:
        return [*found, required(f"{path}.key")]
    return found + [invalid_value(f"{path}.key", key, p) for p in names.config_map_key(key)]


def validate_env_from(sources: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, source in enumerate(sources):
        where, prefix = f"{path}[{i}]", source.get("prefix")
        if prefix:
            found += [invalid_value(f"{where}.prefix", prefix, p) for p in names.env_var_name(prefix)]
        given = [f for f in ("configMapRef", "secretRef") if f in source]
        for kind in given:
            name = source[kind].get("name", "")
            if not name:
                found.append(required(f"{where}.{kind}.name"))
            else:
                problems = names.dns1123_subdomain(names.mask_trailing_dash(name))
                found += [invalid_value(f"{where}.{kind}.name", name, p) for p in problems]
        # Upstream names the list here, not the entry.
        if not given:
            found.append(invalid_value(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            found.append(invalid_value(path, "", "may not have more than one field specified at a time"))
    return found
