"""What holds whatever is applied, in whatever order, by whomever."""

from copy import deepcopy
from itertools import pairwise
from json import dumps
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apimachinery.apply import FieldManager, fieldset, same_but_times, validate
from apimachinery.apply.compare import compare
from apimachinery.apply.fieldmanager import _ownable
from apimachinery.apply.managed import decode as decode_managed
from apimachinery.apply.merge import fields_of, merge
from apimachinery.apply.shape import DEDUCED, shape_of
from apimachinery.errors import StatusError
from apimachinery.resources import RESOURCES
from apimachinery.schema import Schema, decode, schema_for, unknown_fields
from tests.apimachinery.apply.deployments import DEPLOYMENT, MANAGER, Object, T, stored
from tests.apimachinery.objects import random_object

_SHAPE = shape_of(DEPLOYMENT)
_RUN = settings(max_examples=60, deadline=None)
_LETTERS = st.sampled_from("abc")


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """An object with some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def _keyed(key: str, elements: st.SearchStrategy[Object]) -> st.SearchStrategy[list[Object]]:
    found = st.lists(st.tuples(_LETTERS, elements), max_size=3, unique_by=lambda pair: pair[0])
    return found.map(lambda pairs: [{key: name, **element} for name, element in pairs])


_MAP = st.dictionaries(_LETTERS, st.sampled_from(["1", "2"]), min_size=1, max_size=3)
_CONTAINER = _some(
    image=_LETTERS,
    args=st.lists(_LETTERS, max_size=2),
    env=_keyed("name", _some(value=_LETTERS)),
    tty=st.booleans(),
)
_CONFIG = st.fixed_dictionaries(
    {
        "apiVersion": st.just("apps/v1"),
        "kind": st.just("Deployment"),
        "metadata": _some(labels=_MAP, annotations=_MAP, finalizers=st.lists(_LETTERS, max_size=3, unique=True)).map(
            lambda metadata: {"name": "web", **metadata}
        ),
    },
    optional={
        "spec": _some(
            replicas=st.integers(0, 3),
            paused=st.booleans(),
            selector=st.fixed_dictionaries({"matchLabels": _MAP}),
            template=st.fixed_dictionaries(
                {"spec": _some(containers=_keyed("name", _CONTAINER), nodeSelector=_MAP, hostname=_LETTERS)}
            ),
        )
    },
)


def _apply(live: Object | None, config: Object, manager: str, i: int, force: bool = False) -> Object:
    """What is stored after an apply: a write that only moves times does not happen."""
    found = stored(MANAGER.apply(live, config, manager, force=force, now=T[i]))
    return live if live is not None and same_but_times(live, found) else found


def _attempt(live: Object | None, config: Object, manager: str, i: int, force: bool = False) -> Object | None:
    """None for an apply that conflicts."""
    try:
        return _apply(live, config, manager, i, force)
    except StatusError as error:
        if error.reason != "Conflict" or force or not error.causes:
            raise
        return None


def _says(live: Object, config: Object) -> bool:
    """Whether an object says everything that a configuration says."""
    merged = merge(live, config, _SHAPE)
    return compare(_ownable(live), _ownable(stored(merged)), _SHAPE) == ({}, {})


@_RUN
@given(_CONFIG)
def test_applying_twice_is_applying_once(config: Object) -> None:
    once = _apply(None, config, "a", 1)
    assert _apply(once, config, "a", 2) == once


@_RUN
@given(_CONFIG, _CONFIG)
def test_the_second_of_two_configurations_is_idempotent_too(first: Object, second: Object) -> None:
    live = _apply(_apply(None, first, "a", 1), second, "a", 2)
    assert _says(live, second)
    assert _apply(live, second, "a", 3) == live


@_RUN
@given(st.lists(st.tuples(st.sampled_from("ab"), _CONFIG), min_size=2, max_size=6))
def test_two_managers_never_lose_each_others_fields(steps: list[tuple[str, Object]]) -> None:
    live: Object | None = None
    said: dict[str, Object] = {}
    for i, (manager, config) in enumerate(steps):
        before = deepcopy(live)
        found = _attempt(live, config, manager, i)
        if found is None:
            assert live == before
            continue
        live = found
        said[manager] = config
        for owner, wanted in said.items():
            assert _says(live, wanted), f"{manager} took something from {owner}"


@_RUN
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), _CONFIG), min_size=2, max_size=6))
def test_what_somebody_owns_is_there_and_conflicts_exactly_with_other_values(steps: list[Any]) -> None:
    live: Object | None = None
    for i, (manager, force, config) in enumerate(steps):
        found = _attempt(live, config, manager, i, force)
        if found is None:
            continue
        live = found
        assert _says(live, config)
        there = fields_of(_ownable(live), _SHAPE)
        for owner, owned in decode_managed(live["metadata"].get("managedFields") or []).items():
            leaves = set(fieldset.paths(fieldset.leaves(owned.fields)))
            present = set(fieldset.paths(there))
            # What was emptied is written as nothing.
            missing = {p for p in leaves - present if not any(q[: len(p)] == p for q in present)}
            assert all(_may_vanish(p) for p in missing), (owner, missing)


def _may_vanish(path: tuple[str, ...]) -> bool:
    """Fields whose empty value the API does not write at all."""
    return path[-1] in (
        "f:replicas", "f:paused", "f:tty", "f:args", "f:env", "f:spec", "f:containers", "f:labels", "f:finalizers"
    )  # fmt: skip


@st.composite
def _more_and_less(draw: st.DrawFn) -> tuple[Object, Object]:
    """A configuration and one that leaves some of it out."""
    more = draw(_CONFIG)

    def less(value: Any) -> Any:
        if isinstance(value, dict):
            keep = {"apiVersion", "kind", "metadata", "name", "matchLabels", "template", "spec"}
            if "matchLabels" in value:
                return value
            return {k: less(v) for k, v in value.items() if k in keep or draw(st.booleans())}
        if isinstance(value, list) and any(isinstance(v, dict) for v in value):
            return [less(v) for v in value if draw(st.booleans())]
        return value

    return more, less(more)


@_RUN
@given(_more_and_less())
def test_applying_less_removes_exactly_the_rest(configs: tuple[Object, Object]) -> None:
    more, less = configs
    assume(more != less)
    found = _apply(_apply(None, more, "a", 1), less, "a", 1)
    assert found == _apply(None, less, "a", 1)


@_RUN
@given(_more_and_less(), _CONFIG)
def test_applying_less_leaves_alone_what_others_own(configs: tuple[Object, Object], other: Object) -> None:
    more, less = configs
    live = _apply(_apply(None, other, "b", 1), more, "a", 2, force=True)
    owned = {m.name: o.fields for m, o in decode_managed(live["metadata"].get("managedFields") or []).items()}
    found = _apply(live, less, "a", 3)
    left = {m.name: o.fields for m, o in decode_managed(found["metadata"].get("managedFields") or []).items()}
    assert left.get("b") == owned.get("b")
    assert _says(found, less)


@_RUN
@given(_CONFIG, _CONFIG)
def test_an_update_owns_what_it_changes_and_nobody_owns_what_it_removes(old: Object, new: Object) -> None:
    live = stored(MANAGER.update(None, stored(old, uid=""), "a", now=T[1]))
    changed, removed = compare(_ownable(live), _ownable(stored(new)), _SHAPE)
    updated = MANAGER.update(live, stored(new), "b", now=T[2])
    owned = {m.name: o.fields for m, o in decode_managed(updated["metadata"].get("managedFields") or []).items()}
    if live["metadata"].get("managedFields"):  # objects without owners stay without
        assert owned.get("b", {}) == fieldset.difference(changed, fieldset.fields("metadata"))
    touched = fieldset.union(changed, removed)
    assert fieldset.intersection(owned.get("a", {}), touched) == {}


@_RUN
@given(_CONFIG, _CONFIG)
def test_comparing_and_listing_fields_agree(old: Object, new: Object) -> None:
    """What only the new object has is changed; what the other way round was removed is not there."""
    changed, removed = compare(_ownable(old), _ownable(new), _SHAPE)
    was, now = (set(fieldset.paths(fields_of(_ownable(o), _SHAPE))) for o in (old, new))
    emptied = {p for p in now - was if any(q[: len(p)] == p for q in was)}
    assert now - was - emptied <= set(fieldset.paths(changed))
    assert set(fieldset.paths(removed)) & now == set()
    back = compare(_ownable(new), _ownable(old), _SHAPE)
    assert set(fieldset.paths(back[1])) - set(fieldset.paths(removed)) <= set(fieldset.paths(changed))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | _LETTERS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_LETTERS, inner, max_size=3),
    max_leaves=8,
)
_THING = st.dictionaries(st.sampled_from(["a", "b", "spec"]), _JSON, max_size=3).map(
    lambda fields: {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, **fields}
)
_THINGS = FieldManager(None, "example.com", "v1", "Thing")


@_RUN
@given(_THING, _THING)
def test_kinds_without_a_schema_take_anything(first: Object, second: Object) -> None:
    live = _THINGS.apply(None, first, "a", now=T[1])
    assert _THINGS.apply(live, first, "a", now=T[2]) == live
    live["metadata"]["uid"] = "u"
    other = _THINGS.apply(live, second, "b", force=True, now=T[3])
    assert _THINGS.apply(other, second, "b", now=T[4]) == other
    changed, removed = compare(_ownable(first), _ownable(second), DEDUCED)
    assert (changed == {} and removed == {}) == (dumps(first, sort_keys=True) == dumps(second, sort_keys=True))


def _cannot_be_applied(schema: Schema, obj: Object) -> bool:
    """Random lists have elements that share an identity, or have none."""
    try:
        validate.check(obj, schema)
    except validate.TypedError as error:
        if not all(" key" in line for line in str(error).removeprefix("errors:\n").splitlines()):
            raise
        return True
    return False


@pytest.mark.parametrize("resource", [r for r in RESOURCES if r.stored], ids=lambda r: r.kind)
def test_any_object_of_any_kind_is_tracked_and_applied(resource: Any) -> None:
    schema = schema_for(resource)
    manager = FieldManager(schema, resource.group, resource.version, resource.kind)
    objects = []
    for seed in range(6):
        obj, _ = decode(schema, random_object(schema, Random(seed)))
        obj |= {"apiVersion": resource.api_version, "kind": resource.kind}
        obj["metadata"] = {**(obj.get("metadata") or {}), "name": "x", "uid": "u"}
        obj["metadata"].pop("managedFields", None)
        objects.append(obj)
    for old, new in pairwise(objects):
        live = manager.update(None, old, "a", now=T[1])
        tracked = manager.update(live, new, "b", now=T[2])
        for entry in tracked["metadata"].get("managedFields") or []:
            assert fieldset.decode(entry["fieldsV1"]) == entry["fieldsV1"]
        assert not unknown_fields(schema, tracked)
        if _cannot_be_applied(schema, new) or _cannot_be_applied(schema, old):
            continue
        found = manager.apply(live, new, "b", force=True, now=T[3])
        again = manager.apply(found, new, "b", now=T[4])
        assert again == found


@_RUN
@given(_CONFIG, _CONFIG)
def test_differences_are_in_the_order_in_which_sets_are_kept(old: Object, new: Object) -> None:
    for found in compare(old, new, _SHAPE):
        assert dumps(found) == dumps(fieldset.ordered(found))
