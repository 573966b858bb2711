"""The layout of ``describe``: aligned ``Key:  value`` lines at nested levels, and tables inside them.

As in kubectl, tabs divide the cells and one pass at the end aligns them over neighbouring lines (Go's text/tabwriter).
"""

from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


def parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def long_time(text: str | None) -> str:
    """RFC 1123 with a numeric zone: ``Mon, 02 Jan 2006 15:04:05 +0000``."""
    when = parse_time(text)
    return when.astimezone().strftime("%a, %d %b %Y %H:%M:%S %z") if when else ""


def age(text: str | None, now: datetime | None = None) -> str:
    from apimachinery.duration import human

    when = parse_time(text)
    if when is None:
        return "<unknown>"
    return human(((now or datetime.now(UTC)) - when).total_seconds())


class Prose:
    """Collects lines; ``line(level, "Name:", value)`` indents by two blanks a level."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def line(self, level: int, *cells: Any) -> None:
        self._lines.append("  " * level + "\t".join("" if c is None else str(c) for c in cells))

    def mapping(self, level: int, name: str, values: dict[str, str] | None) -> None:
        """Labels and the like, one ``k=v`` a line; ``<none>`` when there are none."""
        shown = [f"{k}={v}" for k, v in sorted((values or {}).items())]
        self.line(level, name, shown[0] if shown else "<none>")
        for text in shown[1:]:
            self.line(level, "", text)

    def annotations(self, values: dict[str, str] | None) -> None:
        skip = {"kubectl.kubernetes.io/last-applied-configuration"}
        shown = [(k, v) for k, v in sorted((values or {}).items()) if k not in skip]
        self.line(0, "Annotations:", _annotation(*shown[0]) if shown else "<none>")
        for key, value in shown[1:]:
            self.line(0, "", _annotation(key, value))

    def heading(self, obj: Object) -> None:
        meta = obj["metadata"]
        self.line(0, "Name:", meta["name"])
        if meta.get("namespace"):
            self.line(0, "Namespace:", meta["namespace"])

    def conditions(self, conditions: list[Object] | None, *, reasons: bool) -> None:
        """kubectl leaves a blank behind the type (and behind the status, where no reason follows)."""
        if not conditions:
            return
        self.line(0, "Conditions:")
        self.line(1, "Type", "Status", *(["Reason"] if reasons else []))
        if reasons:
            self.line(1, "----", "------", "------")
        for c in conditions:
            self.line(1, f"{c['type']} ", *([c["status"], c.get("reason") or ""] if reasons else [f"{c['status']} "]))

    def events(self, events: list[Object]) -> None:
        if not events:
            self.line(0, "Events:", "<none>")
            return
        self.line(0, "Events:")
        self.line(1, "Type", "Reason", "Age", "From", "Message")
        self.line(1, "----", "------", "----", "----", "-------")
        for event in events:
            self.line(
                1,
                event.get("type"),
                event.get("reason"),
                event_age(event),
                event_source(event),
                event.get("message", "").strip(),
            )

    def text(self) -> str:
        return "\n".join(align(self._lines)) + "\n"


def _annotation(key: str, value: str) -> str:
    return (
        f"{key}: {value}"
        if len(value) < 140 and "\n" not in value
        else f"{key}:\n\t  " + value.strip().replace("\n", "\n\t  ")
    )


def event_age(event: Object) -> str:
    """``5s``, or ``10s (x3 over 2m)`` for what happened several times."""
    last = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    series = event.get("series") or {}
    count = series.get("count") or event.get("count") or 1
    last = series.get("lastObservedTime") or last
    if count > 1:
        return f"{age(last)} (x{count} over {age(event.get('firstTimestamp') or event.get('eventTime'))})"
    return age(last)


def event_source(event: Object) -> str:
    source = event.get("source") or {}
    return source.get("component") or event.get("reportingComponent") or ""


def align(lines: list[str], *, padding: int = 2) -> list[str]:
    """A column is a run of neighbouring lines that have that cell ended by a tab; each is as wide as its widest cell."""
    rows = [line.split("\t") for line in "\n".join(lines).split("\n")]
    widths = [[0] * len(row) for row in rows]
    for column in range(max((len(row) for row in rows), default=0)):
        block: list[int] = []
        for index in range(len(rows) + 1):
            if index < len(rows) and len(rows[index]) > column + 1:
                block.append(index)
                continue
            width = max((len(rows[i][column]) for i in block), default=0)
            for i in block:
                widths[i][column] = width + padding
            block = []
    return ["".join(c.ljust(w) for c, w in zip(r, ws, strict=True)) for r, ws in zip(rows, widths, strict=True)]
