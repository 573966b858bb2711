"""Strings with a form: times and base64, read and written as Go's decoder does, with its complaints."""

import base64
import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache

from apimachinery.errors import quote

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)")
_LAYOUT = (
    ("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"),
    ("15", r"\d\d?"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d"),
)  # fmt: skip


@lru_cache(maxsize=1024)
def canonical_time(text: str) -> str:
    """``metav1.Time``: UTC, whole seconds. Raises ValueError with Go's message.

    Remembered, for what is written again has its old times in it.
    """
    when, _ = _parse(text, "2006-01-02T15:04:05Z07:00")
    return when


def canonical_micro_time(text: str) -> str:
    """``metav1.MicroTime``: UTC, six digits."""
    when, fraction = _parse(text, "2006-01-02T15:04:05.000000Z07:00")
    return f"{when[:-1]}.{(fraction + '000000')[:6]}Z"


def _parse(text: str, layout: str) -> tuple[str, str]:
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(_complaint(text, layout))
    seconds, fraction, zone = match.groups()
    try:
        when = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
    except ValueError:
        raise ValueError(f"parsing time {quote(text)}: {_out_of_range(seconds)} out of range") from None
    if zone != "Z":
        seconds = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return seconds + "Z", fraction or ""


def _out_of_range(seconds: str) -> str:
    month, day, hour, minute = int(seconds[5:7]), int(seconds[8:10]), int(seconds[11:13]), int(seconds[14:16])
    if not 1 <= month <= 12:
        return "month"
    if not 1 <= day <= 31 or (hour < 24 and minute < 60 and int(seconds[17:19]) < 60):
        return "day"
    return "hour" if hour >= 24 else "minute" if minute >= 60 else "second"


def _complaint(text: str, layout: str) -> str:
    """Names the first part of the layout that the text does not follow, as Go's time.Parse does."""
    rest, expected = text, layout[19:]
    for part, pattern in _LAYOUT:
        match = re.match(pattern, rest)
        if not match:
            expected = part
            break
        rest = rest[match.end() :]
    return f"parsing time {quote(text)} as {quote(layout)}: cannot parse {quote(rest)} as {quote(expected)}"


def canonical_base64(text: str) -> str:
    """Standard base64; line breaks are ignored. Raises ValueError with Go's message."""
    try:
        base64.b64decode(text, validate=True)
        return text
    except binascii.Error:
        pass
    compact = text.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(compact, validate=True)
    except binascii.Error:
        raise ValueError(f"illegal base64 data at input byte {_illegal_byte(text)}") from None
    return compact


def _illegal_byte(text: str) -> int:
    """Where Go's decoder stops: at the first foreign character, else at the last incomplete group of four."""
    match = re.search(r"[^A-Za-z0-9+/=\r\n]", text)
    if match:
        return len(text[: match.start()].encode())
    pad = text.find("=")
    if pad >= 0:
        return pad
    return max(len(text) - len(text) % 4, 0)
