"""Rules of the conditions that newer kinds report: each type once, with a reason, and since when."""

import re
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, duplicate, invalid_value, not_supported, required, too_long

Object = dict[str, Any]

_STATUSES = ("False", "True", "Unknown")
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_BAD_REASON = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    "'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
    "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
)
_MAX_REASON, _MAX_MESSAGE = 1024, 32 * 1024


def validate_conditions(conditions: list[Object], path: str) -> list[FieldError]:
    kinds = [c.get("type", "") for c in conditions]
    found: list[FieldError] = []
    for i, condition in enumerate(conditions):
        where, kind, reason = f"{path}[{i}]", kinds[i], condition.get("reason", "")
        if kind in kinds[:i]:
            found.append(duplicate(f"{where}.type", kind))
        found += [invalid_value(f"{where}.type", kind, p) for p in names.qualified_name(kind)]
        if condition.get("status") not in _STATUSES:
            found.append(not_supported(f"{where}.status", condition.get("status", ""), _STATUSES))
        if condition.get("observedGeneration", 0) < 0:
            detail = "must be greater than or equal to zero"
            found.append(invalid_value(f"{where}.observedGeneration", condition["observedGeneration"], detail))
        if not condition.get("lastTransitionTime"):
            found.append(required(f"{where}.lastTransitionTime", "must be set"))
        if not reason:
            found.append(required(f"{where}.reason", "must be set"))
        elif not _REASON.fullmatch(reason):
            found.append(invalid_value(f"{where}.reason", reason, _BAD_REASON))
        if len(reason) > _MAX_REASON:
            found.append(too_long(f"{where}.reason", _MAX_REASON))
        if len(condition.get("message", "")) > _MAX_MESSAGE:
            found.append(too_long(f"{where}.message", _MAX_MESSAGE))
    return found
