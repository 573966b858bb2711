"""What one rule allows, and whether rules cover others."""

import pytest

from apiserver.authorization.rules import Rule, compact, describe, missing


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "", urls: str = "") -> Rule:
    known = tuple("" if g == "core" else g for g in groups.split())
    return Rule(tuple(verbs.split()), known, tuple(resources.split()), tuple(names.split()), tuple(urls.split()))


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("get", "core", "pods"), ("get", "", "pods", "", ""), True),
        (rule("get", "core", "pods"), ("list", "", "pods", "", ""), False),
        (rule("get", "core", "pods"), ("get", "apps", "pods", "", ""), False),
        (rule("get", "core", "pods"), ("get", "", "pods", "log", "p"), False),
        (rule("get", "core", "pods/log"), ("get", "", "pods", "log", "p"), True),
        (rule("get", "core", "pods/log"), ("get", "", "pods", "", "p"), False),
        (rule("update", "*", "*/scale"), ("update", "apps", "deployments", "scale", "d"), True),
        (rule("update", "*", "*/scale"), ("update", "apps", "deployments", "", "d"), False),
        (rule("update", "*", "*/scale"), ("update", "apps", "scale", "", "d"), False),
        (rule("*", "*", "*"), ("anything", "g", "r", "s", "n"), True),
        (rule("get", "core", "secrets", "a b"), ("get", "", "secrets", "", "b"), True),
        (rule("get", "core", "secrets", "a b"), ("get", "", "secrets", "", "c"), False),
        (rule("list", "core", "secrets", "a"), ("list", "", "secrets", "", ""), False),
        (rule("*", urls="*"), ("get", "", "pods", "", ""), False),
    ],
)
def test_a_rule_allows_exactly_what_it_says(given: Rule, asked: tuple[str, str, str, str, str], allowed: bool) -> None:
    assert given.allows(*asked) is allowed


@pytest.mark.parametrize(
    ("url", "path", "allowed"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/etcd", False),
        ("/healthz/*", "/healthz/etcd", True),
        ("/healthz/*", "/healthz", False),
        ("*", "/anything", True),
        ("/a*b", "/axb", False),
    ],
)
def test_a_star_ends_a_url(url: str, path: str, allowed: bool) -> None:
    assert rule("get", urls=url).allows_path("get", path) is allowed
    assert not rule("get", urls=url).allows_path("post", path)


def test_rules_about_resources_say_nothing_about_paths() -> None:
    assert not rule("*", "*", "*").allows_path("get", "/metrics")


@pytest.mark.parametrize(
    ("held", "wanted", "covered"),
    [
        ([rule("*", "*", "*")], [rule("get list", "apps core", "pods deployments")], True),
        ([rule("get", "core", "pods"), rule("list", "core", "pods")], [rule("get list", "core", "pods")], True),
        ([rule("get", "core", "pods")], [rule("get", "core", "pods pods/log")], False),
        ([rule("get", "core", "*/log")], [rule("get", "core", "pods/log")], True),
        ([rule("get", "core", "pods", "a")], [rule("get", "core", "pods")], False),
        ([rule("get", "core", "pods", "a")], [rule("get", "core", "pods", "a b")], False),
        ([rule("get", "core", "pods")], [rule("get", "core", "pods", "a b")], True),
        ([rule("get", "core", "pods")], [rule("*", "core", "pods")], False),
        ([rule("get", "core", "*")], [rule("get", "core", "*")], True),
        ([rule("get", "core", "pods")], [rule("get", "core", "*")], False),
        ([rule("get", urls="/api/*")], [rule("get", urls="/api/v1 /api/*")], True),
        ([rule("get", urls="/api")], [rule("get", urls="/api/*")], False),
        ([rule("*", "*", "*")], [rule("get", urls="/metrics")], False),
    ],
)
def test_who_holds_a_right_may_hand_it_on(held: list[Rule], wanted: list[Rule], covered: bool) -> None:
    assert (not missing(held, wanted)) is covered


def test_missing_rights_read_as_upstream_writes_them() -> None:
    lacking = missing([rule("get", "apps", "deployments")], [rule("get list watch", "apps", "deployments", "web")])
    assert [describe(r) for r in compact(lacking)] == [
        '{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["web"], Verbs:["list" "watch"]}'
    ]
    assert describe(rule("get", urls="/metrics")) == '{NonResourceURLs:["/metrics"], Verbs:["get"]}'


def test_a_rule_survives_json() -> None:
    given = rule("get list", "core apps", "pods deployments", "a")
    assert Rule.of(given.json()) == given
    assert rule("get", urls="/x").json() == {"nonResourceURLs": ["/x"], "verbs": ["get"]}
