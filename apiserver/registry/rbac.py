"""Roles and their bindings."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, invalid_value, not_supported, quote, required
from apimachinery.selectors import validate_label_selector
from apimachinery.table import Column
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

_GROUP = "rbac.authorization.k8s.io"
_CREATED = Column("Created At", "date", "", AGE.description)


class _Rbac(Strategy):
    allow_create_on_update = True

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        """Names with colons (``system:node``) are usual: whatever can stand in a URL's path."""
        return names.path_segment_name(name)


class RoleStrategy(_Rbac):
    columns = (NAME, _CREATED)

    def rules(self, obj: Object) -> list[FieldError]:
        namespaced = self.resource.namespaced
        found = [e for i, r in enumerate(obj.get("rules") or ()) for e in _rule(r, namespaced, f"rules[{i}]")]
        aggregation = obj.get("aggregationRule")
        if aggregation is not None:
            selectors = aggregation.get("clusterRoleSelectors") or []
            if not selectors:
                found.append(
                    required(
                        "aggregationRule.clusterRoleSelectors",
                        "at least one clusterRoleSelector required if aggregationRule is non-nil",
                    )
                )
            for i, selector in enumerate(selectors):
                found += validate_label_selector(selector, f"aggregationRule.clusterRoleSelectors[{i}]")
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp")]


def _rule(rule: Object, namespaced: bool, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not rule.get("verbs"):
        found.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    if rule.get("nonResourceURLs"):
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            found.append(invalid_value(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail))
        if any(rule.get(f) for f in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(invalid_value(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail))
        return found
    if not rule.get("apiGroups"):
        found.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        found.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return found


class BindingStrategy(_Rbac):
    columns = (
        NAME,
        Column("Role", description="RoleRef can only reference a Role in the current namespace or a ClusterRole in the global "
               "namespace."),
        AGE,
        Column("Users", description="Users in the roleBinding", priority=1),
        Column("Groups", description="Groups in the roleBinding", priority=1),
        Column("ServiceAccounts", description="ServiceAccounts in the roleBinding", priority=1),
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        reference = obj.setdefault("roleRef", {})
        if not reference.get("apiGroup"):
            reference["apiGroup"] = _GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = _GROUP

    def rules(self, obj: Object) -> list[FieldError]:
        reference = obj["roleRef"]
        kinds = ("Role", "ClusterRole") if self.resource.namespaced else ("ClusterRole",)
        found: list[FieldError] = []
        if reference.get("apiGroup") != _GROUP:
            found.append(not_supported("roleRef.apiGroup", reference.get("apiGroup"), (_GROUP,)))
        if reference.get("kind") not in kinds:
            found.append(not_supported("roleRef.kind", reference.get("kind", ""), kinds))
        if not reference.get("name"):
            found.append(required("roleRef.name"))
        else:
            problems = names.path_segment_name(reference["name"])
            found += [invalid_value("roleRef.name", reference["name"], p) for p in problems]
        for i, subject in enumerate(obj.get("subjects") or ()):
            found += _subject(subject, self.resource.namespaced, f"subjects[{i}]")
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        if new.get("roleRef") != old.get("roleRef"):
            return [invalid_value("roleRef", _go_reference(new["roleRef"]), "cannot change roleRef")]
        return []

    def cells(self, obj: Object, now: float) -> list[Any]:
        reference, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()
        accounts = [
            f"{s.get('namespace', '')}/{s.get('name', '')}" for s in subjects if s.get("kind") == "ServiceAccount"
        ]
        return [
            obj["metadata"]["name"],
            f"{reference.get('kind', '')}/{reference.get('name', '')}",
            self.age(obj, now),
            ", ".join(s.get("name", "") for s in subjects if s.get("kind") == "User"),
            ", ".join(s.get("name", "") for s in subjects if s.get("kind") == "Group"),
            ", ".join(accounts),
        ]


def _go_reference(reference: Object) -> Literal:
    group, kind, name = (quote(reference.get(f, "")) for f in ("apiGroup", "kind", "name"))
    return Literal(f"rbac.RoleRef{{APIGroup:{group}, Kind:{kind}, Name:{name}}}")


def _subject(subject: Object, namespaced: bool, path: str) -> list[FieldError]:
    kind, name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    found: list[FieldError] = []
    if not name:
        found.append(required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            found += [invalid_value(f"{path}.name", name, p) for p in names.dns1123_subdomain(name)]
        if group:
            found.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            found.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            found.append(not_supported(f"{path}.apiGroup", group, (_GROUP,)))
    else:
        found.append(not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
    return found
