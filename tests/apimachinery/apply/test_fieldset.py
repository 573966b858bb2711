"""Sets of fields against a model that nobody can get wrong: Python sets of paths."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apimachinery.apply import fieldset
from apimachinery.apply.element import ElementError
from apimachinery.apply.fieldset import FieldSet, Path

_RUN = settings(max_examples=60, deadline=None)
_STEPS = st.sampled_from(
    ["f:a", "f:b", "f:spec", 'k:{"name":"x"}', 'k:{"port":443}', 'k:{"port":80}', 'v:"x"', "i:2", "i:10"]
)
_PATHS = st.frozensets(st.lists(_STEPS, min_size=1, max_size=3).map(tuple), max_size=8)


def _set(paths: frozenset[Path]) -> FieldSet:
    return fieldset.from_paths(paths)


def _paths(found: FieldSet) -> set[Path]:
    listed = list(fieldset.paths(found))
    assert len(listed) == len(set(listed))
    return set(listed)


def _is_canonical(node: FieldSet, root: bool = True) -> bool:
    """No empty leftovers, no lone ".", steps in order."""
    if list(node) != list(fieldset.ordered(node)) or (root and "." in node) or node.keys() == {"."}:
        return False
    return all(_is_canonical(sub, root=False) for step, sub in node.items() if step != ".")


@_RUN
@given(_PATHS)
def test_a_set_holds_what_was_put_into_it(paths: frozenset[Path]) -> None:
    found = _set(paths)
    assert _paths(found) == paths
    assert _is_canonical(found)
    assert all(fieldset.has(found, path) for path in paths)
    for path in itertools.islice(itertools.product(("f:a", "f:b", "i:2"), repeat=2), 9):
        assert fieldset.has(found, path) == (path in paths)


@_RUN
@given(_PATHS, _PATHS)
def test_operations_are_those_of_sets(a: frozenset[Path], b: frozenset[Path]) -> None:
    left, right = _set(a), _set(b)
    for found, expected in (
        (fieldset.union(left, right), a | b),
        (fieldset.difference(left, right), a - b),
        (fieldset.intersection(left, right), a & b),
        (
            fieldset.recursive_difference(left, right),
            {p for p in a if not any(p[:n] in b for n in range(1, len(p) + 1))},
        ),
        (fieldset.leaves(left), {p for p in a if not any(q != p and q[: len(p)] == p for q in a)}),
    ):
        assert _paths(found) == expected
        assert _is_canonical(found), found
    assert (left, right) == (_set(a), _set(b)), "an operation changed its argument"


@_RUN
@given(_PATHS)
def test_what_is_written_can_be_read_again(paths: frozenset[Path]) -> None:
    assert fieldset.decode(_set(paths)) == _set(paths)


@_RUN
@given(_PATHS, _PATHS)
def test_taking_nothing_away_returns_the_same_set(a: frozenset[Path], b: frozenset[Path]) -> None:
    whole = fieldset.union(_set(a), _set(b))
    assert fieldset.difference(whole, _set(frozenset(_paths(whole)) & {("f:never",)})) is whole
    assert fieldset.union(whole, _set(b)) == whole


def test_what_a_client_wrote_is_brought_into_order() -> None:
    given_form = {"f:b": {".": {}}, "f:a": {'k:{"b":1, "a":2}': {"f:x": {}, ".": {}}, "z:later": {}}, "f:c": None}
    found = fieldset.decode(given_form)
    assert found == {"f:a": {'k:{"a":2,"b":1}': {".": {}, "f:x": {}}}, "f:b": {}, "f:c": {}}
    assert list(found) == ["f:a", "f:b", "f:c"]
    assert list(found["f:a"]['k:{"a":2,"b":1}']) == [".", "f:x"]


@pytest.mark.parametrize("wrong", [[], "x", {"f:a": []}, {"f:a": {"b": {}}}, {"k:{": {}}])
def test_a_form_that_cannot_be_read_is_an_error(wrong: object) -> None:
    with pytest.raises(ElementError):
        fieldset.decode(wrong)


def test_a_pattern_selects_the_way_to_its_fields_and_all_below_them() -> None:
    container = {".": {}, "f:image": {}, "f:resources": {"f:limits": {".": {}, "f:cpu": {}}}}
    found = {
        "f:metadata": {"f:labels": {}},
        "f:spec": {"f:containers": {'k:{"name":"c"}': container}, "f:nodeName": {}},
    }
    pattern = fieldset.from_paths([("f:spec", "f:containers", "*", "f:resources")])
    assert fieldset.matching(found, pattern) == {
        "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:resources": {"f:limits": {".": {}, "f:cpu": {}}}}}}
    }
    assert fieldset.matching(found, {}) is found
    assert fieldset.matching(found, {"f:status": {}}) == {}


def test_fields_are_shown_level_by_level() -> None:
    found = fieldset.fields("spec.template.spec.nodeName", "spec.replicas", "spec.template")
    assert [fieldset.render(p) for p in fieldset.paths(found)] == [
        ".spec.replicas",
        ".spec.template",
        ".spec.template.spec.nodeName",
    ]
