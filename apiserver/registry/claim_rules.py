"""Rules of what a PersistentVolumeClaim asks for, also where one is only a template."""

from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import FieldError, Literal, forbidden_field, invalid_value, not_supported, required
from apimachinery.selectors import validate_label_selector
from apiserver.registry.objectmeta import validate_annotations, validate_labels

Object = dict[str, Any]

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def validate_access_modes(modes: list[str] | None, path: str) -> list[FieldError]:
    modes = modes or []
    found = [not_supported(path, m, _MODES) for m in modes if m not in _MODES]
    if "ReadWriteOncePod" in modes and any(m in _MODES and m != "ReadWriteOncePod" for m in modes):
        found.append(forbidden_field(path, "may not use ReadWriteOncePod with other access modes"))
    return found


def validate_claim_template(template: Object, path: str) -> list[FieldError]:
    """The template of a generic ephemeral volume: of its metadata only labels and annotations are used."""
    metadata = template.get("metadata") or {}
    found = validate_annotations(metadata.get("annotations") or {}, f"{path}.metadata.annotations")
    found += validate_labels(metadata.get("labels") or {}, f"{path}.metadata.labels")
    others = [f for f in metadata if f not in ("annotations", "labels") and metadata[f]]
    found += [forbidden_field(f"{path}.metadata.{field}", "cannot be set") for field in others]
    return found + validate_claim_spec(template.get("spec") or {}, f"{path}.spec")


def validate_claim_spec(spec: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not spec.get("accessModes"):
        found.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    found += validate_label_selector(spec.get("selector"), f"{path}.selector")
    found += validate_access_modes(spec.get("accessModes"), f"{path}.accessModes")
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    where = f"{path}.resources[storage]"
    if size is None:
        found.append(required(where))
    elif quantity.parse(size).sign <= 0:
        found.append(invalid_value(where, size, "must be greater than zero"))
    if spec.get("storageClassName"):
        problems = names.dns1123_subdomain(spec["storageClassName"])
        found += [invalid_value(f"{path}.storageClassName", spec["storageClassName"], p) for p in problems]
    if spec.get("volumeMode", "Filesystem") not in VOLUME_MODES:
        found.append(not_supported(f"{path}.volumeMode", spec["volumeMode"], VOLUME_MODES))
    for field in ("dataSource", "dataSourceRef"):
        if field in spec:
            found += _data_source(spec[field], f"{path}.{field}")
    return found + _same_source(spec, path)


def _data_source(source: Object, path: str) -> list[FieldError]:
    """What a volume is filled with: another claim, or something that a populator knows."""
    found = [required(f"{path}.{f}") for f in ("name", "kind") if not source.get(f)]
    group, kind = source.get("apiGroup", ""), source.get("kind", "")
    if not group and kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        found.append(invalid_value(path, kind, detail))
    if group:
        found += [invalid_value(f"{path}.apiGroup", group, p) for p in names.dns1123_subdomain(group)]
    if namespace := source.get("namespace"):
        found += [invalid_value(f"{path}.namespace", namespace, p) for p in names.dns1123_label(namespace)]
    return found


def _same_source(spec: Object, path: str) -> list[FieldError]:
    """Two names of one field, of which the newer one can say more."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is None or reference is None:
        return []
    shown = Literal(f"{path}.dataSource")
    if reference.get("namespace"):
        detail = "may not be specified when dataSourceRef.namespace is specified"
        return [invalid_value(path, shown, detail)]
    same = all(source.get(f) == reference.get(f) for f in ("apiGroup", "kind", "name"))
    return [] if same else [invalid_value(path, shown, "must match dataSourceRef")]
