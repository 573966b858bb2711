"""Decisions from roles and bindings, and that they follow every change."""

from typing import Any

from apiserver.authentication.user import User
from apiserver.authorization.action import Action
from apiserver.authorization.rbac import Rbac

Object = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"


def role(name: str, *rules: Object, namespace: str = "") -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def binding(name: str, to: str, *subjects: Object, namespace: str = "") -> Object:
    kind, _, target = to.partition("/")
    reference = {"apiGroup": GROUP, "kind": kind, "name": target}
    return {"metadata": {"name": name, "namespace": namespace}, "roleRef": reference, "subjects": list(subjects)}


READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}
JANE = User("jane", ("dev", "system:authenticated"))
ROBOT = User("system:serviceaccount:a:robot", ("system:serviceaccounts",))


def get(namespace: str = "", verb: str = "get", name: str = "") -> Action:
    return Action(verb, resource="pods", namespace=namespace, name=name)


def test_a_role_binding_counts_in_its_namespace_only() -> None:
    rbac = Rbac()
    rbac.put_role(role("reader", READ_PODS))
    rbac.put_binding(binding("b", "ClusterRole/reader", {"kind": "User", "name": "jane"}, namespace="a"))
    assert rbac.allows(JANE, get("a"))
    assert not rbac.allows(JANE, get("a", "delete"))
    assert not rbac.allows(JANE, get("b"))
    assert not rbac.allows(JANE, get())
    assert not rbac.allows(User("john"), get("a"))


def test_a_cluster_role_binding_counts_everywhere_and_for_groups() -> None:
    rbac = Rbac()
    rbac.put_role(role("reader", READ_PODS, {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}))
    rbac.put_binding(binding("b", "ClusterRole/reader", {"kind": "Group", "name": "dev"}))
    assert rbac.allows(JANE, get())
    assert rbac.allows(JANE, get("anywhere"))
    assert rbac.allows(JANE, Action("get", path="/metrics"))
    assert not rbac.allows(JANE, Action("get", path="/metrics/x"))
    assert not rbac.allows(ROBOT, get())


def test_a_service_account_is_taken_from_the_bindings_namespace_when_it_names_none() -> None:
    rbac = Rbac()
    rbac.put_role(role("reader", READ_PODS, namespace="a"))
    rbac.put_binding(binding("b", "Role/reader", {"kind": "ServiceAccount", "name": "robot"}, namespace="a"))
    assert rbac.allows(ROBOT, get("a"))
    assert not rbac.allows(User("system:serviceaccount:b:robot"), get("a"))


def test_a_role_of_another_namespace_is_not_found() -> None:
    rbac = Rbac()
    rbac.put_role(role("reader", READ_PODS, namespace="b"))
    rbac.put_binding(binding("b", "Role/reader", {"kind": "User", "name": "jane"}, namespace="a"))
    assert rbac.explain(JANE, get("a")) == (False, f'RBAC: role.{GROUP} "reader" not found')
    assert not rbac.allows(JANE, get("a"))


def test_names_are_remembered_with_a_decision() -> None:
    rbac = Rbac()
    rbac.put_role(role("one", {**READ_PODS, "resourceNames": ["p"]}))
    rbac.put_role(role("two", {**READ_PODS, "resourceNames": ["q"]}))
    rbac.put_binding(binding("one", "ClusterRole/one", {"kind": "User", "name": "jane"}))
    rbac.put_binding(binding("two", "ClusterRole/two", {"kind": "User", "name": "jane"}))
    answers = [rbac.allows(JANE, get("a", name=name)) for name in ("p", "q", "r", "", "p")]
    assert answers == [True, True, False, False, True]


def test_every_change_takes_effect_at_once() -> None:
    rbac = Rbac()
    rbac.put_binding(binding("b", "ClusterRole/reader", {"kind": "User", "name": "jane"}))
    assert not rbac.allows(JANE, get())
    rbac.put_role(role("reader", READ_PODS))
    assert rbac.allows(JANE, get())
    rbac.put_role(role("reader"))
    assert not rbac.allows(JANE, get())
    rbac.put_role(role("reader", READ_PODS))
    rbac.put_binding(binding("b", "ClusterRole/reader", {"kind": "User", "name": "john"}))
    assert not rbac.allows(JANE, get())
    assert rbac.allows(User("john"), get())
    rbac.remove_binding(("", "b"))
    assert not rbac.allows(User("john"), get())
    rbac.put_binding(binding("b", "ClusterRole/reader", {"kind": "User", "name": "jane"}))
    rbac.remove_role(("", "reader"))
    assert not rbac.allows(JANE, get())


def test_the_reason_names_the_binding() -> None:
    rbac = Rbac()
    rbac.put_role(role("reader", READ_PODS))
    account = {"kind": "ServiceAccount", "name": "robot", "namespace": "a"}
    rbac.put_binding(binding("b", "ClusterRole/reader", {"kind": "Group", "name": "dev"}))
    rbac.put_binding(binding("c", "ClusterRole/reader", account, namespace="x"))
    assert rbac.explain(JANE, get()) == (
        True,
        'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "reader" to Group "dev"',
    )
    assert rbac.explain(ROBOT, get("x")) == (
        True,
        'RBAC: allowed by RoleBinding "c/x" of ClusterRole "reader" to ServiceAccount "robot/a"',
    )
