"""RFC 6902, operation by operation."""

from typing import Any

import pytest

from apimachinery.patch import PatchError
from apimachinery.patch.json_patch import apply

DOC = {"a": 1, "list": ["x", "y"], "map": {"k/1": {"~": 2}}, "none": None}


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([{"op": "add", "path": "/b", "value": 2}], {**DOC, "b": 2}),
        ([{"op": "add", "path": "/a", "value": 2}], {**DOC, "a": 2}),
        ([{"op": "add", "path": "/list/1", "value": "z"}], {**DOC, "list": ["x", "z", "y"]}),
        ([{"op": "add", "path": "/list/-", "value": "z"}], {**DOC, "list": ["x", "y", "z"]}),
        ([{"op": "remove", "path": "/list/0"}], {**DOC, "list": ["y"]}),
        ([{"op": "remove", "path": "/map/k~11/~0"}], {**DOC, "map": {"k/1": {}}}),
        ([{"op": "replace", "path": "/a", "value": None}], {**DOC, "a": None}),
        ([{"op": "replace", "path": "", "value": []}], []),
        ([{"op": "move", "from": "/a", "path": "/b"}], {k: v for k, v in {**DOC, "b": 1}.items() if k != "a"}),
        ([{"op": "copy", "from": "/list", "path": "/b"}, {"op": "remove", "path": "/b/0"}], {**DOC, "b": ["y"]}),
        ([{"op": "test", "path": "/a", "value": 1}], DOC),
        ([{"op": "test", "path": "/none", "value": None}], DOC),
    ],
)  # fmt: skip
def test_operations(operations: Any, changed: Any) -> None:
    assert apply(DOC, operations) == changed


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/missing/b", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "nonsense", "value": 1},
        {"op": "add", "path": "/b"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/missing", "value": 2},
        {"op": "move", "from": "/map", "path": "/map/in"},
        {"op": "copy", "path": "/b"},
        {"op": "frobnicate", "path": "/a"},
        {"op": "remove", "path": ""},
        {"path": "/a"},
    ],
)
def test_what_cannot_be_applied_is_a_422_and_changes_nothing(operation: Any) -> None:
    before = {**DOC}
    with pytest.raises(PatchError) as error:
        apply(DOC, [operation])
    assert error.value.code == 422
    assert before == DOC


def test_what_is_no_patch_is_a_400() -> None:
    for patch in ({}, "x", [1]):
        with pytest.raises(PatchError) as error:
            apply(DOC, patch)
        assert error.value.code == 400


def test_a_patch_without_end_is_refused() -> None:
    with pytest.raises(PatchError) as error:
        apply(DOC, [{"op": "test", "path": "/a", "value": 1}] * 10_001)
    assert error.value.code == 413


def test_a_failing_operation_undoes_the_earlier_ones() -> None:
    doc: Any = {"a": {"b": 1}}
    with pytest.raises(PatchError):
        apply(doc, [{"op": "remove", "path": "/a/b"}, {"op": "test", "path": "/x", "value": 1}])
    assert doc == {"a": {"b": 1}}


def test_copies_cannot_make_a_document_grow_without_end() -> None:
    double = {"op": "copy", "from": "/a", "path": "/a/-"}
    with pytest.raises(PatchError, match="accumulated size increase of copy") as refused:
        apply({"a": ["x" * 1000]}, [double] * 100)
    assert refused.value.code == 422


def test_a_document_cannot_be_put_together_deeper_than_one_may_be_sent() -> None:
    nested: Any = 1
    for _ in range(150):
        nested = {"a": nested}
    deep = [{"op": "add", "path": "/map", "value": nested}, {"op": "add", "path": "/map" + "/a" * 150, "value": nested}]
    with pytest.raises(PatchError, match="exceeded max depth") as caught:
        apply(DOC, deep)
    assert caught.value.code == 422


def test_an_index_of_thousands_of_digits_is_out_of_range() -> None:
    for index in ("9" * 5000, "-" + "9" * 5000):
        with pytest.raises(PatchError, match="invalid index"):
            apply(DOC, [{"op": "remove", "path": f"/list/{index}"}])
