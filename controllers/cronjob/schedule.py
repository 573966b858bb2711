"""Cron's five fields (minute, hour, day of month, month, day of week), as upstream's parser reads them."""

from datetime import UTC, datetime, timedelta, tzinfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: Beyond this many days no schedule that ever comes true is silent (29 February).
_HORIZON_DAYS = 366 * 5


class ScheduleError(ValueError):
    """The schedule cannot be read; the text says which field."""


def _field(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()

    def number(part: str) -> int:
        if part.lower() in names:
            return names.index(part.lower()) + low
        if not part.isascii() or not part.isdigit():
            raise ScheduleError(f"{part!r} in {text!r} is no number")
        return int(part)

    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = number(step_text) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = number(start)
            last = number(end) if dash else high if slash else first
        if not low <= first <= last <= high or step < 1:
            raise ScheduleError(f"{part!r} is outside of {low}-{high}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _is_open(field: str) -> bool:
    return any(part in ("*", "?", "*/1", "?/1") for part in field.split(","))


class Schedule:
    """``next_after`` in the given time zone; all times are seconds since the epoch."""

    def __init__(self, text: str, zone: tzinfo = UTC) -> None:
        expression = _MACROS.get(text.strip().lower(), text)
        fields = expression.split()
        if len(fields) != 5:
            raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: {text!r}")
        self._zone = zone
        self._minutes = _field(fields[0], 0, 59)
        self._hours = _field(fields[1], 0, 23)
        self._days = _field(fields[2], 1, 31)
        self._months = _field(fields[3], 1, 12, _MONTHS)
        self._weekdays = _field(fields[4], 0, 6, _DAYS)
        # Given both, either day will do; given one, only that counts.
        self._any_day = _is_open(fields[2]) or _is_open(fields[4])

    def _day_matches(self, day: datetime) -> bool:
        in_month, in_week = day.day in self._days, (day.weekday() + 1) % 7 in self._weekdays
        return (in_month and in_week) if self._any_day else (in_month or in_week)

    def next_after(self, when: float) -> float | None:
        """The first time after ``when``; None for a schedule that never comes (31 February)."""
        start = datetime.fromtimestamp(when, self._zone).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for offset in range(_HORIZON_DAYS):
            day = (start + timedelta(days=offset)).replace(hour=0, minute=0) if offset else start
            if day.month not in self._months or not self._day_matches(day):
                continue
            for hour in sorted(self._hours):
                for minute in sorted(self._minutes):
                    if (hour, minute) < (day.hour, day.minute):
                        continue
                    found = day.replace(hour=hour, minute=minute).timestamp()
                    if found > when and self._exists(found, hour, minute):
                        return found
        return None

    def _exists(self, found: float, hour: int, minute: int) -> bool:
        """An hour that the clocks leave out in spring is no time."""
        local = datetime.fromtimestamp(found, self._zone)
        return (local.hour, local.minute) == (hour, minute)

    def last_between(self, earliest: float, now: float) -> float | None:
        """The latest time after ``earliest`` and not after ``now``, found from nearby first: most schedules are frequent."""
        for back in (60.0, 3600.0, 86400.0, 31 * 86400.0, 400 * 86400.0, _HORIZON_DAYS * 86400.0):
            start = max(earliest, now - back)
            found = None
            candidate = self.next_after(start)
            while candidate is not None and candidate <= now:
                found, candidate = candidate, self.next_after(candidate)
            if found is not None or start == earliest:
                return found
        return None
