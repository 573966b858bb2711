"""Rules of what CSI drivers register: themselves, their nodes, their capacity, and what they attach."""

import itertools
from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from apimachinery.selectors import validate_label_selector
from apiserver.registry.objectmeta import IMMUTABLE, NON_NEGATIVE
from apiserver.registry.volumes import csi_driver_name

Object = dict[str, Any]

_MAX_METADATA, _MAX_MESSAGE = 256 * 1024, 1024
_MAX_NODE_ID = 256
_FS_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Persistent", "Ephemeral")
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32


# --- VolumeAttachment -------------------------------------------------------------------------------------------


def validate_attachment(obj: Object) -> list[FieldError]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    found = [] if spec.get("attacher") else [required("spec.attacher")]
    source = spec.get("source") or {}
    if ("inlineVolumeSpec" in source) == ("persistentVolumeName" in source):
        wrong = forbidden_field if source else required
        found.append(wrong("spec.source", _ONE_SOURCE))
    elif source.get("persistentVolumeName") == "":
        detail = "must specify non empty persistentVolumeName"
        found.append(required("spec.source.persistentVolumeName", detail))
    node = spec.get("nodeName", "")
    found += [invalid_value("spec.nodeName", node, p) for p in names.dns1123_subdomain(node)]
    reported = status.get("attachmentMetadata") or {}
    if sum(len(k) + len(v) for k, v in reported.items()) > _MAX_METADATA:
        found.append(too_long("status.attachmentMetadata", _MAX_METADATA))
    for field in ("attachError", "detachError"):
        if len((status.get(field) or {}).get("message", "")) > _MAX_MESSAGE:
            # The limit that upstream tells is not the one that it checks.
            found.append(too_long(f"status.{field}.message", _MAX_METADATA))
    return found


def validate_new_attachment(obj: Object) -> list[FieldError]:
    """What only v1 asks, and only of new ones."""
    spec = obj.get("spec") or {}
    found = csi_driver_name(spec.get("attacher", ""), "spec.attacher")
    volume = (spec.get("source") or {}).get("persistentVolumeName")
    if volume is not None:
        where = "spec.source.persistentVolumeName"
        found += [invalid_value(where, volume, p) for p in names.dns1123_subdomain(volume)]
    return found


# --- CSIDriver --------------------------------------------------------------------------------------------------


def validate_driver(spec: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _FS_GROUP_POLICIES:
        found.append(not_supported(f"{path}.fsGroupPolicy", policy, _FS_GROUP_POLICIES))
    seen: set[str] = set()
    for i, token in enumerate(spec.get("tokenRequests") or ()):
        where, audience, seconds = (
            f"{path}.tokenRequests[{i}]",
            token.get("audience", ""),
            token.get("expirationSeconds"),
        )
        if audience in seen:
            found.append(duplicate(f"{where}.audience", audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            detail = "may not specify a duration less than 10 minutes"
            found.append(invalid_value(f"{where}.expirationSeconds", seconds, detail))
        if seconds is not None and seconds > _LONGEST_TOKEN:
            detail = "may not specify a duration larger than 2^32 seconds"
            found.append(invalid_value(f"{where}.expirationSeconds", seconds, detail))
    where = f"{path}.volumeLifecycleModes"
    found += [
        not_supported(where, m, _LIFECYCLES) for m in spec.get("volumeLifecycleModes") or () if m not in _LIFECYCLES
    ]
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        detail = "must be greater than or equal to 10 seconds"
        found.append(invalid_value(f"{path}.nodeAllocatableUpdatePeriodSeconds", period, detail))
    return found


def validate_driver_update(spec: Object, before: Object, path: str) -> list[FieldError]:
    # The first path is upstream's, with its slip of the pen.
    fields = (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes"))
    return [
        invalid_value(f"{path}.{shown}", spec.get(field), IMMUTABLE)
        for field, shown in fields
        if spec.get(field) != before.get(field)
    ]


# --- CSINode ----------------------------------------------------------------------------------------------------


def validate_csi_node(drivers: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, driver in enumerate(drivers):
        where, name, node = f"{path}[{i}]", driver.get("name", ""), driver.get("nodeID", "")
        found += csi_driver_name(name, f"{where}.name")
        if not node:
            found.append(required(f"{where}.nodeID"))
        if len(node) > _MAX_NODE_ID:
            found.append(invalid_value(f"{where}.nodeID", node, f"must be {_MAX_NODE_ID} characters or less"))
        count = (driver.get("allocatable") or {}).get("count", 0)
        if count < 0:
            found.append(invalid_value(f"{where}.allocatable.count", count, NON_NEGATIVE))
        if name in seen:
            found.append(duplicate(f"{where}.name", name))
        seen.add(name)
        found += _topology_keys(driver.get("topologyKeys") or [], where)
    return found


def _topology_keys(keys: list[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, key in enumerate(keys):
        if not key:
            found.append(required(path))
        if key in keys[:i]:
            found.append(duplicate(path, key))
        found += [invalid_value(path, key, p) for p in names.qualified_name(key)]
    return found


def validate_csi_node_update(drivers: list[Object], before: list[Object], path: str) -> list[FieldError]:
    """Drivers come and go; one that stays, stays as it is."""
    pairs = itertools.product(before, drivers)
    changed = [new for old, new in pairs if old.get("name") == new.get("name") and old != new]
    return [invalid_value(path, driver, IMMUTABLE) for driver in changed]


# --- CSIStorageCapacity -----------------------------------------------------------------------------------------


def validate_capacity(obj: Object) -> list[FieldError]:
    name, amount = obj.get("storageClassName", ""), obj.get("capacity")
    found = validate_label_selector(obj.get("nodeTopology"), "nodeTopology")
    found += [invalid_value("storageClassName", name, p) for p in names.dns1123_subdomain(name)]
    if amount is not None and quantity.parse(amount).sign < 0:
        found.append(invalid_value("capacity", amount, NON_NEGATIVE))
    return found


def validate_capacity_update(new: Object, old: Object) -> list[FieldError]:
    """What was asked of the driver; only its answer changes."""
    fields = ("nodeTopology", "storageClassName")
    return [invalid_value(f, new.get(f), IMMUTABLE) for f in fields if new.get(f) != old.get(f)]
