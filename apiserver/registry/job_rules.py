"""Rules of job specs: how often, how many at once, when it counts as failed or succeeded."""

import re
from typing import Any

from apimachinery import names
from apimachinery.errors import (
    OMITTED,
    FieldError,
    duplicate,
    invalid_value,
    not_supported,
    quote,
    required,
    too_long,
    too_many,
)
from apiserver.registry.pod_rules import validate_template
from apiserver.registry.templated import non_negative

Object = dict[str, Any]

_NUMBERS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex",
    "maxFailedIndexes",
)  # fmt: skip
_MAX_INDEXED = 100_000
#: Beyond so many completions, limits per index take tighter ones.
_MANY_COMPLETIONS, _FEW_AT_ONCE, _FEW_FAILED = 100_000, 10_000, 10_000
_MAX_FAILED_INDEXES = 100_000
_MAX_RULES, _MAX_EXIT_CODES, _MAX_CONDITIONS, _MAX_SUCCESS_RULES = 20, 255, 20, 20
_MAX_INDEXES_LENGTH = 64 * 1024
_MANAGED_BY_LENGTH = 63
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def validate_job_spec(spec: Object, path: str) -> list[FieldError]:
    found = non_negative(spec, path, *_NUMBERS)
    if "maxFailedIndexes" in spec and "backoffLimitPerIndex" not in spec:
        found.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if "managedBy" in spec:
        found += domain_prefixed_path(spec["managedBy"], f"{path}.managedBy")
        if len(spec["managedBy"]) > _MANAGED_BY_LENGTH:
            found.append(too_long(f"{path}.managedBy", _MANAGED_BY_LENGTH))
    mode = spec.get("completionMode", "NonIndexed")
    if mode not in ("NonIndexed", "Indexed"):
        found.append(not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed")))
    elif mode == "Indexed":
        found += _indexed(spec, path)
    else:
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if field in spec:
                found.append(invalid_value(f"{path}.{field}", spec[field], "requires indexed completion mode"))
    template = spec.get("template") or {}
    if "podFailurePolicy" in spec:
        found += _failure_policy(spec, template.get("spec") or {}, f"{path}.podFailurePolicy")
    if "successPolicy" in spec:
        found += _success_policy(spec, mode, f"{path}.successPolicy")
    found += _replacement_policy(spec, f"{path}.podReplacementPolicy")
    found += validate_template(template, f"{path}.template")
    return found + _restart_policy(spec, template, f"{path}.template.spec.restartPolicy")


def _restart_policy(spec: Object, template: Object, path: str) -> list[FieldError]:
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy in ("", "Always"):
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(path, policy, ("OnFailure", "Never"))]
    if "podFailurePolicy" in spec and policy != "Never":
        return [invalid_value(path, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def domain_prefixed_path(value: str, path: str) -> list[FieldError]:
    """``example.com/name``: who is meant by whom."""
    if not value:
        return [required(path)]
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [invalid_value(path, value, detail)]
    found = [invalid_value(path, domain, p) for p in names.dns1123_subdomain(domain)]
    if any(not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]", c) for c in rest):
        detail = "Invalid path (e.g. '/path' or '/path/subpath', regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
        found.append(invalid_value(path, rest, detail))
    return found


def _indexed(spec: Object, path: str) -> list[FieldError]:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed = spec.get("maxFailedIndexes")
    found: list[FieldError] = []
    if completions is None:
        found.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MAX_INDEXED:
        detail = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
        found.append(invalid_value(f"{path}.parallelism", parallelism, detail))
    if completions is not None and failed is not None and failed > completions:
        found.append(invalid_value(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MAX_FAILED_INDEXES:
        detail = f"must be less than or equal to {_MAX_FAILED_INDEXES}"
        found.append(invalid_value(f"{path}.maxFailedIndexes", failed, detail))
    if completions is None or completions <= _MANY_COMPLETIONS or "backoffLimitPerIndex" not in spec:
        return found
    when = f"when completions are above {_MANY_COMPLETIONS} and used with backoff limit per index"
    if failed is None:
        detail = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        found.append(required(f"{path}.maxFailedIndexes", detail))
    if parallelism is not None and parallelism > _FEW_AT_ONCE:
        detail = f"must be less than or equal to {_FEW_AT_ONCE} {when}"
        found.append(invalid_value(f"{path}.parallelism", parallelism, detail))
    if failed is not None and failed > _FEW_FAILED:
        detail = f"must be less than or equal to {_FEW_FAILED} {when}"
        found.append(invalid_value(f"{path}.maxFailedIndexes", failed, detail))
    return found


def _replacement_policy(spec: Object, path: str) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    supported = ("Failed",) if "podFailurePolicy" in spec else ("Failed", "TerminatingOrFailed")
    return [] if policy is None or policy in supported else [not_supported(path, policy, supported)]


# --- podFailurePolicy -------------------------------------------------------------------------------------------


def _quoted(values: tuple[str, ...]) -> str:
    return "valid values: [" + " ".join(map(quote, values)) + "]"


def _failure_policy(spec: Object, pod: Object, path: str) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or []
    found = [too_many(f"{path}.rules", len(rules), _MAX_RULES)] if len(rules) > _MAX_RULES else []
    known = {c.get("name") for f in ("containers", "initContainers") for c in pod.get(f) or ()}
    for i, rule in enumerate(rules):
        where, action = f"{path}.rules[{i}]", rule.get("action", "")
        if not action:
            found.append(required(f"{where}.action", _quoted(_ACTIONS)))
        elif action == "FailIndex" and "backoffLimitPerIndex" not in spec:
            found.append(invalid_value(f"{where}.action", action, "requires the backoffLimitPerIndex to be set"))
        elif action not in _ACTIONS:
            found.append(not_supported(f"{where}.action", action, _ACTIONS))
        if "onExitCodes" in rule:
            found += _exit_codes(rule["onExitCodes"], known, f"{where}.onExitCodes")
        conditions = rule.get("onPodConditions") or []
        found += _conditions(conditions, f"{where}.onPodConditions")
        if "onExitCodes" in rule and conditions:
            detail = "specifying both OnExitCodes and OnPodConditions is not supported"
            found.append(invalid_value(where, OMITTED, detail))
        elif "onExitCodes" not in rule and not conditions:
            detail = "specifying one of OnExitCodes and OnPodConditions is required"
            found.append(invalid_value(where, OMITTED, detail))
    return found


def _conditions(conditions: list[Object], path: str) -> list[FieldError]:
    found = [too_many(path, len(conditions), _MAX_CONDITIONS)] if len(conditions) > _MAX_CONDITIONS else []
    for i, pattern in enumerate(conditions):
        where, kind, status = f"{path}[{i}]", pattern.get("type", ""), pattern.get("status", "")
        found += [invalid_value(f"{where}.type", kind, p) for p in names.qualified_name(kind)]
        if not status:
            found.append(required(f"{where}.status", _quoted(_STATUSES)))
        elif status not in _STATUSES:
            found.append(not_supported(f"{where}.status", status, _STATUSES))
    return found


def _exit_codes(requirement: Object, known: set[str | None], path: str) -> list[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    found: list[FieldError] = []
    if not operator:
        found.append(required(f"{path}.operator", _quoted(_OPERATORS)))
    elif operator not in _OPERATORS:
        found.append(not_supported(f"{path}.operator", operator, _OPERATORS))
    name = requirement.get("containerName")
    if name is not None and name not in known:
        detail = "must be one of the container or initContainer names in the pod template"
        found.append(invalid_value(f"{path}.containerName", name, detail))
    if not values:
        found.append(invalid_value(f"{path}.values", values, "at least one value is required"))
    elif len(values) > _MAX_EXIT_CODES:
        found.append(too_many(f"{path}.values", len(values), _MAX_EXIT_CODES))
    for i, value in enumerate(values):
        if operator == "In" and value == 0:
            found.append(invalid_value(f"{path}.values[{i}]", value, "must not be 0 for the In operator"))
        if value in values[:i]:
            found.append(duplicate(f"{path}.values[{i}]", value))
    if values != sorted(values):
        found.append(invalid_value(f"{path}.values", values, "must be ordered"))
    return found


# --- successPolicy ----------------------------------------------------------------------------------------------


def _success_policy(spec: Object, mode: str, path: str) -> list[FieldError]:
    policy, completions = spec["successPolicy"], spec.get("completions")
    if mode != "Indexed":
        return [invalid_value(path, policy, "requires indexed completion mode")]
    rules = policy.get("rules") or []
    found: list[FieldError] = []
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        found.append(required(f"{path}.rules", detail))
    if len(rules) > _MAX_SUCCESS_RULES:
        found.append(too_many(f"{path}.rules", len(rules), _MAX_SUCCESS_RULES))
    for i, rule in enumerate(rules if completions is not None else ()):
        found += _success_rule(rule, completions or 0, f"{path}.rules[{i}]")
    return found


def _success_rule(rule: Object, completions: int, path: str) -> list[FieldError]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    found: list[FieldError] = []
    if count is None and indexes is None:
        found.append(required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    named = 0
    if indexes is not None:
        if len(indexes) > _MAX_INDEXES_LENGTH:
            found.append(too_long(f"{path}.succeededIndexes", _MAX_INDEXES_LENGTH))
        try:
            named = count_indexes(indexes, completions)
        except ValueError as error:
            detail = f"error parsing succeededIndexes: {error}"
            found.append(invalid_value(f"{path}.succeededIndexes", indexes, detail))
    if count is not None:
        found += non_negative(rule, path, "succeededCount")
        if count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            found.append(invalid_value(f"{path}.succeededCount", count, detail))
        if indexes is not None and count > named:
            detail = (
                f"must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
            )
            found.append(invalid_value(f"{path}.succeededCount", count, detail))
    return found


def count_indexes(text: str, completions: int) -> int:
    """How many indexes ``1,3-5`` names. Raises ValueError for what is no such list, or is not below ``completions``."""
    total, last = 0, None
    for interval in text.split(",") if text else ():
        low, *high = interval.split("-")
        if len(high) > 1:
            raise ValueError(
                f"the fragment {quote(interval)} violates the requirement that an index interval can have at most two "
                "parts separated by '-'"
            )
        start = _index(low, completions)
        end = _index(high[0], completions) if high else start
        if high and start >= end:
            raise ValueError(f"non-increasing order, previous: {start}, current: {end}")
        if last is not None and last >= start:
            raise ValueError(f"non-increasing order, previous: {last}, current: {start}")
        total, last = total + end - start + 1, end
    return total


def _index(text: str, completions: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"cannot convert string to integer for index: {quote(text)}")
    if int(text) >= completions:
        raise ValueError(f"too large index: {quote(text)}")
    return int(text)
