"""Rules of flow control: which requests a FlowSchema matches, and what a PriorityLevelConfiguration gives them."""

import math
from typing import Any

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    Literal,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    quote,
    required,
)

Object = dict[str, Any]

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_MAX_PRECEDENCE = 10_000
_MAX_QUEUES = 10_000_000
_HASH_BITS = 60


# --- FlowSchema -------------------------------------------------------------------------------------------------


def validate_flow_schema(spec: Object, name: str, path: str) -> list[FieldError]:
    where, precedence = f"{path}.matchingPrecedence", spec["matchingPrecedence"]
    found: list[FieldError] = []
    if precedence <= 0:
        found.append(invalid_value(where, precedence, "must be a positive value"))
    if precedence > _MAX_PRECEDENCE:
        found.append(invalid_value(where, precedence, f"must not be greater than {_MAX_PRECEDENCE}"))
    if precedence == 1 and name != "exempt":
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        found.append(invalid_value(where, precedence, detail))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        shown = Literal(f"flowcontrol.FlowDistinguisherMethod{{Type:{quote(method.get('type', ''))}}}")
        found.append(not_supported(f"{path}.distinguisherMethod.type", shown, ("ByNamespace", "ByUser")))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    where = f"{path}.priorityLevelConfiguration.name"
    if not level:
        found.append(required(where, "must reference a priority level"))
    else:
        found += [invalid_value(where, level, p) for p in names.dns1123_subdomain(level)]
    for i, rule in enumerate(spec.get("rules") or ()):
        found += _rule(rule, f"{path}.rules[{i}]")
    return found


def _rule(rule: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not rule.get("subjects"):
        found.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        found += _subject(subject, f"{path}.subjects[{i}]")
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        found.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for i, resources in enumerate(rule.get("resourceRules") or ()):
        found += _resource_rule(resources, f"{path}.resourceRules[{i}]")
    for i, urls in enumerate(rule.get("nonResourceRules") or ()):
        found += _url_rule(urls, f"{path}.nonResourceRules[{i}]")
    return found


def _subject(subject: Object, path: str) -> list[FieldError]:
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        return [not_supported(f"{path}.kind", kind, tuple(_SUBJECTS))]
    field = _SUBJECTS[kind]
    given, where = subject.get(field), f"{path}.{field}"
    if given is None:
        found = [required(where, f"{field} is required when subject kind is '{kind}'")]
    else:
        found = [] if given.get("name") else [required(f"{where}.name")]
        if kind == "ServiceAccount":
            found += _account(given, where)
    # Upstream's order: the account, then the user, then the group.
    for other, name in (("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")):
        if other != kind and name in subject:
            found.append(forbidden_field(f"{path}.{name}", f"{name} is forbidden when subject kind is not '{other}'"))
    return found


def _account(account: Object, path: str) -> list[FieldError]:
    name, namespace = account.get("name", ""), account.get("namespace", "")
    problems = names.dns1123_subdomain(name) if name not in ("", "*") else []
    found = [invalid_value(f"{path}.name", name, p) for p in problems]
    if not namespace:
        return [*found, required(f"{path}.namespace", "must specify namespace for service account")]
    return found + [invalid_value(f"{path}.namespace", namespace, p) for p in names.dns1123_label(namespace)]


def _verbs(verbs: list[str], path: str) -> list[FieldError]:
    found = _alone(verbs, path, "verbs", "verbs must contain at least one value")
    if verbs and "*" not in verbs and not set(verbs) <= set(_VERBS):
        found.append(not_supported(path, verbs, _VERBS))
    return found


def _alone(values: list[str], path: str, what: str, when_empty: str) -> list[FieldError]:
    """A list that must have something, and nothing beside ``*``."""
    if not values:
        return [required(path, when_empty)]
    if len(values) > 1 and "*" in values:
        return [invalid_value(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resource_rule(rule: Object, path: str) -> list[FieldError]:
    found = _verbs(rule.get("verbs") or [], f"{path}.verbs")
    for field, what, one in (("apiGroups", "api groups", "api group"), ("resources", "resources", "resource")):
        when_empty = f"resource rules must supply at least one {one}"
        found += _alone(rule.get(field) or [], f"{path}.{field}", what, when_empty)
    namespaces, where = rule.get("namespaces") or [], f"{path}.namespaces"
    if namespaces or not rule.get("clusterScope"):
        when_empty = "resource rules that are not cluster scoped must supply at least one namespace"
        found += _alone(namespaces, where, "namespaces", when_empty)
    if "*" not in namespaces:
        intro = "each member of this list must be '*' or a DNS-1123 label; "
        for i, namespace in enumerate(namespaces):
            problems = names.dns1123_label(namespace)
            found += [invalid_value(f"{where}[{i}]", namespace, intro + p) for p in problems]
    return found


def _url_rule(rule: Object, path: str) -> list[FieldError]:
    urls, where = rule.get("nonResourceURLs") or [], f"{path}.nonResourceURLs"
    found = _verbs(rule.get("verbs") or [], f"{path}.verbs")
    found += _alone(urls, where, "non-resource URLs", "nonResourceURLs must contain at least one value")
    if "*" not in urls:
        problems = [(i, url, _url_problem(url)) for i, url in enumerate(urls)]
        found += [invalid_value(f"{where}[{i}]", url, p) for i, url, p in problems if p]
    return found


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if url[0] != "/":
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if "*" in url and (url.count("*") > 1 or not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


# --- PriorityLevelConfiguration ---------------------------------------------------------------------------------


def validate_priority_level(spec: Object, name: str, path: str) -> list[FieldError]:
    kind, found = spec.get("type", ""), list[FieldError]()
    if (name == "exempt") != (kind == "Exempt"):
        detail = "type must be 'Exempt' if and only if name is 'exempt'"
        found.append(invalid_value(f"{path}.type", kind, detail))
    if kind == "Exempt":
        if "limited" in spec:
            found.append(forbidden_field(f"{path}.limited", "must be nil if the type is not Limited"))
        found += _shares(spec.get("exempt") or {}, f"{path}.exempt")
        found += _lendable(spec.get("exempt") or {}, f"{path}.exempt")
    elif kind == "Limited":
        if "exempt" in spec:
            found.append(forbidden_field(f"{path}.exempt", "must be nil if the type is Limited"))
        if "limited" not in spec:
            found.append(required(f"{path}.limited", "must not be empty when type is Limited"))
        else:
            found += _limited(spec["limited"], f"{path}.limited")
    else:
        found.append(not_supported(f"{path}.type", kind, ("Exempt", "Limited")))
    return found


def _shares(level: Object, path: str) -> list[FieldError]:
    shares = level.get("nominalConcurrencyShares", 0)
    where = f"{path}.nominalConcurrencyShares"
    return [invalid_value(where, shares, "must be a non-negative integer")] if shares < 0 else []


def _lendable(level: Object, path: str) -> list[FieldError]:
    percent = level.get("lendablePercent", 0)
    detail = "must be between 0 and 100, inclusive"
    return [] if 0 <= percent <= 100 else [invalid_value(f"{path}.lendablePercent", percent, detail)]


def _limited(limited: Object, path: str) -> list[FieldError]:
    found = _shares(limited, path)
    borrowing = limited.get("borrowingLimitPercent")
    response, where = limited.get("limitResponse") or {}, f"{path}.limitResponse"
    if response.get("type") == "Reject":
        if "queuing" in response:
            detail = "must be nil if limited.limitResponse.type is not Limited"
            found.append(forbidden_field(f"{where}.queuing", detail))
    elif response.get("type") == "Queue":
        if "queuing" not in response:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            found.append(required(f"{where}.queuing", detail))
        else:
            found += _queuing(response["queuing"], f"{where}.queuing")
    else:
        found.append(not_supported(f"{where}.type", response.get("type", ""), ("Queue", "Reject")))
    found += _lendable(limited, path)
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        found.append(invalid_value(f"{path}.borrowingLimitPercent", borrowing, detail))
    return found


def _queuing(queuing: Object, path: str) -> list[FieldError]:
    queues, hand, limit = (queuing.get(f, 0) for f in ("queues", "handSize", "queueLengthLimit"))
    found: list[FieldError] = []
    if limit <= 0:
        found.append(invalid_value(f"{path}.queueLengthLimit", limit, "must be positive"))
    if queues <= 0:
        found.append(invalid_value(f"{path}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        found.append(invalid_value(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    where = f"{path}.handSize"
    if hand <= 0:
        found.append(invalid_value(where, hand, "must be positive"))
    elif hand > queues:
        found.append(invalid_value(where, hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_HASH_BITS}"
        )
        found.append(invalid_value(where, hand, detail))
    return found


def validate_flow_status(obj: Object) -> list[FieldError]:
    """Of both kinds: conditions have a type, each its own."""
    kinds = [c.get("type", "") for c in (obj.get("status") or {}).get("conditions") or ()]
    found: list[FieldError] = []
    for i, kind in enumerate(kinds):
        where = f"status.conditions[{i}].type"
        if kind in kinds[:i]:
            found.append(duplicate(where, kind))
        if not kind:
            found.append(required(where, "must not be empty"))
    return found
