"""What must hold for every kind, whatever a client sends: no rule crashes, defaults are stable, rows fit their columns."""

import copy
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import RESOURCES, Resource
from apimachinery.schema import decode, schema_for
from apiserver.registry import CONVERSIONS, STRATEGIES
from tests.apimachinery.objects import random_object

SERVED = [r for r in RESOURCES if r.stored]
IDS = [f"{r.plural}.{r.group}/{r.version}" for r in SERVED]
SEEDS = range(60)

every_kind = pytest.mark.parametrize("resource", SERVED, ids=IDS)


def made(resource: Resource, seed: int) -> dict[str, Any]:
    random = Random(seed)
    obj: dict[str, Any] = decode(schema_for(resource), random_object(schema_for(resource), random))[0]
    obj |= {"apiVersion": resource.api_version, "kind": resource.kind}
    metadata = obj["metadata"]
    metadata["name"] = random.choice(["web", "web", "Bad_Name"])
    metadata.pop("namespace", None)
    if resource.namespaced:
        metadata["namespace"] = "default"
    return obj


def objects(resource: Resource) -> Iterator[dict[str, Any]]:
    return (made(resource, seed) for seed in SEEDS)


def refusal(write: Callable[..., None], *objects: dict[str, Any]) -> StatusError | None:
    try:
        write(*objects)
    except StatusError as error:
        return error
    return None


@every_kind
def test_any_object_is_taken_or_refused(resource: Resource) -> None:
    strategy = STRATEGIES[resource]
    for obj in objects(resource):
        strategy.default(obj)
        refused = refusal(strategy.before_create, obj)
        assert refused is None or (refused.code == 422 and refused.causes)
        strategy.warnings(obj)
        strategy.grace_period(obj, None)


@every_kind
def test_any_update_is_taken_or_refused(resource: Resource) -> None:
    strategy = STRATEGIES[resource]
    for seed, new in enumerate(objects(resource)):
        old = made(resource, seed + 1000)
        for obj in (old, new):
            strategy.default(obj)
            obj["metadata"]["resourceVersion"] = "1"
        for update in (strategy.before_update, strategy.before_status_update):
            refused = refusal(update, copy.deepcopy(new), copy.deepcopy(old))
            assert refused is None or refused.code == 422


@every_kind
def test_rows_fit_their_columns_and_fields_can_be_selected(resource: Resource) -> None:
    strategy = STRATEGIES[resource]
    for obj in objects(resource):
        for candidate in (obj, {**obj, "status": {}}, {"apiVersion": obj["apiVersion"], "metadata": obj["metadata"]}):
            cells = strategy.cells(candidate, time.time())
            assert len(cells) == len(strategy.columns)
            assert all(isinstance(c, str | int | bool | None) for c in cells)
            assert all(isinstance(v, str) for v in strategy.selectable_fields(candidate).values())


@every_kind
def test_defaults_are_set_once(resource: Resource) -> None:
    """What is stored and read again, or applied again, must not change."""
    strategy, schema = STRATEGIES[resource], schema_for(resource)
    for obj in objects(resource):
        strategy.default(obj)
        once = copy.deepcopy(obj)
        strategy.default(obj)
        assert obj == once
        again, unknown = decode(schema, once)
        assert (again, unknown) == (once, [])


@pytest.mark.parametrize("resource", CONVERSIONS, ids=lambda r: r.api_version)
def test_two_versions_of_one_kind_lose_nothing(resource: Resource) -> None:
    conversion = CONVERSIONS[resource]
    stored = next(r for r in SERVED if r.kind == resource.kind and r.api_version == resource.stored_api_version)
    for obj in objects(stored):
        STRATEGIES[stored].default(obj)
        served = conversion.to_served(copy.deepcopy(obj))
        assert served["apiVersion"] == resource.api_version
        # what is served is a whole object of that version
        assert decode(schema_for(resource), served)[1] == []
        assert conversion.to_stored(served) == obj


@every_kind
def test_every_selectable_label_has_a_value_and_others_are_refused(resource: Resource) -> None:
    strategy = STRATEGIES[resource]
    fields = strategy.selectable_fields({"metadata": {"name": "n", "namespace": "ns"}})
    for label in strategy.selectable:
        assert strategy.check_field_label(label) in fields
    with pytest.raises(StatusError) as error:
        strategy.check_field_label("spec.nonsense")
    assert error.value.code == 400
    known = '"spec.nonsense" is not a known field selector: only "metadata.name", "metadata.namespace"'
    assert error.value.message == ("field label not supported: spec.nonsense" if strategy.selectable else known)
