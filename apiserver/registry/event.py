"""Events, in the form of core/v1 (the stored one) and of events.k8s.io/v1."""

from typing import Any

from apimachinery import duration, names
from apimachinery.errors import FieldError, invalid_value, required, too_long
from apimachinery.resources import Resource
from apimachinery.table import Column
from apiserver.registry.strategy import NAME, Object, Strategy

_FIELDS = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
    "reportingComponent", "source", "type",
)  # fmt: skip


#: What events.k8s.io calls the same fields.
_REGARDING = {
    field.replace("involvedObject.", "regarding.").replace("reportingComponent", "reportingController"): field
    for field in _FIELDS
}


class EventStrategy(Strategy):
    allow_create_on_update = True
    columns = (
        Column("Last Seen", description="The time at which the most recent occurrence of this event was recorded."),
        Column("Type", description="Type of this event (Normal, Warning), new types could be added in the future"),
        Column(
            "Reason",
            description="This should be a short, machine understandable string that gives the reason for the transition into the "
            "object's current status.",
        ),
        Column("Object", description="The object that this event is about."),
        Column(
            "Subobject", description="If referring to a piece of an object instead of an entire object.", priority=1
        ),
        Column(
            "Source",
            description="The component reporting this event. Should be a short machine understandable string.",
            priority=1,
        ),
        Column("Message", description="A human-readable description of the status of this operation."),
        Column("First Seen", description="The time at which the event was first recorded.", priority=1),
        Column("Count", description="The number of times this event has occurred.", priority=1),
        NAME._replace(priority=1),
    )

    def rules(self, obj: Object) -> list[FieldError]:
        event = to_core(obj)
        involved = event.get("involvedObject") or {}
        namespace = obj["metadata"].get("namespace", "")
        about = involved.get("namespace", "")
        found: list[FieldError] = []
        if (about or "default") != namespace and not (not about and namespace in ("", "kube-system")):
            found.append(invalid_value("involvedObject.namespace", about, "does not match event.namespace"))
        if event.get("eventTime"):
            found += _new_style(event)
        return found

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.selectable = tuple(_REGARDING) if resource.group else _FIELDS

    def check_field_label(self, label: str) -> str:
        """Clients of events.k8s.io/v1 say what the field is called there."""
        known = super().check_field_label(label)
        return _REGARDING.get(known, known) if self.resource.group else known

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        event = to_core(obj)
        involved = event.get("involvedObject") or {}
        fields = {f: involved.get(f.partition(".")[2], "") for f in _FIELDS if f.startswith("involvedObject.")}
        source = (event.get("source") or {}).get("component") or event.get("reportingComponent", "")
        return {
            **super().selectable_fields(obj),
            **fields,
            "reason": event.get("reason", ""),
            "reportingComponent": event.get("reportingComponent", ""),
            "source": source,
            "type": event.get("type", ""),
        }

    def cells(self, obj: Object, now: float) -> list[Any]:
        event = to_core(obj)
        first = duration.age(event.get("firstTimestamp") or event.get("eventTime"), now)
        last = duration.age(event["lastTimestamp"], now) if event.get("lastTimestamp") else first
        count = event.get("count") or 1
        if series := event.get("series"):
            last = duration.age(series.get("lastObservedTime"), now)
            count = series.get("count", 0)
        involved = event.get("involvedObject") or {}
        kind, name = involved.get("kind", "").lower(), involved.get("name", "")
        return [
            last,
            event.get("type", ""),
            event.get("reason", ""),
            f"{kind}/{name}" if name else kind,
            involved.get("fieldPath", ""),
            _source(event),
            event.get("message", "").strip(),
            first,
            count,
            obj["metadata"]["name"],
        ]


def _source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent", "")
    host = source.get("host") or event.get("reportingInstance", "")
    return f"{component}, {host}" if host else component


def _new_style(event: Object) -> list[FieldError]:
    """Events with an ``eventTime`` come from the newer API and say who reports them."""
    found: list[FieldError] = []
    reporter = event.get("reportingComponent", "")
    if not reporter:
        found.append(required("reportingController"))
    found += [invalid_value("reportingController", reporter, p) for p in names.qualified_name(reporter) if reporter]
    for field, limit, needed in (("reportingInstance", 128, True), ("action", 128, True), ("reason", 128, True)):
        value = event.get(field, "")
        if needed and not value:
            found.append(required(field))
        elif len(value) > limit:
            found.append(too_long(field, limit))
    if len(event.get("message", "")) > 1024:
        found.append(too_long("message", 1024))
    return found


# --- the two forms ----------------------------------------------------------------------------------------------

# events.k8s.io/v1 -> core/v1
_RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {core: new for new, core in _RENAMED.items()}


def to_core(event: Object) -> Object:
    """An event as core/v1 writes it; one that is in that form already is returned as it is."""
    if event.get("apiVersion") != "events.k8s.io/v1":
        return event
    return {**{_RENAMED.get(k, k): v for k, v in event.items()}, "apiVersion": "v1"}


def to_events(event: Object) -> Object:
    """A core/v1 event as events.k8s.io/v1 writes it."""
    if event.get("apiVersion") == "events.k8s.io/v1":
        return event
    return {**{_BACK.get(k, k): v for k, v in event.items()}, "apiVersion": "events.k8s.io/v1"}
