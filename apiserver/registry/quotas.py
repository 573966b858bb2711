"""LimitRanges and ResourceQuotas."""

from typing import Any

from apimachinery import names, quantity
from apimachinery.errors import FieldError, duplicate, forbidden_field, invalid_value, required
from apimachinery.table import Column
from apiserver.registry.amounts import (
    QUOTA_NAMES,
    overcommits,
    validate_amount,
    validate_container_resource_name,
    validate_quota_resource_name,
    validate_resource_name,
)
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.pod_defaults import round_resources
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

_SCOPES = frozenset({
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
})  # fmt: skip
_POD_AMOUNTS = frozenset({
    "cpu", "limits.cpu", "limits.memory", "memory", "pods", "requests.cpu", "requests.memory",
})  # fmt: skip
_ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_WORDS = {"min": "min", "defaultRequest": "default request", "default": "default", "max": "max"}
#: What may not exceed what, the field that is complained about, and whose value the complaint shows.
_ORDER = (
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest"),
    ("min", "default", "default", "min"),
    ("default", "max", "default", "max"),
)


class LimitRangeStrategy(Strategy):
    allow_create_on_update = True
    columns = (NAME, Column("Created At", "date", description=AGE.description))

    def default(self, obj: Object) -> None:
        for item in obj.setdefault("spec", {}).get("limits") or ():
            for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
                if amounts := item.get(field):
                    round_resources(amounts)
            if item.get("type") != "Container":
                continue
            default = {**(item.get("max") or {}), **(item.get("default") or {})}
            request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
            for field, amounts in (("default", default), ("defaultRequest", request)):
                if amounts:
                    item[field] = amounts

    def rules(self, obj: Object) -> list[FieldError]:
        found: list[FieldError] = []
        seen: set[str] = set()
        for i, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
            where, kind = f"spec.limits[{i}]", item.get("type", "")
            found += [invalid_value(f"{where}.type", kind, p) for p in names.qualified_name(kind)]
            if "/" not in kind and kind not in ("Pod", "Container", "PersistentVolumeClaim"):
                detail = "must be a standard limit type or fully qualified"
                found.append(invalid_value(f"{where}.type", kind, detail))
            if kind in seen:
                found.append(duplicate(f"{where}.type", kind))
            seen.add(kind)
            found += _limit_item(kind, item, where)
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp")]


def _limit_item(kind: str, item: Object, path: str) -> list[FieldError]:
    check = validate_container_resource_name if kind in ("Pod", "Container") else validate_resource_name
    found: list[FieldError] = []
    for field in ("max", "min"):
        for name in item.get(field) or ():
            found += check(name, f"{path}.{field}[{name}]")
    for field in ("default", "defaultRequest"):
        if kind == "Pod" and item.get(field):
            found.append(forbidden_field(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
        elif kind != "Pod":
            for name in item.get(field) or ():
                found += check(name, f"{path}.{field}[{name}]")
    if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(f) or ()) for f in ("min", "max")):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        found.append(required(f"{path}.limits", detail))
    for name in item.get("maxLimitRequestRatio") or ():
        found += check(name, f"{path}.maxLimitRequestRatio[{name}]")
    fields = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
    for name in dict.fromkeys(n for f in fields for n in item.get(f) or ()):
        found += _limit_order(name, {f: item[f][name] for f in fields if name in (item.get(f) or ())}, path)
    return found


def _limit_order(name: str, amounts: dict[str, str], path: str) -> list[FieldError]:
    """min <= defaultRequest <= default <= max, and a ratio that those leave room for."""
    found: list[FieldError] = []
    for low, high, at, shown in _ORDER:
        if low in amounts and high in amounts and quantity.compare(amounts[low], amounts[high]) > 0:
            above = _WORDS[high] if (low, high) != ("defaultRequest", "default") else "default limit"
            detail = f"{_WORDS[low]} value {amounts[low]} is greater than {above} value {amounts[high]}"
            found.append(invalid_value(f"{path}.{at}[{name}]", amounts[shown], detail))
    found += _ratio(amounts, f"{path}.maxLimitRequestRatio[{name}]")
    default, request = amounts.get("default"), amounts.get("defaultRequest")
    if default and request and not overcommits(name) and quantity.compare(default, request):
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        found.append(invalid_value(f"{path}.defaultRequest[{name}]", request, detail))
    return found


def _ratio(amounts: dict[str, str], path: str) -> list[FieldError]:
    ratio = amounts.get("maxLimitRequestRatio")
    if ratio is None:
        return []
    found: list[FieldError] = []
    if quantity.compare(ratio, "1") < 0:
        found.append(invalid_value(path, ratio, f"ratio {ratio} is less than 1"))
    low = quantity.parse(amounts["min"]).milli_value if "min" in amounts else 0
    if low and "max" in amounts:
        limit = quantity.parse(amounts["max"]).milli_value / low
        if quantity.parse(ratio).milli_value / 1000 > limit:
            found.append(invalid_value(path, ratio, f"ratio {ratio} is greater than max/min = {limit:f}"))
    return found


class ResourceQuotaStrategy(Strategy):
    has_status = True
    columns = (
        NAME,
        Column("Request", description="Request represents a minimum amount of cpu/memory that a container may consume."),
        Column("Limit", description="Limits control the maximum amount of cpu/memory that a container may use independent of "
               "contention on the node."),
        AGE,
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        if hard := obj.setdefault("spec", {}).get("hard"):
            round_resources(hard)

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        hard, scopes, selector = spec.get("hard") or {}, spec.get("scopes") or [], spec.get("scopeSelector")
        found = _amounts(hard, "spec.hard")
        for scope in scopes:
            found += _scope(scope, hard, scopes, "spec.scopes", scopes)
        found += _conflicts(scopes, scopes, "spec.scopes")
        if selector is not None:
            path, expressions = "spec.scopeSelector.matchExpressions", selector.get("matchExpressions") or ()
            for expression in expressions:
                found += _scope_expression(expression, hard, selector, path)
            found += _conflicts([e.get("scopeName", "") for e in expressions], scopes, path)
        return found

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        return [e for f in ("hard", "used") for e in _amounts(status.get(f) or {}, f"status.{f}")]

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        if sorted(new["spec"].get("scopes") or ()) != sorted(old["spec"].get("scopes") or ()):
            return [invalid_value("spec.scopes", new["spec"].get("scopes") or [], IMMUTABLE)]
        return []

    def cells(self, obj: Object, now: float) -> list[Any]:
        status = obj.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        requests: list[str] = []
        limits: list[str] = []
        for name in sorted(hard):
            shown = f"{name}: {used.get(name, '0')}/{hard[name]}"
            (limits if name.startswith("limits.") else requests).append(shown)
        return [obj["metadata"]["name"], ", ".join(requests), ", ".join(limits), self.age(obj, now)]


def _amounts(amounts: dict[str, str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name, amount in amounts.items():
        found += validate_quota_resource_name(name, f"{path}[{name}]")
        found += validate_amount(name, amount, f"{path}[{name}]")
    return found


def _scope(scope: str, hard: dict[str, str], shown: Any, path: str, named: Any) -> list[FieldError]:
    """A scope that exists and makes sense for everything that is limited: only pods have scopes."""
    where = path if named is shown else f"{path}.scopeName"
    found = [] if scope in _SCOPES else [invalid_value(where, named, "unsupported scope")]
    limited = {"pods"} if scope == "BestEffort" else _POD_AMOUNTS
    for name in sorted(hard):
        if scope in _SCOPES and name in QUOTA_NAMES and name not in limited:
            found.append(invalid_value(path, shown, "unsupported scope applied to resource"))
    return found


def _scope_expression(expression: Object, hard: dict[str, str], selector: Object, path: str) -> list[FieldError]:
    scope, operator = expression.get("scopeName", ""), expression.get("operator", "")
    values = expression.get("values") or []
    found = _scope(scope, hard, selector, path, scope)
    if scope in _SCOPES and scope != "PriorityClass" and operator != "Exists":
        found.append(invalid_value(f"{path}.operator", operator, _ONLY_EXISTS))
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            found.append(required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            found.append(invalid_value(f"{path}.values", values, detail))
    else:
        found.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    return found


def _conflicts(scopes: list[str], shown: list[str], path: str) -> list[FieldError]:
    pairs = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
    return [invalid_value(path, shown, "conflicting scopes") for pair in pairs if set(pair) <= set(scopes)]
