"""Nobody hands out what they do not hold: checked when roles and bindings are written, as upstream's RBAC storage does.

Members of ``system:masters`` may; so may who is allowed to ``escalate`` the role, or to ``bind`` the role that a binding names.
Everybody else must hold every right that the role grants, where it grants it.
"""

from typing import Any

from apimachinery import errors
from apimachinery.errors import quote
from apimachinery.resources import lookup
from apiserver.admission import Attributes, Plugin
from apiserver.authentication.user import MASTERS_GROUP, User
from apiserver.authorization.action import Action
from apiserver.authorization.authorizer import Authorizer
from apiserver.authorization.rbac import GROUP, binding_of
from apiserver.authorization.rules import Rule, compact, describe, missing, quoted
from apiserver.handlers.endpoint import copy_of

Object = dict[str, Any]
_EVERYTHING = (Rule(("*",), ("*",), ("*",)), Rule(("*",), urls=("*",)))
_ROLES, _BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")
#: What the garbage collector may change of anything.
_COLLECTED = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation", "uid")


class Escalation(Plugin):
    """The last of the plugins that run before validation: it sees the object as it will be stored."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def admit(self, attributes: Attributes) -> None:
        resource, obj, old = attributes.resource, attributes.obj, attributes.old
        if resource.group != GROUP or obj is None or MASTERS_GROUP in attributes.user.groups:
            return
        if old is not None and _without_collected(obj) == _without_collected(old):
            return
        if resource.plural in _ROLES:
            self._check_role(attributes, obj, old)
        elif resource.plural in _BINDINGS:
            self._check_binding(attributes, obj)

    def _check_role(self, attributes: Attributes, obj: Object, old: Object | None) -> None:
        user, namespace, name = attributes.user, attributes.namespace, obj["metadata"].get("name", "")
        plural = attributes.resource.plural
        if self._authorizer.allows(user, Action("escalate", GROUP, plural, "", namespace, name)):
            return
        aggregates = obj.get("aggregationRule") or (old or {}).get("aggregationRule")
        if aggregates and self._lacking(user, "", _EVERYTHING):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise errors.forbidden(attributes.resource, name, why)
        self._confirm(attributes, name, [Rule.of(r) for r in obj.get("rules") or ()])

    def _check_binding(self, attributes: Attributes, obj: Object) -> None:
        reference = obj.get("roleRef") or {}
        kind, name = reference.get("kind"), reference.get("name") or ""
        if kind not in ("Role", "ClusterRole"):
            return  # validation says what is wrong with it
        plural = kind.lower() + "s"
        wanted = Action("bind", reference.get("apiGroup", ""), plural, "", attributes.namespace, name)
        if self._authorizer.allows(attributes.user, wanted):
            return
        rules = self._authorizer.rbac.role(binding_of(obj).role)
        if rules is None:
            resource = lookup(GROUP, "v1", plural)
            assert resource is not None, f"{plural} is a row of the resource table"
            raise errors.not_found(resource, name)
        self._confirm(attributes, obj["metadata"].get("name", ""), rules)

    def _confirm(self, attributes: Attributes, name: str, rules: Any) -> None:
        lacking = self._lacking(attributes.user, attributes.namespace, rules)
        if lacking:
            raise errors.forbidden(attributes.resource, name, refusal(attributes.user, lacking))

    def _lacking(self, user: User, namespace: str, rules: Any) -> list[Rule]:
        return missing(self._authorizer.rbac.rules_for(user, namespace), rules)


def refusal(user: User, lacking: list[Rule]) -> str:
    """Upstream's text, one line for each right that is not held."""
    lines = "\n".join(sorted({describe(rule) for rule in compact(lacking)}))
    who = f"user {quote(user.name)} (groups={quoted(user.groups)})"
    return f"{who} is attempting to grant RBAC permissions not currently held:\n{lines}"


def _without_collected(obj: Object) -> Object:
    bare: Object = copy_of(obj)
    for field in _COLLECTED:
        bare["metadata"].pop(field, None)
    return bare
