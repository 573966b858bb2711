"""Rules of what a StorageClass tells its provisioner: parameters, and where volumes may be."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, duplicate, invalid_value, required, too_long

Object = dict[str, Any]

_MAX_PARAMETERS, _MAX_PARAMETERS_SIZE = 512, 256 * 1024


def validate_parameters(parameters: Object) -> list[FieldError]:
    if len(parameters) > _MAX_PARAMETERS:
        return [too_long("parameters", _MAX_PARAMETERS)]
    found = [invalid_value("parameters", key, "field can not be empty.") for key in parameters if not key]
    if sum(len(k) + len(v) for k, v in parameters.items()) > _MAX_PARAMETERS_SIZE:
        found.append(too_long("parameters", _MAX_PARAMETERS_SIZE))
    return found


def validate_topologies(terms: list[Object], path: str) -> list[FieldError]:
    """Where volumes may be: each expression a label with some of its values."""
    found: list[FieldError] = []
    seen: list[dict[str, set[str]]] = []
    for i, term in enumerate(terms):
        where, chosen = f"{path}[{i}].matchLabelExpressions", dict[str, set[str]]()
        for j, expression in enumerate(term.get("matchLabelExpressions") or ()):
            key, values = expression.get("key", ""), expression.get("values") or []
            if not values:
                found.append(required(f"{where}[{j}].values"))
            for k, value in enumerate(values):
                if value in values[:k]:
                    found.append(duplicate(f"{where}[{j}].values[{k}]", value))
            found += [invalid_value(f"{where}[{j}].key", key, p) for p in names.qualified_name(key)]
            if key in chosen:
                found.append(duplicate(f"{where}[{j}].key", key))
            chosen[key] = set(values)
        if chosen in seen:
            found.append(duplicate(where, ""))
        seen.append(chosen)
    return found
