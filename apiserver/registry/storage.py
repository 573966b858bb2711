"""PersistentVolumes, claims, StorageClasses, VolumeAttachments and what CSI drivers register."""

from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import (
    FieldError,
    Literal,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)
from apimachinery.table import Column
from apiserver.registry.claim_rules import VOLUME_MODES, validate_access_modes, validate_claim_spec
from apiserver.registry.csi_rules import (
    validate_attachment,
    validate_capacity,
    validate_capacity_update,
    validate_csi_node,
    validate_csi_node_update,
    validate_driver,
    validate_driver_update,
    validate_new_attachment,
)
from apiserver.registry.objectmeta import IMMUTABLE, keep_for_status
from apiserver.registry.pod_defaults import round_resources
from apiserver.registry.scheduling_rules import validate_node_selector
from apiserver.registry.storage_class_rules import validate_parameters, validate_topologies
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.volumes import ONE_TYPE, SOURCES, csi_driver_name, no_backsteps, validate_source

_SHORT_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
_RECLAIM = ("Delete", "Recycle", "Retain")
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_VOLUME_MODE = Column(
    "VolumeMode",
    description="volumeMode defines what type of volume is required by the claim. Value of Filesystem is implied when not "
    "included in claim spec.",
    priority=1,
)
_ATTRIBUTES_CLASS = Column("VolumeAttributesClass", description="VolumeAttributesClass of the pvc")


def _modes_cell(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _SHORT_MODES if mode in (modes or ()))


# --- PersistentVolumeClaim --------------------------------------------------------------------------------------


class ClaimStrategy(Strategy):
    has_status = True
    columns = (
        NAME,
        Column("Status", description="phase represents the current phase of PersistentVolumeClaim."),
        Column("Volume", description="volumeName is the binding reference to the PersistentVolume backing this claim."),
        Column("Capacity", description="capacity represents the actual resources of the underlying volume."),
        Column(
            "Access Modes", description="accessModes contains the actual access modes the volume backing the PVC has."
        ),
        Column("StorageClass", description="StorageClass of the pvc"),
        _ATTRIBUTES_CLASS,
        AGE,
        _VOLUME_MODE,
    )

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        obj.setdefault("status", {}).setdefault("phase", "Pending")

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_claim_spec(obj["spec"], "spec")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        """Once bound only the size may grow; a volume and a class may be filled in once."""
        spec, before = dict(new["spec"]), old["spec"]
        found = _class_annotation_is_kept(new, old)
        if not before.get("volumeName") and "volumeName" in spec:
            spec.pop("volumeName")
        if "storageClassName" not in before:
            spec.pop("storageClassName", None)
        wanted, had = _storage(spec), _storage(before)
        status = old.get("status") or {}
        if status.get("phase") == "Bound" and wanted is not None:
            spec["resources"] = _with_storage(spec["resources"], had)
        if spec != before:
            detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            found.append(forbidden_field("spec", f"{detail}\n{_difference(spec, before)}"))
        if wanted and had and quantity.compare(wanted, had) < 0:
            # A growth that failed can be taken back, down to what there is.
            there = (status.get("capacity") or {}).get("storage", "0")
            if quantity.compare(wanted, there) <= 0:
                detail = "field can not be less than status.capacity"
                found.append(forbidden_field("spec.resources.requests.storage", detail))
        if new["spec"].get("volumeMode") != before.get("volumeMode"):
            found.append(invalid_value("volumeMode", new["spec"].get("volumeMode"), IMMUTABLE))
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        bound = bool(spec.get("volumeName"))
        phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
        annotated = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
        return [
            obj["metadata"]["name"],
            phase,
            spec.get("volumeName", ""),
            (status.get("capacity") or {}).get("storage", "0") if bound else "",
            _modes_cell(status.get("accessModes")) if bound else "",
            annotated if annotated is not None else spec.get("storageClassName", ""),
            spec.get("volumeAttributesClassName") or "<unset>",
            self.age(obj, now),
            spec.get("volumeMode") or "<unset>",
        ]


def _storage(spec: Object) -> str | None:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def _class_annotation_is_kept(new: Object, old: Object) -> list[FieldError]:
    """It may only be replaced by the field that says the same."""
    now, before = ((o["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION, "") for o in (new, old))
    moved = before and "storageClassName" not in old["spec"] and new["spec"].get("storageClassName") == before
    if now == before or (moved and not now):
        return []
    return [invalid_value(f"metadata.annotations.{_CLASS_ANNOTATION}", now, IMMUTABLE)]


def _difference(new: Object, old: Object) -> str:
    """Which fields differ, in the place of upstream's Go diff."""
    return "".join(f"  spec.{k} differs\n" for k in sorted(new.keys() | old.keys()) if new.get(k) != old.get(k))


def _with_storage(resources: Object, amount: str | None) -> Object:
    return {**resources, "requests": {**resources["requests"], "storage": amount}}


# --- PersistentVolume -------------------------------------------------------------------------------------------

_VOLUME_SOURCES = (*SOURCES, "local")
_BOOKKEEPING = frozenset(
    (
        "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
        "volumeMode", "nodeAffinity", "volumeAttributesClassName",
    )
)  # fmt: skip


_SECRETS = ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")


def _volume_source(spec: Object) -> list[FieldError]:
    given = [s for s in _VOLUME_SOURCES if s in spec]
    if not given:
        return [required("spec", "must specify a volume type")]
    kind, source = given[0], spec[given[0]]
    if kind == "csi":
        found = _csi(source)
    elif kind == "local":
        path = source.get("path", "")
        found = no_backsteps(path, "spec.local.path") if path else [required("spec.local.path")]
        if "nodeAffinity" not in spec:
            found.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    else:
        found = validate_source(kind, source, "spec")
    return found + [forbidden_field(f"spec.{s}", ONE_TYPE) for s in given[1:]]


def _csi(source: Object) -> list[FieldError]:
    found = csi_driver_name(source.get("driver", ""), "spec.csi.driver")
    if not source.get("volumeHandle"):
        found.append(required("spec.csi.volumeHandle"))
    for field in _SECRETS:
        if field in source:
            found += _secret_reference(source[field], f"spec.csi.{field}")
    return found


def _secret_reference(reference: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field, rule in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
        value = reference.get(field, "")
        found += (
            [invalid_value(f"{path}.{field}", value, p) for p in rule(value)]
            if value
            else [required(f"{path}.{field}")]
        )
    return found


def _without_late_secret(spec: Object, before: Object) -> Object:
    """The secret for expansions may be filled in later."""
    field = "controllerExpandSecretRef"
    if field not in (spec.get("csi") or {}) or "csi" not in before or field in before["csi"]:
        return spec
    return {**spec, "csi": {k: v for k, v in spec["csi"].items() if k != field}}


class VolumeStrategy(Strategy):
    has_status = True
    selectable = ("name",)
    columns = (
        NAME,
        Column("Capacity", description="capacity is the description of the persistent volume's resources and capacity."),
        Column("Access Modes", description="accessModes contains all ways the volume can be mounted."),
        Column("Reclaim Policy", description="persistentVolumeReclaimPolicy defines what happens to a persistent volume when "
               "released from its claim."),
        Column("Status", description="phase indicates if a volume is available, bound to a claim, or released by a claim."),
        Column("Claim", description="claimRef is part of a bi-directional binding between PersistentVolume and "
               "PersistentVolumeClaim."),
        Column("StorageClass", description="StorageClass of the pv"),
        _ATTRIBUTES_CLASS,
        Column("Reason", description="reason is a brief CamelCase string that describes any failure and is meant for machine "
               "parsing and tidy display in the CLI."),
        AGE,
        _VOLUME_MODE,
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        spec.setdefault("volumeMode", "Filesystem")
        if "hostPath" in spec:
            spec["hostPath"].setdefault("type", "")
        if amounts := spec.get("capacity"):
            round_resources(amounts)
        obj.setdefault("status", {}).setdefault("phase", "Pending")

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found = [] if spec.get("accessModes") else [required("spec.accessModes")]
        found += validate_access_modes(spec.get("accessModes"), "spec.accessModes")
        capacity = spec.get("capacity") or {}
        if not capacity:
            found.append(required("spec.capacity"))
        if set(capacity) != {"storage"}:
            found.append(not_supported("spec.capacity", capacity or Literal("core.ResourceList{}"), ("storage",)))
        for name, amount in capacity.items():
            if quantity.parse(amount).sign <= 0:
                found.append(invalid_value(f"spec.capacity[{name}]", amount, "must be greater than zero"))
        if spec["persistentVolumeReclaimPolicy"] not in _RECLAIM:
            where = "spec.persistentVolumeReclaimPolicy"
            found.append(not_supported(where, spec["persistentVolumeReclaimPolicy"], _RECLAIM))
        if "nodeAffinity" in spec:
            if "required" in spec["nodeAffinity"]:
                found += validate_node_selector(spec["nodeAffinity"]["required"], "spec.nodeAffinity.required")
            else:
                found.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
        found += _volume_source(spec)
        if (spec.get("hostPath") or {}).get("path") == "/" and spec["persistentVolumeReclaimPolicy"] == "Recycle":
            detail = "may not be 'recycle' for a hostPath mount of '/'"
            found.append(forbidden_field("spec.persistentVolumeReclaimPolicy", detail))
        if name := spec.get("storageClassName"):
            found += [invalid_value("spec.storageClassName", name, p) for p in names.dns1123_subdomain(name)]
        if spec.get("volumeMode", "Filesystem") not in VOLUME_MODES:
            found.append(not_supported("spec.volumeMode", spec["volumeMode"], VOLUME_MODES))
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new["spec"], old["spec"]
        found: list[FieldError] = []
        sources = (spec.keys() | before.keys()) - _BOOKKEEPING
        now, then = ({f: s[f] for f in sources if f in s} for s in (_without_late_secret(spec, before), before))
        if now != then:
            detail = f"spec.persistentvolumesource is immutable after creation\n{_difference(now, then)}"
            found.append(forbidden_field("spec.persistentvolumesource", detail))
        if spec.get("volumeMode") != before.get("volumeMode"):
            found.append(invalid_value("volumeMode", spec.get("volumeMode"), IMMUTABLE))
        if "nodeAffinity" in before and spec.get("nodeAffinity") != before["nodeAffinity"]:
            found.append(invalid_value("nodeAffinity", spec.get("nodeAffinity"), IMMUTABLE))
        return found

    def check_field_label(self, label: str) -> str:
        return "metadata.name" if label == "name" else super().check_field_label(label)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        claim = spec.get("claimRef")
        phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
        annotated = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
        return [
            obj["metadata"]["name"],
            (spec.get("capacity") or {}).get("storage", "0"),
            _modes_cell(spec.get("accessModes")),
            spec.get("persistentVolumeReclaimPolicy", ""),
            phase,
            f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
            annotated if annotated is not None else spec.get("storageClassName", ""),
            spec.get("volumeAttributesClassName") or "<unset>",
            status.get("reason", ""),
            self.age(obj, now),
            spec.get("volumeMode") or "<unset>",
        ]


# --- StorageClass and friends -----------------------------------------------------------------------------------


class StorageClassStrategy(Strategy):
    columns = (
        NAME,
        Column("Provisioner", description="provisioner indicates the type of the provisioner."),
        Column("ReclaimPolicy", description="reclaimPolicy controls the reclaimPolicy for dynamically provisioned "
               "PersistentVolumes of this storage class. Defaults to Delete."),
        Column("VolumeBindingMode", description="volumeBindingMode indicates how PersistentVolumeClaims should be provisioned "
               "and bound."),
        Column("AllowVolumeExpansion", description="allowVolumeExpansion shows whether the storage class allow volume expand."),
        AGE,
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def rules(self, obj: Object) -> list[FieldError]:
        found: list[FieldError] = []
        provisioner = obj.get("provisioner", "")
        if not provisioner:
            found.append(required("provisioner"))
        found += [
            invalid_value("provisioner", provisioner, p)
            for p in names.qualified_name(provisioner.lower())
            if provisioner
        ]
        found += validate_parameters(obj.get("parameters") or {})
        if obj["reclaimPolicy"] not in ("Delete", "Retain"):
            found.append(not_supported("reclaimPolicy", obj["reclaimPolicy"], ("Delete", "Retain")))
        modes = ("Immediate", "WaitForFirstConsumer")
        if obj["volumeBindingMode"] not in modes:
            found.append(not_supported("volumeBindingMode", obj["volumeBindingMode"], modes))
        return found + validate_topologies(obj.get("allowedTopologies") or [], "allowedTopologies")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        found = [
            forbidden_field(f, f"updates to {f} are forbidden.")
            for f in ("parameters", "provisioner", "reclaimPolicy")
            if new.get(f) != old.get(f)
        ]
        if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
            found.append(invalid_value("volumeBindingMode", new.get("volumeBindingMode"), IMMUTABLE))
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        annotations = obj["metadata"].get("annotations") or {}
        is_default = any(annotations.get(a) == "true" for a in _DEFAULT_CLASS)
        return [
            obj["metadata"]["name"] + (" (default)" if is_default else ""),
            obj.get("provisioner", ""),
            obj.get("reclaimPolicy", "Delete"),
            obj.get("volumeBindingMode", "Immediate"),
            bool(obj.get("allowVolumeExpansion")),
            self.age(obj, now),
        ]


class VolumeAttachmentStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    columns = (
        NAME,
        Column(
            "Attacher", description="attacher indicates the name of the volume driver that MUST handle this request."
        ),
        Column("PV", description="persistentVolumeName represents the name of the persistent volume to attach."),
        Column("Node", description="nodeName represents the node that the volume should be attached to."),
        Column("Attached", "boolean", description="attached indicates the volume is successfully attached."),
        AGE,
    )

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"attached": False}

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        keep_for_status(new["metadata"], old["metadata"])

    def validate(self, obj: Object) -> list[FieldError]:
        return super().validate(obj) + validate_new_attachment(obj)

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_attachment(obj)

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return [] if new.get("spec") == old.get("spec") else [invalid_value("spec", new.get("spec"), IMMUTABLE)]

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_attachment(new)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"]["name"],
            spec.get("attacher", ""),
            (spec.get("source") or {}).get("persistentVolumeName", ""),
            spec.get("nodeName", ""),
            bool(status.get("attached")),
            self.age(obj, now),
        ]


class CSIDriverStrategy(Strategy):
    allow_unconditional_update = False
    columns = (
        NAME,
        Column("AttachRequired", "boolean", description="attachRequired indicates this CSI volume driver requires an attach "
               "operation."),
        Column("PodInfoOnMount", "boolean", description="podInfoOnMount indicates this CSI volume driver requires additional pod "
               "information during mount operations, if set to true."),
        Column("StorageCapacity", "boolean", description="storageCapacity indicates that the CSI volume driver wants pod "
               "scheduling to consider the storage capacity."),
        Column("TokenRequests", description="tokenRequests indicates the CSI driver needs pods' service account tokens."),
        Column("RequiresRepublish", "boolean", description="requiresRepublish indicates the CSI driver wants `NodePublishVolume` "
               "being periodically called."),
        Column("Modes", description="volumeLifecycleModes defines what kind of volumes this CSI volume driver supports."),
        AGE,
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("attachRequired", True)
        for field in ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"):
            spec.setdefault(field, False)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]
        spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """Only what kubelets must notice counts as a new generation."""
        counted = ("tokenRequests", "requiresRepublish", "seLinuxMount")
        if any(new["spec"].get(f) != old["spec"].get(f) for f in counted):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_driver(obj["spec"], "spec")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_driver_update(new["spec"], old["spec"], "spec")

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        audiences = [t.get("audience", "") for t in spec.get("tokenRequests") or ()]
        return [
            obj["metadata"]["name"],
            spec.get("attachRequired", True),
            spec.get("podInfoOnMount", False),
            spec.get("storageCapacity", False),
            ",".join(audiences) or "<unset>",
            spec.get("requiresRepublish", False),
            ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
            self.age(obj, now),
        ]


class CSINodeStrategy(Strategy):
    allow_unconditional_update = False
    columns = (
        NAME,
        Column("Drivers", "integer", description="Drivers indicates the number of CSI drivers registered on the node"),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_csi_node((obj.get("spec") or {}).get("drivers") or [], "spec.drivers")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        drivers, before = ((o.get("spec") or {}).get("drivers") or [] for o in (new, old))
        return validate_csi_node_update(drivers, before, "spec.drivers")

    def cells(self, obj: Object, now: float) -> list[Any]:
        drivers = (obj.get("spec") or {}).get("drivers") or ()
        return [obj["metadata"]["name"], len(drivers), self.age(obj, now)]


class StorageCapacityStrategy(Strategy):
    allow_unconditional_update = False
    columns = (
        NAME,
        Column("StorageClassName", description="storageClassName represents the name of the StorageClass that the reported "
               "capacity applies to."),
        Column("Capacity", description="capacity is the value reported by the CSI driver in its GetCapacityResponse for a "
               "GetCapacityRequest that matches the previous fields."),
    )  # fmt: skip

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_capacity(obj)

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return validate_capacity_update(new, old)

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], obj.get("storageClassName", ""), obj.get("capacity", "")]
