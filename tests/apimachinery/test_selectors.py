"""Label and field selectors: who is chosen, and what is said of those that cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimachinery.selectors import (
    EVERYTHING,
    NOTHING,
    SelectorError,
    from_label_selector,
    from_set,
    parse_fields,
    parse_labels,
    validate_label_selector,
)

WEB = {"app": "web", "tier": "front", "weight": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app=db", False), ("app!=db", True), ("missing!=x", True),
        ("app", True), ("missing", False), ("!missing", True), ("!app", False), ("app in (web,db)", True),
        ("app in (db)", False), ("app notin (db)", True), ("missing notin (db)", True), ("app notin (web)", False),
        ("app=web,tier=front", True), ("app=web,tier=back", False), ("weight>6", True), ("weight>7", False),
        ("weight<8", True), ("app>1", False), ("empty=", True), ("empty in ()", True), (" app in ( web , db ) ", True),
        ("app in (web),!missing,weight>1", True), ("in notin (in)", True),
    ],
)  # fmt: skip
def test_labels_match(text: str, chosen: bool) -> None:
    assert parse_labels(text).matches(WEB) is chosen


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("=", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a>b", "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer"),
    ],
)  # fmt: skip
def test_bad_syntax(text: str, why: str) -> None:
    with pytest.raises(SelectorError) as error:
        parse_labels(text)
    assert str(error.value) == why


def test_bad_keys_and_values_are_told_the_rule() -> None:
    with pytest.raises(SelectorError, match='Invalid value: "-a": name part must consist of'):
        parse_labels("-a=b")
    with pytest.raises(SelectorError, match="a valid label must be an empty string"):
        parse_labels("a=-b-")


def test_a_selector_prints_in_one_form() -> None:
    assert str(parse_labels("tier in (b,a),app==web,!x,y")) == "app=web,tier in (a,b),!x,y"
    assert str(from_set({"b": "2", "a": "1"})) == "a=1,b=2"


words = st.text("abz09-_.", min_size=0, max_size=3)


@given(st.lists(st.text("ab=!,()<> innot", max_size=4), max_size=8).map("".join))
def test_whatever_can_be_read_can_be_read_again(text: str) -> None:
    try:
        selector = parse_labels(text)
    except SelectorError:
        return
    assert parse_labels(str(selector)).requirements == selector.requirements


def test_objects_select_like_their_text() -> None:
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front"]},
            {"key": "x", "operator": "DoesNotExist"},
        ],
    }
    assert from_label_selector(selector).matches(WEB)
    assert not from_label_selector(selector).matches({**WEB, "x": ""})
    assert from_label_selector({}) == EVERYTHING
    assert from_label_selector(None) is NOTHING
    assert not NOTHING.matches({})
    assert not NOTHING.empty


def test_bad_selector_objects_are_told_where() -> None:
    selector = {
        "matchLabels": {"a b": "c"},
        "matchExpressions": [{"key": "x", "operator": "In"}, {"key": "y", "operator": "Near"}],
    }
    found = [str(e) for e in validate_label_selector(selector, "spec.selector")]
    assert found[0].startswith('spec.selector.matchLabels: Invalid value: "a b": name part')
    assert (
        found[1]
        == "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
    )
    assert (
        found[2] == 'spec.selector.matchExpressions[1].operator: Invalid value: "Near": not a valid selector operator'
    )


def test_an_index_can_be_used_for_exact_matches() -> None:
    assert parse_labels("app=web,x").exact_match("app") == "web"
    assert parse_labels("app in (a,b)").exact_match("app") is None


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("status.phase=Running", True), ("status.phase==Running", True), ("status.phase!=Running", False),
        ("status.phase=Running,spec.nodeName!=n1", True), ("spec.nodeName=", True), (",,", True), ("a=x\\,y", False),
    ],
)  # fmt: skip
def test_fields_match(text: str, chosen: bool) -> None:
    assert parse_fields(text).matches({"status.phase": "Running", "spec.nodeName": "", "a": "x"}) is chosen


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_bad_field_selectors(text: str, why: str) -> None:
    with pytest.raises(SelectorError) as error:
        parse_fields(text)
    assert str(error.value) == why


@given(st.dictionaries(st.text("ab.", min_size=1), st.text("xy\\,=", max_size=5), max_size=3))
def test_field_values_may_hold_anything_when_escaped(wanted: dict[str, str]) -> None:
    escaped = {k: v.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=") for k, v in wanted.items()}
    selector = parse_fields(",".join(f"{k}={v}" for k, v in escaped.items()))
    assert selector.matches(wanted)
    assert parse_fields(str(selector)).terms == selector.terms
