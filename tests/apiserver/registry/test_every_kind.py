"""What must hold for every kind, whatever a client sends: no rule crashes, defaults are stable, rows fit their columns."""

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apimachinery.errors import StatusError
from apimachinery.resources import RESOURCES, Resource
from apimachinery.schema import decode, schema_for
from apiserver.registry import STRATEGIES
from tests.apimachinery.objects import objects

SERVED = [r for r in RESOURCES if r.stored]
IDS = [f"{r.plural}.{r.group}/{r.version}" for r in SERVED]
fuzz = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def draw(data: st.DataObject, resource: Resource) -> dict[str, Any]:
    schema = schema_for(resource)
    obj: dict[str, Any] = decode(schema, data.draw(objects(schema, 5)))[0]
    obj |= {"apiVersion": resource.api_version, "kind": resource.kind}
    metadata = obj["metadata"]
    metadata["name"] = data.draw(st.sampled_from(["web", "Bad_Name", ""]))
    if resource.namespaced:
        metadata["namespace"] = "default"
    else:
        metadata.pop("namespace", None)
    return obj


def refusal(write: Callable[..., None], *objects: dict[str, Any]) -> StatusError | None:
    try:
        write(*objects)
    except StatusError as error:
        return error
    return None


@pytest.mark.parametrize("resource", SERVED, ids=IDS)
@fuzz
@given(st.data())
def test_any_object_is_taken_or_refused(resource: Resource, data: st.DataObject) -> None:
    strategy, obj = STRATEGIES[resource], draw(data, resource)
    strategy.default(obj)
    refused = refusal(strategy.before_create, obj)
    assert refused is None or (refused.code == 422 and refused.causes)
    strategy.warnings(obj)
    strategy.grace_period(obj, None)


@pytest.mark.parametrize("resource", SERVED, ids=IDS)
@fuzz
@given(st.data())
def test_any_update_is_taken_or_refused(resource: Resource, data: st.DataObject) -> None:
    strategy, old, new = STRATEGIES[resource], draw(data, resource), draw(data, resource)
    for obj in (old, new):
        strategy.default(obj)
        obj["metadata"]["resourceVersion"] = "1"
    for update in (strategy.before_update, strategy.before_status_update):
        refused = refusal(update, copy.deepcopy(new), copy.deepcopy(old))
        assert refused is None or refused.code == 422


@pytest.mark.parametrize("resource", SERVED, ids=IDS)
@fuzz
@given(st.data())
def test_rows_fit_their_columns_and_fields_can_be_selected(resource: Resource, data: st.DataObject) -> None:
    strategy, obj = STRATEGIES[resource], draw(data, resource)
    for candidate in (obj, {**obj, "status": {}}):
        cells = strategy.cells(candidate, time.time())
        assert len(cells) == len(strategy.columns)
        assert all(isinstance(c, str | int | bool | None) for c in cells)
        fields = strategy.selectable_fields(candidate)
        assert all(isinstance(v, str) for v in fields.values())


@pytest.mark.parametrize("resource", SERVED, ids=IDS)
@fuzz
@given(st.data())
def test_defaults_are_set_once(resource: Resource, data: st.DataObject) -> None:
    """What is stored and read again, or applied again, must not change."""
    strategy, obj = STRATEGIES[resource], draw(data, resource)
    strategy.default(obj)
    once = copy.deepcopy(obj)
    strategy.default(obj)
    assert obj == once
    stored = decode(schema_for(resource), once)[0]
    strategy.default(stored)
    assert stored == decode(schema_for(resource), stored)[0]


@pytest.mark.parametrize("resource", SERVED, ids=IDS)
def test_every_selectable_label_has_a_value_and_others_are_refused(resource: Resource) -> None:
    strategy = STRATEGIES[resource]
    fields = strategy.selectable_fields({"metadata": {"name": "n", "namespace": "ns"}})
    for label in strategy.selectable:
        assert strategy.check_field_label(label) in fields
    with pytest.raises(StatusError) as error:
        strategy.check_field_label("spec.nonsense")
    assert error.value.code == 400
    assert "spec.nonsense" in error.value.message
