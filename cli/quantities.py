"""Orders values the way ``--sort-by`` does: numbers and quantities by size, everything else as text, missing first."""

from typing import Any


def sort_key(values: list[Any]) -> tuple[int, float, str]:
    if not values or values[0] is None:
        return (0, 0.0, "")
    value = values[0]
    if isinstance(value, bool | int | float):
        return (1, float(value), "")
    from apimachinery import quantity

    try:
        return (1, quantity.parse(value).milli_value / 1000, "")
    except (ValueError, TypeError):
        return (2, 0.0, str(value))
