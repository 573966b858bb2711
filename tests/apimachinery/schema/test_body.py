"""Bodies: what is given twice is noticed, in JSON and in YAML."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimachinery.resources import by_kind
from apimachinery.schema import read_object
from apimachinery.schema.body import duplicate_fields, parse_json, parse_yaml
from apimachinery.schema.decoding import DecodeError

POD = by_kind("v1", "Pod")
assert POD is not None


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


def test_yaml_reads_like_its_json() -> None:
    body = b"metadata:\n  name: p\n  annotations: {when: 2024-01-01, on: 'yes'}\nspec:\n  hostNetwork: true\n"
    value, twice = parse_yaml(body)
    assert twice == []
    assert value["metadata"]["annotations"] == {"when": "2024-01-01", "true": "yes"}
    assert value["spec"] == {"hostNetwork": True}


def test_yaml_keys_given_twice_are_named_with_their_line() -> None:
    decoded = read_object(b"metadata:\n  name: a\n  name: b\nspec: {}\n", POD, yaml=True)
    assert decoded.strict == ['yaml: unmarshal errors:\n  line 3: key "name" already set in map']


@pytest.mark.parametrize("body", [b"a: [", b"a: b: c", b"!!python/object:os.system {}", b"\x00", b"&a [*a]"])
def test_bad_yaml_is_an_error_and_no_crash(body: bytes) -> None:
    with pytest.raises(DecodeError, match="error converting YAML to JSON: yaml: "):
        parse_yaml(body)


def test_deep_json_is_an_error_and_no_crash() -> None:
    with pytest.raises(DecodeError):
        parse_json(b"[" * 100_000 + b"]" * 100_000)
