"""Numbers of a rolling update: ``maxUnavailable`` and ``maxSurge``, as pods or as a percentage."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, invalid_value
from apiserver.registry.objectmeta import NON_NEGATIVE

Object = dict[str, Any]


def validate_int_or_percent(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str):
        return [invalid_value(path, value, p) for p in names.percent(value)]
    return [invalid_value(path, value, NON_NEGATIVE)] if value is not None and value < 0 else []


def amount(value: int | str | None) -> int:
    """The number, whatever its unit: only asked whether it is zero or above a hundred."""
    if isinstance(value, str):
        digits = value.removesuffix("%")
        return int(digits) if digits.isdigit() else 0
    return value or 0


def at_most_all(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str) and amount(value) > 100:
        return [invalid_value(path, value, "must not be greater than 100%")]
    return []


def validate_rolling_update(rolling: Object, path: str) -> list[FieldError]:
    """A Deployment's: both numbers valid, and not both zero, for then nothing could ever move."""
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = validate_int_or_percent(unavailable, f"{path}.maxUnavailable")
    found += validate_int_or_percent(surge, f"{path}.maxSurge")
    if not amount(unavailable) and not amount(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        found.append(invalid_value(f"{path}.maxUnavailable", unavailable, detail))
    return found + at_most_all(unavailable, f"{path}.maxUnavailable")
