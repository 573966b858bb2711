"""JSON bodies: what is given twice is noticed, and nothing is too long or too deep."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimachinery.schema.body import duplicate_fields, parse_json
from apimachinery.schema.decoding import DecodeError
from apimachinery.schema.depth import MAX_DEPTH


def test_a_field_given_twice_is_named_with_its_path() -> None:
    body = b'{"spec":{"replicas":1,"containers":[{"name":"a"},{"name":"b","name":"c"}],"replicas":2},"spec2":{}}'
    value, twice = parse_json(body)
    assert value["spec"]["replicas"] == 2
    assert twice == ["spec.replicas", "spec.containers[1].name"]


def test_what_only_looks_different_is_no_duplicate() -> None:
    assert parse_json(b' { "a" : "\\u003c" , "b" : 1.0 } ') == ({"a": "<", "b": 1.0}, [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=3),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3),
    )
)
def test_an_encoded_value_never_has_duplicates(value: object) -> None:
    for option in (0, orjson.OPT_INDENT_2):
        body = orjson.dumps(value, option=option)
        assert parse_json(body) == (value, [])
        assert duplicate_fields(body) == []


def test_deep_json_is_an_error_and_no_crash() -> None:
    with pytest.raises(DecodeError):
        parse_json(b"[" * 100_000 + b"]" * 100_000)


def test_json_is_taken_as_deep_as_the_limit_and_no_deeper() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    assert parse_json(nested(MAX_DEPTH))[1] == []
    with pytest.raises(DecodeError, match="exceeded max depth"):
        parse_json(nested(MAX_DEPTH + 1))


def test_a_number_of_thousands_of_digits_beside_a_duplicate_is_no_crash() -> None:
    assert parse_json(b'{"a":1,"a":' + b"9" * 300 + b"}")[1] == ["a"]
    assert duplicate_fields(b'{"a":1,"a":' + b"9" * 5000 + b"}") == ["a"]
