"""Which schedules a CronJob can have, and what is said of one that cannot be read (in the words of robfig/cron, upstream's parser)."""

import re
from typing import NamedTuple

from apimachinery.errors import quote

_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_DURATION = re.compile(
    r"[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*|[-+]?0"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


class Bounds(NamedTuple):
    low: int
    high: int
    names: dict[str, int]


#: Minute, hour, day of the month, month, day of the week.
_FIELDS = (
    Bounds(0, 59, {}),
    Bounds(0, 23, {}),
    Bounds(1, 31, {}),
    Bounds(1, 12, {name: i for i, name in enumerate(_MONTHS, 1)}),
    Bounds(0, 6, {name: i for i, name in enumerate(_DAYS)}),
)


def problem(schedule: str) -> str:
    """The first thing wrong with a schedule; empty when it can be read."""
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        schedule = schedule.partition(" ")[2].strip()
    if schedule.startswith("@"):
        return _macro(schedule)
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for field, bounds in zip(fields, _FIELDS, strict=True):
            for part in filter(None, field.split(",")):
                _check_range(part, bounds)
    except ValueError as error:
        return str(error)
    return ""


def _macro(schedule: str) -> str:
    if schedule in _MACROS:
        return ""
    if not schedule.startswith("@every "):
        return f"unrecognized descriptor: {schedule}"
    every = schedule.removeprefix("@every ")
    if _DURATION.fullmatch(every):
        return ""
    return f"failed to parse duration {schedule}: time: invalid duration {quote(every)}"


def _check_range(text: str, bounds: Bounds) -> None:
    """``*``, ``a``, ``a-b``, each with ``/step``. Raises ValueError."""
    span, *steps = text.split("/")
    low, *high = span.split("-")
    if low in ("*", "?"):
        start, end = bounds.low, bounds.high
    else:
        start = _number(low, bounds.names)
        end = _number(high[0], bounds.names) if high else start
        if len(high) > 1:
            raise ValueError(f"too many hyphens: {text}")
    step = 1
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    if steps:
        step = _number(steps[0], {})
        if not high:
            end = bounds.high
    if start < bounds.low:
        raise ValueError(f"beginning of range ({start}) below minimum ({bounds.low}): {text}")
    if end > bounds.high:
        raise ValueError(f"end of range ({end}) above maximum ({bounds.high}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"failed to parse int from {text}: strconv.Atoi: parsing {quote(text)}: invalid syntax")
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
