"""The owners of ``spec.replicas`` as the scale subresource shows them, and back.

A Scale has one field that its object has too, so whoever scales owns that field of the object: entries are translated
on the way out, and on the way back those who lost the field lose it in the object.
"""

from typing import Any

from apimachinery.apply import fieldset, managed
from apimachinery.apply.fieldset import Path
from apimachinery.apply.managed import Managed, Owned

SCALE_VERSION = "autoscaling/v1"
REPLICAS: Path = ("f:spec", "f:replicas")

Entries = list[dict[str, Any]]


def to_scale(entries: Entries, api_version: str, path: Path = REPLICAS) -> Entries:
    """The managedFields of an object's Scale. Raises ManagedFieldsError."""
    in_scale = fieldset.from_paths([REPLICAS])
    shown = {
        manager: Owned(in_scale, SCALE_VERSION, owned.time)
        for manager, owned in managed.decode(entries, trusted=True).items()
        if owned.api_version == api_version and fieldset.has(owned.fields, path)
    }
    return managed.encode(shown)


def to_object(entries: Entries, scale_entries: Entries, api_version: str, path: Path = REPLICAS) -> Entries:
    """The object's managedFields after its Scale was written. Raises ManagedFieldsError."""
    scalers = {
        manager._replace(api_version=api_version if manager.api_version else ""): owned
        for manager, owned in managed.decode(scale_entries, trusted=True).items()
    }
    replicas = fieldset.from_paths([path])
    out: Managed = {}
    ours = managed.decode(entries, trusted=True)
    for manager, owned in ours.items():
        if owned.api_version != api_version:
            continue
        if fieldset.has(owned.fields, path) and scalers.pop(manager, None) is None:
            owned = managed.with_fields(owned, fieldset.difference(owned.fields, replicas))
        if owned.fields:
            out[manager] = owned
    for manager, owned in scalers.items():
        if fieldset.has(owned.fields, REPLICAS):
            # Upstream gives a newcomer no time.
            time = ours[manager].time if manager in ours else None
            out[manager] = Owned(replicas, api_version, time)
    return managed.encode(out)
