"""Numbers that may be percentages: ``maxSurge``, ``maxUnavailable``, ``minAvailable``."""


def scaled(value: int | str | None, total: int, *, round_up: bool, default: int | str = 0) -> int:
    """``value`` itself, or that percentage of ``total``. ValueError for what is neither."""
    if value is None:
        value = default
    if isinstance(value, int):
        return value
    if not value.endswith("%") or not value[:-1].isdigit():
        raise ValueError(f"invalid value {value!r}: want a number or a percentage")
    product = int(value[:-1]) * total
    return -(-product // 100) if round_up else product // 100
