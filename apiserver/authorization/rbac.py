"""Roles and bindings as an index by subject, and the decisions that follow from them.

The index is told of every change by the watch cache. What a user holds in a namespace is gathered once and remembered,
and so is each decision, until any role or binding changes: that is rare, requests are not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from apimachinery.errors import quote
from apiserver.authentication.user import User
from apiserver.authorization.action import Action
from apiserver.authorization.rules import Rule

Object = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
#: ``(namespace, name)``; the namespace of a ClusterRole and a ClusterRoleBinding is empty.
Key = tuple[str, str]
#: ``("User", name)`` or ``("Group", name)``; a service account is the user of its name.
Subject = tuple[str, str]
_Who = tuple[str, tuple[str, ...]]

#: Users whose rights are remembered, and decisions for each of them.
_MAX_USERS, _MAX_DECISIONS = 4096, 4096


@dataclass(frozen=True, slots=True)
class Binding:
    """``subjects`` says for each subject how upstream's reasons name it."""

    key: Key
    role_kind: str
    role: Key
    subjects: dict[Subject, str]

    def describe(self, subject: Subject) -> str:
        namespace, name = self.key
        kind, shown = ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
        return f"{kind} {quote(shown)} of {self.role_kind} {quote(self.role[1])} to {self.subjects[subject]}"

    @property
    def absent(self) -> str:
        return f"{self.role_kind.lower()}.{GROUP} {quote(self.role[1])} not found"


def binding_of(obj: Object) -> Binding:
    metadata, reference = obj["metadata"], obj["roleRef"]
    namespace = metadata.get("namespace") or ""
    subjects: dict[Subject, str] = {}
    for subject in obj.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind in ("User", "Group"):
            subjects[kind, name] = f"{kind} {quote(name)}"
        elif kind == "ServiceAccount":
            where = subject.get("namespace") or namespace
            if where:
                subjects["User", f"system:serviceaccount:{where}:{name}"] = f"{kind} {quote(f'{name}/{where}')}"
    kind = reference.get("kind", "")
    role = (namespace if kind == "Role" else "", reference.get("name", ""))
    return Binding((namespace, metadata["name"]), kind, role, subjects)


@dataclass(slots=True)
class _Held:
    """What a user holds in one namespace (or cluster-wide), and what has been decided from it."""

    rules: tuple[Rule, ...]
    decided: dict[tuple[str, str, str, str], "bool | frozenset[str]"] = field(default_factory=dict)

    def allows(self, action: Action) -> bool:
        """``decided`` holds True, False, or the names of the objects for which the answer is yes."""
        what = (action.verb, action.group, action.resource, action.subresource)
        answer = self.decided.get(what)
        if answer is None:
            answer = self._decide(what)
            if len(self.decided) >= _MAX_DECISIONS:
                self.decided.clear()
            self.decided[what] = answer
        return answer if isinstance(answer, bool) else action.name in answer

    def _decide(self, what: tuple[str, str, str, str]) -> "bool | frozenset[str]":
        names: set[str] = set()
        for rule in self.rules:
            if rule.speaks_of(*what):
                if not rule.names:
                    return True
                names.update(rule.names)
        return frozenset(names) if names else False


class Rbac:
    """The index. ``put_*`` and ``remove_*`` keep it up to date; everything else reads."""

    def __init__(self) -> None:
        self._roles: dict[Key, tuple[Rule, ...]] = {}
        self._bindings: dict[Key, Binding] = {}
        self._by_subject: dict[Subject, dict[str, dict[Key, Binding]]] = {}
        self._held: dict[tuple[_Who, str], _Held] = {}

    # --- changes

    def put_role(self, obj: Object) -> None:
        metadata = obj["metadata"]
        rules = tuple(Rule.of(r) for r in obj.get("rules") or ())
        self._roles[metadata.get("namespace") or "", metadata["name"]] = rules
        self._held.clear()

    def remove_role(self, key: Key) -> None:
        self._roles.pop(key, None)
        self._held.clear()

    def put_binding(self, obj: Object) -> None:
        binding = binding_of(obj)
        self.remove_binding(binding.key)
        self._bindings[binding.key] = binding
        for subject in binding.subjects:
            self._by_subject.setdefault(subject, {}).setdefault(binding.key[0], {})[binding.key] = binding

    def remove_binding(self, key: Key) -> None:
        self._held.clear()
        binding = self._bindings.pop(key, None)
        for subject in binding.subjects if binding is not None else ():
            by_namespace = self._by_subject[subject]
            del by_namespace[key[0]][key]
            if not by_namespace[key[0]]:
                del by_namespace[key[0]]
            if not by_namespace:
                del self._by_subject[subject]

    # --- reading

    def role(self, key: Key) -> tuple[Rule, ...] | None:
        """The rules of a role, or None when there is no such role."""
        return self._roles.get(key)

    def applying(self, user: User, namespace: str) -> Iterator[tuple[Binding, Subject]]:
        """The bindings that speak of a user: the cluster's, then the namespace's, by name."""
        subjects = _subjects(user)
        for place in ("", namespace) if namespace else ("",):
            found: dict[Key, tuple[Binding, Subject]] = {}
            for subject in subjects:
                for key, binding in self._by_subject.get(subject, {}).get(place, {}).items():
                    found.setdefault(key, (binding, subject))
            yield from (found[key] for key in sorted(found))

    def rules_for(self, user: User, namespace: str) -> tuple[Rule, ...]:
        """Everything a user holds in a namespace, or cluster-wide when it is empty."""
        return self._of(user, namespace).rules

    def allows(self, user: User, action: Action) -> bool:
        held = self._of(user, action.namespace)
        if action.path:
            return any(rule.allows_path(action.verb, action.path) for rule in held.rules)
        return held.allows(action)

    def explain(self, user: User, action: Action) -> tuple[bool, str]:
        """The decision with upstream's reason: which binding allowed it, or which roles were not found."""
        absent: list[str] = []
        for binding, subject in self.applying(user, action.namespace):
            rules = self._roles.get(binding.role)
            if rules is None:
                absent.append(binding.absent)
            elif _any_allows(rules, action):
                return True, f"RBAC: allowed by {binding.describe(subject)}"
        return False, f"RBAC: {aggregate(absent)}" if absent else ""

    def _of(self, user: User, namespace: str) -> _Held:
        key = ((user.name, user.groups), namespace)
        held = self._held.get(key)
        if held is None:
            rules = (self._roles.get(binding.role, ()) for binding, _ in self.applying(user, namespace))
            held = _Held(tuple(dict.fromkeys(rule for some in rules for rule in some)))
            if len(self._held) >= _MAX_USERS:
                self._held.clear()
            self._held[key] = held
        return held


def _subjects(user: User) -> list[Subject]:
    return [("User", user.name), *(("Group", group) for group in user.groups)]


def _any_allows(rules: Iterable[Rule], action: Action) -> bool:
    if action.path:
        return any(rule.allows_path(action.verb, action.path) for rule in rules)
    what = (action.verb, action.group, action.resource, action.subresource, action.name)
    return any(rule.allows(*what) for rule in rules)


def aggregate(messages: list[str]) -> str:
    """Several errors as one, as Go's ``Aggregate`` prints them: each once, in brackets when there are several."""
    once = list(dict.fromkeys(messages))
    return once[0] if len(once) == 1 else f"[{', '.join(once)}]"
