"""Who owns the fields that a request writes: the ``FieldManager`` of every endpoint, and where the handlers ask it.

Which fields an endpoint does not write (upstream's ``GetResetFields`` of each strategy) decides what its clients can own: on
the object itself all but status, on ``/status`` all but spec. What differs from that is in the tables here.
"""

from apimachinery.apply import FieldManager, fields
from apimachinery.apply.fieldmanager import Converter, Object
from apimachinery.apply.fieldset import FieldSet
from apimachinery.resources import RESOURCES, Resource
from apimachinery.schema import Schema, schema_for
from apiserver.registry import CONVERSIONS, STRATEGIES

_NOT_WRITTEN: dict[tuple[str, str], FieldSet] = {
    ("CertificateSigningRequest", ""): fields("spec", "status"),
    ("CertificateSigningRequest", "approval"): fields("spec", "status.certificate"),
    ("Deployment", "status"): fields("spec", "metadata.labels"),
    ("FlowSchema", "status"): fields("spec", "metadata"),
    ("Namespace", "finalize"): fields("status"),
    ("Pod", "status"): fields("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
    ("PriorityLevelConfiguration", "status"): fields("spec", "metadata"),
    ("VolumeAttachment", "status"): fields("spec", "metadata"),
}
_RESIZED = {"*": fields("resources", "resizePolicy")}
_WRITTEN: dict[tuple[str, str], FieldSet] = {
    ("Pod", "ephemeralcontainers"): fields("spec.ephemeralContainers"),
    ("Pod", "resize"): {"f:spec": {"f:containers": _RESIZED, "f:initContainers": _RESIZED}},
}


def field_manager(resource: Resource, subresource: str = "") -> FieldManager:
    """A new one; an endpoint keeps its own (``Endpoint.fields``)."""
    what = (resource.kind, subresource)
    not_written = _NOT_WRITTEN.get(what)
    if not_written is None:
        usual = {"status": fields("spec"), "": fields("status") if STRATEGIES[resource].has_status else {}}
        not_written = usual.get(subresource, {})
    versions = _versions(resource)
    return FieldManager(
        schema_for(resource),
        resource.group,
        resource.version,
        resource.kind,
        subresource=subresource,
        reset=dict.fromkeys(versions, not_written),
        only=_WRITTEN.get(what),
        convert=_converter(versions) if len(versions) > 1 else None,
    )


def _versions(resource: Resource) -> dict[str, Resource]:
    """All rows that show the same stored objects, by their API version."""
    stored = resource.stored_api_version
    return {r.api_version: r for r in RESOURCES if r.kind == resource.kind and r.stored_api_version == stored}


def _converter(versions: dict[str, Resource]) -> Converter:
    def convert(obj: Object, wanted: str) -> tuple[Object, Schema | None] | None:
        source, target = versions.get(obj["apiVersion"]), versions.get(wanted)
        if source is None or target is None:
            return None
        if source is not target:
            obj = CONVERSIONS[source].to_stored(obj) if source in CONVERSIONS else obj
            obj = CONVERSIONS[target].to_served(obj) if target in CONVERSIONS else obj
        return obj, schema_for(target)

    return convert
