"""Ages for people: how upstream shortens a duration (``5m3s``, ``3h12m``, ``2d``, ``1y3d``)."""

from apimachinery.meta import parse_time

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY

UNKNOWN = "<unknown>"
INVALID = "<invalid>"


def human(seconds: float) -> str:
    """About two or three significant digits; clocks that differ a little give ``0s`` and not a negative age."""
    if int(seconds) < -1:
        return INVALID
    s = int(seconds)
    if s < 0:
        return "0s"
    if s < 2 * _MINUTE:
        return f"{s}s"
    if s < 10 * _MINUTE:
        return _two(s, _MINUTE, "m", 1, "s")
    if s < 3 * _HOUR:
        return f"{s // _MINUTE}m"
    if s < 8 * _HOUR:
        return _two(s, _HOUR, "h", _MINUTE, "m")
    if s < 2 * _DAY:
        return f"{s // _HOUR}h"
    if s < 8 * _DAY:
        return _two(s, _DAY, "d", _HOUR, "h")
    if s < 2 * _YEAR:
        return f"{s // _DAY}d"
    if s < 8 * _YEAR:
        return _two(s, _YEAR, "y", _DAY, "d")
    return f"{s // _YEAR}y"


def _two(s: int, unit: int, name: str, lesser: int, lesser_name: str) -> str:
    rest = s % unit // lesser
    return f"{s // unit}{name}{rest}{lesser_name}" if rest else f"{s // unit}{name}"


def age(timestamp: str | None, now: float) -> str:
    """The AGE cell of an object created at ``timestamp``."""
    return human(now - parse_time(timestamp)) if timestamp else UNKNOWN
