"""Quantities, case by case from upstream's own tests of what it parses and writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimachinery import quantity
from apimachinery.quantity import canonical, parse


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0", "0"), ("0Gi", "0"), ("1", "1"), ("+1", "+1"), ("-1", "-1"), ("1Ki", "1Ki"), ("1024Mi", "1Gi"),
        ("1000Mi", "1000Mi"), ("1000M", "1G"), ("0.5", "500m"), (".5", "500m"), ("1.5", "1500m"), ("1.5Gi", "1536Mi"),
        ("2000m", "2"), ("100m", "100m"), (".001Ki", "1024m"), (".000001Ki", "1024u"), (".000000000001Ki", "2n"),
        ("0.1m", "100u"), ("0.5n", "1n"), ("1e3", "1e3"), ("12e6", "12e6"), ("1.234", "1.234"), ("3000", "3k"),
        ("0.3Ki", "307200m"), ("512Ki", "512Ki"), ("1.", "1."), ("100.035k", "100.035k"), ("0.0000000005", "1n"),
        ("9Ei", "9223372036854775807"), ("1E", "1E"), ("1E3", "1E3"), (".", "0"),
    ],
)  # fmt: skip
def test_canonical_form(text: str, written: str) -> None:
    assert canonical(text) == written


@pytest.mark.parametrize(("text", "why"), [
    ("", quantity.FORMAT_WRONG), ("x", quantity.FORMAT_WRONG), ("1 Gi", quantity.FORMAT_WRONG),
    ("1.2.3", quantity.FORMAT_WRONG), ("1ki", "unable to parse quantity's suffix"),
    ("1mm", "unable to parse quantity's suffix"), ("1e1000000000", "unable to parse quantity's suffix"),
    ("١", quantity.FORMAT_WRONG),
])  # fmt: skip
def test_what_is_no_quantity(text: str, why: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(text)
    assert str(error.value) == why


def test_counting_rounds_away_from_zero() -> None:
    assert quantity.value("9.01") == 10
    assert quantity.value("-9.01") == -10
    assert quantity.milli("100m") == 100
    assert quantity.milli("0.1m") == 1
    assert quantity.value("1Gi") == 1 << 30


def test_quantities_compare_by_amount() -> None:
    assert parse("1Gi") == parse("1024Mi")
    assert parse("1") > parse("999m")
    assert quantity.compare("10000T", "100Gi") == 1
    assert quantity.compare("50m", "100m") == -1
    assert hash(parse("1000m")) == hash(parse("1"))


def test_sums_keep_the_format_of_what_was_there() -> None:
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(parse("0") + parse("1Gi")) == "1Gi"
    assert str(parse("500m") - parse("1")) == "-500m"
    assert str(-parse("2k")) == "-2k"


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_writing_loses_nothing(number: int, suffix: str) -> None:
    before = parse(f"{number}{suffix}")
    if suffix.endswith("i") and abs(before.value) >= 1 << 63:
        return
    assert parse(str(before)) == before
    assert canonical(canonical(f"{number}{suffix}")) == canonical(f"{number}{suffix}")


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_sums_are_exact(a: int, b: int) -> None:
    x, y = quantity.Quantity(a, -3), quantity.Quantity(b, -3)
    assert (x + y).milli_value == a + b
    assert (x - y) + y == x
