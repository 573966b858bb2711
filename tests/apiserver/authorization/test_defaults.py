"""The table of roles that a cluster starts with, and how it is brought in."""

from pathlib import Path
from typing import Any

from apimachinery.resources import lookup
from apiserver.authorization import defaults
from apiserver.authorization.reconcile import AUTOUPDATE, binding_object, reconciled, role_object
from apiserver.authorization.rules import Rule, missing
from apiserver.registry import STRATEGIES

ROLES = {(role.namespace, role.name): role for role in defaults.roles()}
Object = dict[str, Any]


def object_of(name: str) -> Object:
    return role_object(ROLES["", name])


def test_every_default_is_a_valid_object_with_a_name_of_its_own() -> None:
    objects = [*map(role_object, defaults.roles()), *map(binding_object, defaults.bindings())]
    assert len({(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects}) == len(objects)
    for obj in objects:
        resource = lookup("rbac.authorization.k8s.io", "v1", obj["kind"].lower() + "s")
        assert resource is not None
        strategy = STRATEGIES[resource]
        strategy.default(obj)
        assert strategy.rules(obj) == [], obj["metadata"]["name"]
        assert obj["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"


def test_every_binding_names_a_role_that_is_there() -> None:
    for bound in defaults.bindings():
        assert (bound.namespace, bound.role) in ROLES, bound


def test_what_view_gathers_may_not_read_secrets_nor_write() -> None:
    held = [rule for role in ROLES.values() if role.joins == "view" for rule in role.rules]
    assert held
    assert missing(held, [defaults.may("get", "secrets")])
    assert {verb for rule in held for verb in rule.verbs} == {"get", "list", "watch"}


def test_what_edit_gathers_may_not_touch_roles() -> None:
    held = [rule for role in ROLES.values() if role.joins in ("view", "edit") for rule in role.rules]
    assert missing(held, [defaults.may("create", "roles", "rbac.authorization.k8s.io")])
    assert not missing(held, [defaults.may("create", "pods")])


def test_nobody_but_the_masters_is_bound_to_everything() -> None:
    everything = defaults.may("*", "*", "*")
    for bound in defaults.bindings():
        if not missing(ROLES[bound.namespace, bound.role].rules, [everything]):
            assert bound.subjects == ("Group:system:masters",)


def test_a_role_gets_back_what_was_taken_and_keeps_what_was_added() -> None:
    wanted = object_of("system:kube-dns")
    current = object_of("system:kube-dns")
    added = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}
    current["rules"] = [added]
    del current["metadata"]["labels"]
    new = reconciled(current, wanted)
    assert new["rules"] == [added, *wanted["rules"]]
    assert new["metadata"]["labels"] == wanted["metadata"]["labels"]
    assert reconciled(new, wanted) == new


def test_a_role_that_grants_the_same_otherwise_is_left_alone() -> None:
    current = object_of("system:kube-dns")
    current["rules"] = [Rule(("*",), ("*",), ("*",)).json()]
    assert reconciled(current, object_of("system:kube-dns")) == current


def test_what_is_not_to_be_updated_is_not() -> None:
    current = object_of("system:kube-dns")
    current["rules"] = []
    current["metadata"]["annotations"][AUTOUPDATE] = "false"
    assert reconciled(current, object_of("system:kube-dns")) is current


def test_what_an_aggregated_role_has_gathered_stays() -> None:
    current = object_of("view")
    current["rules"] = [defaults.may("get", "pods").json()]
    assert reconciled(current, object_of("view")) == current
    del current["aggregationRule"]
    assert reconciled(current, object_of("view"))["aggregationRule"] == object_of("view")["aggregationRule"]


def test_a_binding_gets_its_subjects_back() -> None:
    bound = next(b for b in defaults.bindings() if b.role == "system:public-info-viewer")
    wanted, current = binding_object(bound), binding_object(bound)
    other = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}
    current["subjects"] = [other, wanted["subjects"][1]]
    assert reconciled(current, wanted)["subjects"] == [other, wanted["subjects"][1], wanted["subjects"][0]]


def _line(rule: Rule) -> str:
    names = f" named {' '.join(rule.names)}" if rule.names else ""
    what = " ".join(rule.urls) or f"{' '.join(rule.resources)} of {' '.join(g or 'core' for g in rule.groups)}{names}"
    return f"  {' '.join(rule.verbs)}: {what}"


def test_the_table_says_what_upstreams_does() -> None:
    """``testdata/upstream.txt`` holds the facts of upstream's own test data (bootstrappolicy/testdata) as far as features on by
    default are concerned, line by line in this form. What is ours alone is called ``minik8s:``."""
    lines: list[str] = []
    for role in sorted(defaults.roles(), key=lambda r: (r.namespace, r.name)):
        if not role.name.startswith("minik8s:"):
            place = f" in {role.namespace}" if role.namespace else ""
            joins, gathers = (f" {w} {x}" if x else "" for w, x in (("joins", role.joins), ("gathers", role.gathers)))
            lines += [f"role {role.name}{place}{joins}{gathers}", *sorted(map(_line, role.rules))]
    for bound in sorted(defaults.bindings(), key=lambda b: (b.namespace, b.name or b.role)):
        if not bound.name.startswith("minik8s:") and not bound.role.startswith("minik8s:"):
            place = f" in {bound.namespace}" if bound.namespace else ""
            lines.append(
                f"binding {bound.name or bound.role}{place} of {bound.role} to {' '.join(bound.subjects)}".rstrip()
            )
    facts = (Path(__file__).parent / "testdata" / "upstream.txt").read_text().splitlines()
    assert lines == [line for line in facts if not line.startswith("#")]
