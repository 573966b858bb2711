"""Numbers of a rolling update: ``maxUnavailable`` and ``maxSurge``, as pods or as a percentage."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, invalid_value, quote, required
from apiserver.registry.objectmeta import NON_NEGATIVE

Object = dict[str, Any]


def go_int_or_string(value: int | str | None) -> Literal:
    """A number or percentage as Go's ``%#v`` prints it, which is what upstream shows of one that it refuses."""
    if isinstance(value, str):
        return Literal(f"intstr.IntOrString{{Type:1, IntVal:0, StrVal:{quote(value)}}}")
    return Literal(f'intstr.IntOrString{{Type:0, IntVal:{value or 0}, StrVal:""}}')


def validate_int_or_percent(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str):
        return [invalid_value(path, go_int_or_string(value), p) for p in names.percent(value)]
    return [invalid_value(path, value, NON_NEGATIVE)] if value is not None and value < 0 else []


def amount(value: int | str | None) -> int:
    """The number, whatever its unit: only asked whether it is zero or above a hundred."""
    if isinstance(value, str):
        digits = value.removesuffix("%")
        return int(digits) if digits.isdigit() else 0
    return value or 0


def at_most_all(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str) and value.endswith("%") and amount(value) > 100:
        return [invalid_value(path, go_int_or_string(value), "must not be greater than 100%")]
    return []


def validate_rolling_update(rolling: Object, path: str) -> list[FieldError]:
    """A Deployment's: both numbers valid, and not both zero, for then nothing could ever move."""
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = validate_int_or_percent(unavailable, f"{path}.maxUnavailable")
    found += validate_int_or_percent(surge, f"{path}.maxSurge")
    if not amount(unavailable) and not amount(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        found.append(invalid_value(f"{path}.maxUnavailable", go_int_or_string(unavailable), detail))
    return found + at_most_all(unavailable, f"{path}.maxUnavailable")


def validate_rolling_daemons(rolling: Object, path: str) -> list[FieldError]:
    """A DaemonSet's: a node's pod is either replaced after it is gone or before, so exactly one number is not zero."""
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found: list[FieldError] = []
    for check in (validate_int_or_percent, at_most_all):
        found += check(unavailable, f"{path}.maxUnavailable") + check(surge, f"{path}.maxSurge")
    if amount(unavailable) and amount(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        found.append(invalid_value(f"{path}.maxSurge", go_int_or_string(surge), detail))
    elif not amount(unavailable) and not amount(surge):
        found.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return found


def validate_rolling_ordinals(rolling: Object, path: str) -> list[FieldError]:
    """A StatefulSet's: from which ordinal on, and how many at once."""
    found = []
    if rolling.get("partition", 0) < 0:
        found.append(invalid_value(f"{path}.partition", rolling["partition"], NON_NEGATIVE))
    unavailable, where = rolling.get("maxUnavailable"), f"{path}.maxUnavailable"
    if unavailable is None:
        return found
    found += validate_int_or_percent(unavailable, where)
    if not amount(unavailable):
        found.append(invalid_value(where, go_int_or_string(unavailable), "cannot be 0"))
    return found + at_most_all(unavailable, where)
