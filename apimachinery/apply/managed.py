"""``metadata.managedFields``: who owns which fields, since when, by which operation.

An applier has one entry for each subresource; whoever updates has one for each API version too. The entries of an object
are kept in upstream's order, and no more than ten updaters are remembered: the oldest are folded into one.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from apimachinery.apply import fieldset
from apimachinery.apply.element import ElementError, json_text
from apimachinery.apply.fieldset import FieldSet
from apimachinery.errors import quote

APPLY, UPDATE = "Apply", "Update"
MAX_UPDATERS = 10
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"


class ManagedFieldsError(ValueError):
    """managedFields that cannot be understood."""


class Manager(NamedTuple):
    """What tells entries apart; for an applier ``api_version`` is empty."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def identifier(self) -> str:
        """Upstream's identifier: it sorts by this text."""
        text = "".join(f",{quote(k)}:{json_text(v)}" for k, v in zip(_IDENTIFYING, self, strict=True) if v)
        return "{" + text[1:] + "}"

    def __str__(self) -> str:
        """As conflicts name it: ``"kubectl" with subresource "status" using v1``."""
        text = quote(self.name)
        if self.subresource:
            text += f" with subresource {quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


_IDENTIFYING = ("manager", "operation", "apiVersion", "subresource")


def manager_of(name: str, operation: str, api_version: str, subresource: str) -> Manager:
    return Manager(name or "unknown", operation, api_version if operation == UPDATE else "", subresource)


@dataclass(slots=True)
class Owned:
    """What one manager owns, at the version of the API at which it last wrote."""

    fields: FieldSet
    api_version: str
    time: str | None = None
    written: dict[str, Any] | None = None
    """The entry in the object, as long as it says the same."""


Managed = dict[Manager, Owned]


def with_fields(owned: Owned, fields: FieldSet) -> Owned:
    return owned if fields is owned.fields else replace(owned, fields=fields, written=None)


def decode(entries: list[dict[str, Any]], *, trusted: bool = False) -> Managed:
    """Raises ManagedFieldsError. ``trusted``: the sets come from the store and are in canonical form already."""
    managed: Managed = {}
    for i, entry in enumerate(entries):
        operation, api_version = entry.get("operation"), entry.get("apiVersion")
        if operation != UPDATE and operation != APPLY:
            raise ManagedFieldsError("operation must be `Apply` or `Update`")
        if not api_version:
            raise ManagedFieldsError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            raise ManagedFieldsError(_wrong_type(entry.get("fieldsType"), i))
        fields = entry.get("fieldsV1") or {}
        if not trusted:
            try:
                fields = fieldset.decode(fields)
            except ElementError as e:
                raise ManagedFieldsError(f"error decoding set: {e}") from None
        manager = Manager(
            entry.get("manager", ""),
            operation,
            api_version if operation == UPDATE else "",
            entry.get("subresource", ""),
        )
        managed[manager] = Owned(fields, api_version, entry.get("time"), entry if trusted else None)
    return managed


def _wrong_type(given: Any, i: int) -> str:
    if not given:
        return f"missing fieldsType in managed fields entry {i}"
    return f"invalid fieldsType {quote(str(given))} in managed fields entry {i}"


def encode(managed: Managed) -> list[dict[str, Any]]:
    ordered = sorted(
        managed.items(), key=lambda m: (m[0].operation, m[1].time or "", m[0].name, m[1].api_version, m[0].subresource)
    )
    return [owned.written or _entry(manager, owned) for manager, owned in ordered]


def _entry(manager: Manager, owned: Owned) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": manager.name} if manager.name else {}
    entry["operation"] = manager.operation
    entry["apiVersion"] = owned.api_version
    if owned.time is not None:
        entry["time"] = owned.time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = owned.fields
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def is_reset(entries: list[dict[str, Any]] | None) -> bool:
    """An empty list, or one empty entry, is how a client asks to forget all owners."""
    return entries is not None and (not entries or entries == [{}])


def capped(managed: Managed, limit: int = MAX_UPDATERS) -> Managed:
    """Folds the oldest updaters, by API version, until no more than ``limit`` are left."""
    updaters = [m for m in managed if m.operation == UPDATE]
    surplus = len(updaters) - limit
    if surplus <= 0:
        return managed
    updaters.sort(key=lambda m: (managed[m].time or "", m.identifier()))
    managed = dict(managed)
    first: dict[str, Manager] = {}
    for updater in updaters:
        if surplus <= 0:
            break
        owned = managed[updater]
        bucket = manager_of(ANCIENT, UPDATE, owned.api_version, "")
        if owned.api_version not in first:
            first[owned.api_version] = updater
            continue
        older = managed.pop(first[owned.api_version])
        fields = fieldset.union(managed.pop(updater).fields, older.fields)
        if bucket in managed:
            fields = fieldset.union(fields, managed[bucket].fields)
            surplus -= 1
        managed[bucket] = Owned(fields, owned.api_version, owned.time)
        first[owned.api_version] = bucket
        surplus -= 1
    return managed
