import pytest

from apimachinery.apply import element
from apimachinery.apply.element import ElementError


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("f:spec", "f:spec"),
        ('k:{"name":"web"}', 'k:{"name":"web"}'),
        ('k:{ "protocol":"TCP", "containerPort": 80 }', 'k:{"containerPort":80,"protocol":"TCP"}'),
        ('v:"a<b"', 'v:"a\\u003cb"'),
        ("v:80.0", "v:80"),
        ("i:007", "i:7"),
        ("x:future", ""),
    ],
)
def test_a_step_has_one_spelling(written: str, canonical: str) -> None:
    assert element.canonical(written) == canonical


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("f", "key must be 2 characters long:"),
        ("spec", "missing colon: spec"),
        ("i:three", 'strconv.Atoi: parsing "three": invalid syntax'),
        ("k:[1]", "expect an object of keys"),
        ("v:{", "v|{"),
    ],
)
def test_a_step_that_cannot_be_read_is_an_error(written: str, complaint: str) -> None:
    with pytest.raises(ElementError, match=complaint.replace("{", "\\{")):
        element.canonical(written)


def test_steps_sort_by_type_and_then_by_value_not_by_text() -> None:
    steps = ["i:10", "i:9", 'v:"b"', "v:10", "v:9", "v:true", 'k:{"p":443}', 'k:{"p":80}', "f:b", "f:a"]
    assert sorted(steps, key=element.order) == [
        "f:a", "f:b", 'k:{"p":80}', 'k:{"p":443}', "v:9", "v:10", 'v:"b"', "v:true", "i:9", "i:10",
    ]  # fmt: skip


def test_steps_are_shown_as_upstream_shows_them() -> None:
    shown = [element.render(s) for s in ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', 'v:"a"', "v:true", "i:3")]
    assert shown == [".spec", '[containerPort=80,protocol="TCP"]', '[="a"]', "[=true]", "[3]"]


def test_only_scalars_can_be_in_a_set() -> None:
    for value in ({}, [], None):
        with pytest.raises(ElementError):
            element.member(value)
