"""YAML bodies: the JSON that they stand for, and nothing that is made to hurt."""

import pytest

from apimachinery.resources import by_kind
from apimachinery.schema import parse_yaml, read_object
from apimachinery.schema.decoding import DecodeError

POD = by_kind("v1", "Pod")


def test_yaml_reads_like_its_json() -> None:
    body = b"metadata:\n  name: p\n  annotations: {when: 2024-01-01, on: 'yes'}\nspec:\n  hostNetwork: true\n"
    value, twice = parse_yaml(body)
    assert twice == []
    assert value["metadata"]["annotations"] == {"when": "2024-01-01", "true": "yes"}
    assert value["spec"] == {"hostNetwork": True}


def test_yaml_keys_given_twice_are_named_with_their_line() -> None:
    assert POD is not None
    decoded = read_object(b"metadata:\n  name: a\n  name: b\nspec: {}\n", POD, yaml=True)
    assert decoded.strict == ['yaml: unmarshal errors:\n  line 3: key "name" already set in map']


@pytest.mark.parametrize(
    "body",
    [
        b"a: [", b"a: b: c", b"!!python/object:os.system {}", b"\x00", b"&a [*a]", b"!!bool x", b"!!int x", b"!!int ''",
        b"!!float x", b"!!timestamp x", b"!!binary x", b"!!set [a]", b"a: .inf", b"a: .nan", b"a: " + b"9" * 5000, b"{<<: 1}",
        b"*x", b"\xff", b"'\\ud800': \"\\ud800\"", b"- " * 100_000, b"[" * 1_000_000, b"{a: " * 100_000, b"!!set {" * 100_000,
    ],
)  # fmt: skip
def test_bad_yaml_is_an_error_and_no_crash(body: bytes) -> None:
    with pytest.raises(DecodeError, match="error converting YAML to JSON: yaml: "):
        parse_yaml(body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30", "12:30"), ("1e3", 1000.0), ("010", 8), ("0o10", 8), ("0b11", 3), ("-0x1f", -31), ("1_000", 1000), ("08", 8.0),
        ("99999999999999999999", 1e20), ("18446744073709551615", (1 << 64) - 1), (".5", 0.5), ("1.", 1.0), ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"), ("off", False), ("~", None),
    ],
)  # fmt: skip
def test_plain_scalars_are_what_go_takes_them_for(text: str, value: object) -> None:
    read, _ = parse_yaml(f"a: {text}\n".encode())
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


def test_only_the_first_document_counts() -> None:
    assert parse_yaml(b"a: 1\n---\nb: 2\n") == ({"a": 1}, [])


@pytest.mark.parametrize("last", [b"[%b]", b"{<<: [%b]}"])
def test_a_few_aliases_cannot_stand_for_millions_of_values(last: bytes) -> None:
    bomb = b"a: &a {x: 1}\n"
    for letter in b"bcdefghi":
        bomb += b"%c: &%c " % (letter, letter) + last % b",".join([b"*%c" % (letter - 1)] * 10) + b"\n"
    with pytest.raises(DecodeError, match="document contains excessive aliasing"):
        parse_yaml(bomb)


def test_honest_aliases_are_followed() -> None:
    value, _ = parse_yaml(b"base: &base {a: 1}\nother: {<<: *base, b: 2}\nlist: [*base, *base]\n")
    assert value == {"base": {"a": 1}, "other": {"a": 1, "b": 2}, "list": [{"a": 1}, {"a": 1}]}
