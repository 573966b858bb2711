from typing import Any

from apimachinery.apply.scale import to_object, to_scale
from tests.apimachinery.apply.deployments import T

_REPLICAS = {"f:spec": {"f:replicas": {}}}


def _entry(
    manager: str, operation: str, version: str, owned: Any, time: str | None = None, sub: str = ""
) -> dict[str, Any]:
    entry = {"manager": manager, "operation": operation, "apiVersion": version}
    if time:
        entry["time"] = time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned}
    return entry | ({"subresource": sub} if sub else {})


_OBJECT = [
    _entry("a", "Apply", "apps/v1", {"f:spec": {"f:paused": {}, "f:replicas": {}}}, T[1]),
    _entry("b", "Update", "apps/v1", {"f:spec": {"f:paused": {}}}, T[2]),
    _entry("c", "Update", "apps/v1beta1", _REPLICAS, T[2]),
]


def test_a_scale_shows_who_owns_replicas() -> None:
    assert to_scale(_OBJECT, "apps/v1") == [_entry("a", "Apply", "autoscaling/v1", _REPLICAS, T[1])]


def test_who_scales_takes_replicas_from_the_object_owners() -> None:
    scaler = _entry("hpa", "Update", "autoscaling/v1", _REPLICAS, T[3], "scale")
    assert to_object(_OBJECT, [scaler], "apps/v1") == [
        _entry("a", "Apply", "apps/v1", {"f:spec": {"f:paused": {}}}, T[1]),
        _entry("hpa", "Update", "apps/v1", _REPLICAS, None, "scale"),
        _entry("b", "Update", "apps/v1", {"f:spec": {"f:paused": {}}}, T[2]),
    ]


def test_an_owner_that_scales_to_the_same_stays_as_it_was() -> None:
    entries = [_entry("b", "Update", "apps/v1", {"f:spec": {"f:paused": {}, "f:replicas": {}}}, T[2])]
    assert to_object(entries, to_scale(entries, "apps/v1"), "apps/v1") == entries


def test_an_owner_of_replicas_alone_goes_when_it_loses_them() -> None:
    entries = [_entry("a", "Apply", "apps/v1", _REPLICAS, T[1])]
    assert to_object(entries, [], "apps/v1") == []
