"""``meta.k8s.io/v1 Table``: rows and columns that the server prints, so that every client shows the same."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """One column definition. ``priority`` above 0 shows only in wide output."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


class Row(NamedTuple):
    """One row: ``object`` is what ``includeObject`` asked for; ``conditions`` mark what is over (``Completed``)."""

    cells: list[Any]
    object: dict[str, Any] | None = None
    conditions: Sequence[dict[str, Any]] = ()

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"cells": self.cells}
        if self.conditions:
            document["conditions"] = list(self.conditions)
        if self.object is not None:
            document["object"] = self.object
        return document


def table(
    columns: Sequence[Column],
    rows: Iterable["Row"],
    list_metadata: dict[str, Any] | None = None,
    *,
    with_columns: bool = True,
) -> dict[str, Any]:
    """A Table of rows.

    In a watch only the first event carries the column definitions (``with_columns``), as upstream does.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata or {},
        "columnDefinitions": [c.definition() for c in columns] if with_columns else None,
        "rows": [row.document() for row in rows],
    }


def partial_metadata(obj: dict[str, Any]) -> dict[str, Any]:
    """``PartialObjectMetadata`` of an object: what a Table row includes unless told otherwise."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
