"""Computing strategic merge patches: what ``kubectl apply`` and status writers send.

``two_way`` leads from one object to another. ``three_way`` leads the live object to the wanted one and removes only what the
last wanted one had: fields that others set stay.
"""

from typing import Any

from apimachinery.patch import Json, PatchError
from apimachinery.patch.strategic import below, element_schema, field_of, strategy_of
from apimachinery.schema.definitions import Field, Schema

Map = dict[str, Json]


def two_way(original: Map, modified: Map, schema: Schema) -> Map:
    """The patch with ``apply(original, patch) == modified``; {} when they are equal."""
    return _maps(original, modified, original, schema, retain=False)


def three_way(last: Map, modified: Map, live: Map, schema: Schema) -> Map:
    """Changes from ``live`` to ``modified``, and deletions of what was in ``last`` and is no longer wanted."""
    return _maps(live, modified, last, schema, retain=False)


def _maps(current: Map, modified: Map, owned: Map, schema: Schema, *, retain: bool) -> Map:
    """Changes are against ``current``, deletions of what is in ``owned``."""
    patch: Map = {}
    for key, wanted in modified.items():
        if key not in current or type(current[key]) is not type(wanted):
            patch[key] = wanted
            continue
        had, mine, field = current[key], owned.get(key), field_of(schema, key)
        if isinstance(wanted, dict):
            _map(patch, key, had, wanted, mine if isinstance(mine, dict) else {}, schema, field)
        elif isinstance(wanted, list):
            _list(patch, key, had, wanted, mine if isinstance(mine, list) else [], schema, field)
        elif had != wanted:
            patch[key] = wanted
    patch.update((key, None) for key in owned if key not in modified)
    extra = any(value is not None and key not in modified for key, value in current.items())
    kept = sorted(key for key, value in modified.items() if value is not None)
    if retain and kept and (patch or extra):
        patch["$retainKeys"] = kept
    return patch


def _map(patch: Map, key: str, had: Map, wanted: Map, mine: Map, schema: Schema, field: Field | None) -> None:
    if strategy_of(field) == "replace":
        if had != wanted:
            patch[key] = wanted
        return
    inner = _maps(had, wanted, mine, below(schema, field), retain=_retains(field))
    if inner:
        patch[key] = inner


def _retains(field: Field | None) -> bool:
    return field is not None and "retainKeys" in field.patch_strategies


def _list(
    patch: Map, key: str, had: list[Json], wanted: list[Json], mine: list[Json], schema: Schema, field: Field | None
) -> None:
    if strategy_of(field) != "merge":
        if had != wanted:
            patch[key] = wanted
    elif field is not None and any(isinstance(v, dict) for v in (*had, *wanted, *mine)):
        _merging_maps(patch, key, had, wanted, mine, element_schema(below(schema, field)), field)
    else:
        _merging_scalars(patch, key, had, wanted, mine)


def _merging_scalars(patch: Map, key: str, had: list[Json], wanted: list[Json], mine: list[Json]) -> None:
    added = [v for v in wanted if v not in had]
    gone = [v for v in mine if v not in wanted]
    if added:
        patch[key] = added
    if gone:
        patch[f"$deleteFromPrimitiveList/{key}"] = gone
    # What others put into the live list does not make an order: only what both have can stand differently.
    if had and (added or gone or [v for v in had if v in wanted] != [v for v in wanted if v in had]):
        patch[f"$setElementOrder/{key}"] = wanted


def _merging_maps(
    patch: Map, key: str, had: list[Json], wanted: list[Json], mine: list[Json], schema: Schema, field: Field
) -> None:
    merge_key = field.merge_key
    current, owned = _by_key(had, merge_key), _by_key(mine, merge_key)
    changes: list[Any] = []
    for name, element in _by_key(wanted, merge_key).items():
        if name not in current:
            changes.append(element)
            continue
        inner = _maps(current[name], element, owned.get(name, {}), schema, retain=_retains(field))
        if inner:
            changes.append({**inner, merge_key: element[merge_key]})
    names = _by_key(wanted, merge_key)
    gone = [{"$patch": "delete", merge_key: e[merge_key]} for name, e in owned.items() if name not in names]
    if changes or gone:
        patch[key] = changes + gone
    if had and (changes or gone or [n for n in current if n in names] != [n for n in names if n in current]):
        patch[f"$setElementOrder/{key}"] = [{merge_key: e[merge_key]} for e in names.values()]


def _by_key(elements: list[Json], key: str) -> dict[str, Map]:
    """Elements by their merge key, in order; a key given twice counts once, with the last element."""
    found: dict[str, Map] = {}
    for element in elements:
        if not isinstance(element, dict) or key not in element:
            raise PatchError(f"an element of a merged list does not contain declared merge key: {key}")
        found[repr(element[key])] = element
    return found
