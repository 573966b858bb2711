"""The patch of a client-side apply: from what was applied last, what is wanted now and what is live.

What the user dropped since last time is deleted, what the user wants is set, what others added stays. For built-in kinds it is a
strategic merge patch that walks the schema (lists merge by their key); for kinds without a schema a JSON merge patch, in which lists
are replaced. The rules are those of apimachinery's strategicpatch.CreateThreeWayMergePatch.
"""

from typing import Any

from apimachinery.schema.definitions import Field, Schema

Object = dict[str, Any]


def three_way_patch(schema: Schema | None, original: Object, modified: Object, current: Object) -> Object:
    """``original`` is the last applied object (empty: none). An empty patch means that nothing has to change."""
    patch: Object = {}
    for key, wanted in modified.items():
        field = schema.fields.get(key) if schema is not None else None
        if wanted is None:
            if current.get(key) is not None:
                patch[key] = None
        elif current.get(key) is None:
            patch[key] = wanted
        else:
            _field(patch, field, key, original.get(key), wanted, current[key])
    for key, value in original.items():
        if value is not None and key not in modified and current.get(key) is not None:
            patch[key] = None
    return patch


def _field(patch: Object, field: Field | None, key: str, original: Any, wanted: Any, live: Any) -> None:
    if isinstance(wanted, dict) and isinstance(live, dict):
        known: Object = original if isinstance(original, dict) else {}
        inner = three_way_patch(_inside(field), known, wanted, live)
        if inner:
            if field is not None and "retainKeys" in field.patch_strategies:
                inner["$retainKeys"] = sorted(k for k, v in wanted.items() if v is not None)
            patch[key] = inner
    elif (
        isinstance(wanted, list) and isinstance(live, list) and field is not None and "merge" in field.patch_strategies
    ):
        before = original if isinstance(original, list) else []
        if field.merge_key:
            _keyed_list(patch, field, key, before, wanted, live)
        else:
            _primitive_list(patch, key, before, wanted, live)
    elif wanted != live:
        patch[key] = wanted


def _inside(field: Field | None) -> Schema | None:
    """The schema of a field's values; a map's element stands for each of its keys, and has no fields of its own here."""
    return field.schema if field is not None and field.schema.kind == "object" else None


def _keyed_list(patch: Object, field: Field, key: str, original: list[Any], wanted: list[Any], live: list[Any]) -> None:
    merge_key = field.merge_key
    element = field.schema.element
    before = {item.get(merge_key): item for item in original}
    now = {item.get(merge_key): item for item in live}
    changes: list[Object] = []
    for item in wanted:
        name = item.get(merge_key)
        if name not in now:
            changes.append(item)
            continue
        inner = three_way_patch(element, before.get(name, {}), item, now[name])
        if inner:
            if "retainKeys" in field.patch_strategies:
                inner["$retainKeys"] = sorted(k for k, v in item.items() if v is not None)
            changes.append({**inner, merge_key: name})
    kept = {item.get(merge_key) for item in wanted}
    changes += [{"$patch": "delete", merge_key: name} for name in before if name not in kept and name in now]
    order = [{merge_key: item.get(merge_key)} for item in wanted]
    if changes or [n for n in now if n in kept] != [n for n in (i.get(merge_key) for i in wanted) if n in now]:
        if changes:
            patch[key] = changes
        patch[f"$setElementOrder/{key}"] = order


def _primitive_list(patch: Object, key: str, original: list[Any], wanted: list[Any], live: list[Any]) -> None:
    added = [value for value in wanted if value not in live]
    removed = [value for value in original if value not in wanted and value in live]
    if added:
        patch[key] = added
    if removed:
        patch[f"$deleteFromPrimitiveList/{key}"] = removed
    if added or removed:
        patch[f"$setElementOrder/{key}"] = wanted
