"""Deployments to apply, and a field manager for them."""

from typing import Any

from apimachinery.apply import FieldManager, fields
from apimachinery.schema import decode, schema_of_kind
from apimachinery.schema.definitions import Schema

Object = dict[str, Any]


def schema(group: str, kind: str) -> Schema:
    found = schema_of_kind(group, "v1", kind)
    assert found is not None
    return found


DEPLOYMENT = schema("apps", "Deployment")
MANAGER = FieldManager(DEPLOYMENT, "apps", "v1", "Deployment", reset=fields("status"))
STATUS = FieldManager(
    DEPLOYMENT, "apps", "v1", "Deployment", subresource="status", reset=fields("spec", "metadata.labels")
)
POD = schema("", "Pod")
PODS = FieldManager(POD, "", "v1", "Pod", reset=fields("status"))


def deployment(**spec: Any) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def with_containers(*containers: Object, **spec: Any) -> Object:
    return deployment(template={"spec": {"containers": list(containers)}}, **spec)


def stored(obj: Object, uid: str = "u-1", of: Schema = DEPLOYMENT) -> Object:
    """The object as the API server would keep it."""
    found, unknown = decode(of, obj)
    assert not unknown
    found["metadata"]["uid"] = uid
    return found


def owners(obj: Object) -> dict[tuple[str, str], Any]:
    """(manager, operation) -> what it owns."""
    entries = obj["metadata"].get("managedFields") or []
    found = {(e["manager"], e["operation"]): e["fieldsV1"] for e in entries}
    assert len(found) == len(entries)
    return found


def times(obj: Object) -> dict[str, str | None]:
    return {e["manager"]: e.get("time") for e in obj["metadata"].get("managedFields") or []}


T = [f"2024-01-01T00:00:{i:02}Z" for i in range(60)]
