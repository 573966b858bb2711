"""Fields that somebody else owns with another value, and what the client is told about them."""

from typing import Any

from apimachinery import errors
from apimachinery.apply import fieldset
from apimachinery.apply.fieldset import FieldSet
from apimachinery.apply.managed import Manager


class Conflicts(Exception):
    """An apply that may not go on without force. ``owners``: the fields that each manager would lose."""

    def __init__(self, owners: dict[Manager, FieldSet]) -> None:
        self.owners = dict(sorted(owners.items(), key=lambda item: item[0].identifier()))
        super().__init__(_message(self.owners))

    def without(self, allowed: FieldSet) -> "Conflicts | None":
        """The conflicts about other fields than these; None when there are none."""
        left = {manager: fieldset.difference(fields, allowed) for manager, fields in self.owners.items()}
        left = {manager: fields for manager, fields in left.items() if fields}
        return Conflicts(left) if left else None

    def status(self) -> errors.StatusError:
        causes: list[dict[str, Any]] = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": fieldset.render(path)}
            for manager, fields in self.owners.items()
            for path in fieldset.paths(fields)
        ]
        return errors.apply_conflict(causes, str(self))


def _message(owners: dict[Manager, FieldSet]) -> str:
    found = [
        (manager, [fieldset.render(path) for path in fieldset.paths(fields)]) for manager, fields in owners.items()
    ]
    count = sum(len(paths) for _, paths in found)
    if count == 1:
        manager, paths = found[0]
        return f"Apply failed with 1 conflict: conflict with {manager}: {paths[0]}"
    lines = [line for manager, paths in found for line in (f"conflicts with {manager}:", *(f"- {p}" for p in paths))]
    return f"Apply failed with {count} conflicts: " + "\n".join(lines)
