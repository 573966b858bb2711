"""Rules of ``metadata`` that hold for every kind (upstream's ``api/validation/objectmeta.go``)."""

from collections.abc import Callable
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, forbidden_field, invalid_value, quote, required, too_long

Metadata = dict[str, Any]

IMMUTABLE = "field is immutable"
NON_NEGATIVE = "must be greater than or equal to 0"
_ANNOTATIONS_LIMIT = 256 * 1024

NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow "
    "a client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
CREATED_DESCRIPTION = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)


def validate(metadata: Metadata, namespaced: bool, validate_name: Callable[[str, bool], list[str]]) -> list[FieldError]:
    """Everything wrong with the metadata of a new object."""
    found: list[FieldError] = []
    generate_name = metadata.get("generateName")
    if generate_name:
        found += [invalid_value("metadata.generateName", generate_name, p) for p in validate_name(generate_name, True)]
    name = metadata.get("name")
    if not name:
        found.append(required("metadata.name", "name or generateName is required"))
    else:
        problems = names.path_segment_name(name) or validate_name(name, False)
        found += [invalid_value("metadata.name", name, p) for p in problems]
    namespace = metadata.get("namespace")
    if not namespaced:
        if namespace:
            found.append(forbidden_field("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        found.append(required("metadata.namespace"))
    else:
        found += [invalid_value("metadata.namespace", namespace, p) for p in names.dns1123_label(namespace)]
    if metadata.get("generation", 0) < 0:
        found.append(invalid_value("metadata.generation", metadata["generation"], NON_NEGATIVE))
    found += _shared(metadata)
    found += _finalizers(metadata.get("finalizers") or [])
    return found


def validate_update(new: Metadata, old: Metadata) -> list[FieldError]:
    """Everything wrong with the metadata of an object that replaces ``old``."""
    found: list[FieldError] = []
    if old.get("deletionTimestamp"):
        added = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if added:
            shown = "[]string{" + ", ".join(map(quote, added)) + "}"
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}"
            found.append(forbidden_field("metadata.finalizers", detail))
    if not new.get("resourceVersion"):
        found.append(invalid_value("metadata.resourceVersion", "", "must be specified for an update"))
    if new.get("generation", 0) < old.get("generation", 0):
        found.append(invalid_value("metadata.generation", new.get("generation", 0), "must not be decremented"))
    for field in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(field) != old.get(field):
            found.append(invalid_value(f"metadata.{field}", new.get(field, ""), IMMUTABLE))
    return found + _shared(new)


def carry_over(new: Metadata, old: Metadata) -> None:
    """What a client cannot change is taken from the stored object, whatever the client sent."""
    for field in ("creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if field in old:
            new[field] = old[field]
        else:
            new.pop(field, None)
    for field in ("uid", "name", "namespace"):
        if not new.get(field) and old.get(field):
            new[field] = old[field]
    new.pop("selfLink", None)


def keep_for_status(new: Metadata, old: Metadata) -> None:
    """For the kinds whose ``/status`` changes nothing of the metadata but who owns which field."""
    written = {field: new[field] for field in ("managedFields", "resourceVersion") if field in new}
    new.clear()
    new.update({field: value for field, value in old.items() if field != "managedFields"} | written)


def _shared(metadata: Metadata) -> list[FieldError]:
    """Rules that hold at creation and at every update."""
    found: list[FieldError] = []
    if labels := metadata.get("labels"):
        found += validate_labels(labels, "metadata.labels")
    if annotations := metadata.get("annotations"):
        found += validate_annotations(annotations, "metadata.annotations")
    if owners := metadata.get("ownerReferences"):
        found += _owners(owners)
    return found


def validate_labels(labels: dict[str, str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for key, value in labels.items():
        found += [invalid_value(path, key, p) for p in names.qualified_name(key)]
        found += [invalid_value(path, value, p) for p in names.label_value(value)]
    return found


def validate_annotations(annotations: dict[str, str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    total = 0
    for key, value in annotations.items():
        found += [invalid_value(path, key, p) for p in names.qualified_name(key.lower())]
        total += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if total > _ANNOTATIONS_LIMIT:
        found.append(too_long(path, _ANNOTATIONS_LIMIT))
    return found


def _owners(owners: list[dict[str, Any]]) -> list[FieldError]:
    found: list[FieldError] = []
    path = "metadata.ownerReferences"
    controller = ""
    for owner in owners:
        api_version, kind, name = owner.get("apiVersion", ""), owner.get("kind", ""), owner.get("name", "")
        if not api_version.rpartition("/")[2]:
            found.append(invalid_value(f"{path}.apiVersion", api_version, "version must not be empty"))
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                found.append(invalid_value(f"{path}.{field}", "", f"{field} must not be empty"))
        if (api_version, kind) == ("v1", "Event"):
            found.append(invalid_value(path, Literal(kind), "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            current = f"{kind}/{name}"
            if controller:
                detail = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {current}'
                )
                found.append(invalid_value(path, owners, detail))
            else:
                controller = current
    return found


def _finalizers(finalizers: list[str]) -> list[FieldError]:
    path = "metadata.finalizers"
    found = [invalid_value(path, f, p) for f in finalizers for p in names.qualified_name(f)]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        found.append(invalid_value(path, finalizers, detail))
    return found
