"""Which fields differ between two objects, as two field sets: what was added or modified, and what was removed.

This runs on every write, so it leaves equal parts alone as early as it can and builds the sets from the inside out.
``MISSING`` is a value that is not there; ``None`` is an explicit null, which is a value.
"""

from typing import Any, Final

from apimachinery.apply.fieldset import SELF, FieldSet, in_order
from apimachinery.apply.shape import DEDUCE, LEAF, MAP, STRUCT, Shape

MISSING: Final[Any] = object()


def compare(old: dict[str, Any], new: dict[str, Any], shape: Shape) -> tuple[FieldSet, FieldSet]:
    """The fields that ``new`` adds or modifies, and those that it lacks. Raises ElementError."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    _map(old, new, shape, changed, removed)
    return changed, removed


def _map(old: dict[str, Any], new: dict[str, Any], shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    known, typed = 0, shape.kind != DEDUCE
    for name, after in new.items():
        before = old.get(name, MISSING)
        if before is not MISSING:
            known += 1
            if before is after or (before == after and (typed or same(before, after))):
                continue
        step, below = shape.fields.get(name) or shape.child(name)
        if before is MISSING:
            changed[step] = _whole(after, below) if after else {}
        elif below.kind == LEAF:
            changed[step] = {}
        else:
            _node(step, before, after, below, changed, removed)
    if known != len(old):
        for name, before in old.items():
            if name not in new:
                step, below = shape.child(name)
                _node(step, before, MISSING, below, changed, removed)
    _put_in_order(changed)
    _put_in_order(removed)


def _put_in_order(found: FieldSet) -> None:
    """In place: the sets here are still being made."""
    if len(found) > 1:
        ordered = in_order(found)
        if ordered != list(found):
            items = [(step, found[step]) for step in ordered]
            found.clear()
            found.update(items)


def _whole(value: Any, shape: Shape) -> FieldSet:
    """A value that is there on one side only, and not empty: itself and all that is below it."""
    kind = shape.kind
    if kind == LEAF or (kind == DEDUCE and type(value) is not dict):
        return {}
    found: FieldSet = {SELF: {}}
    if kind in (STRUCT, MAP, DEDUCE):
        fields = shape.fields
        for name in sorted(value):
            item = value[name]
            step, below = fields.get(name) or shape.child(name)
            found[step] = _whole(item, below) if item and below.kind != LEAF else {}
        return found
    element = shape.element
    assert element is not None
    for step, items in _by_identity(value, shape).items():
        found[step] = _whole(items[0], element) if len(items) == 1 and items[0] else {}
    if len(found) > 2:
        _put_in_order(found)
    return found


def same(before: Any, after: Any) -> bool:
    """Equal as upstream sees it: 1 is 1.0, but true is not 1. A schema rules the latter out, so typed values skip it."""
    if before != after:
        return False
    kind = type(before)
    if kind is str or kind is not type(after):
        return kind is str or (kind is not bool and type(after) is not bool)
    return not _differs_in_booleans(before, after) if kind is dict or kind is list else True


def _differs_in_booleans(before: Any, after: Any) -> bool:
    """Python takes true for 1. Asked of two values that are equal otherwise."""
    if type(before) is dict:
        return any(_differs_in_booleans(v, after[k]) for k, v in before.items() if type(v) is not str)
    if type(before) is list:
        return any(_differs_in_booleans(v, w) for v, w in zip(before, after, strict=True) if type(v) is not str)
    return (type(before) is bool) is not (type(after) is bool)


def _node(step: str, before: Any, after: Any, shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    """One field or element that is not the same on both sides."""
    if shape.kind == DEDUCE:
        _deduced(step, before, after, shape, changed, removed)
        return
    # Where both sides are empty, it is a leaf: null and {} are told apart.
    if shape.kind == LEAF or not ((before is not MISSING and before) or (after is not MISSING and after)):
        if after is MISSING:
            removed[step] = {}
        else:
            changed[step] = {}
        return
    if before is MISSING:
        changed[step] = _whole(after, shape)
    elif after is MISSING:
        removed[step] = _whole(before, shape)
    else:
        inner_changed: FieldSet = {}
        inner_removed: FieldSet = {}
        _below(before, after, shape, inner_changed, inner_removed)
        if inner_changed:
            changed[step] = inner_changed
        if inner_removed:
            removed[step] = inner_removed


def _below(before: Any, after: Any, shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    if shape.kind in (STRUCT, MAP, DEDUCE):
        _map(before or {}, after or {}, shape, changed, removed)
    else:
        _list(before or [], after or [], shape, changed, removed)


def _deduced(step: str, before: Any, after: Any, shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    """Without a schema the values say what they are: maps are granular, all else is a leaf, and a value may turn."""
    maps = isinstance(before, dict), isinstance(after, dict)
    granular = (maps[0] or before is None or before is MISSING) and (maps[1] or after is None or after is MISSING)
    if before is MISSING:
        changed[step] = _whole(after, shape) if after else {}
    elif granular and any(maps) and (before or after) and after is not MISSING:
        inner_changed: FieldSet = {}
        inner_removed: FieldSet = {}
        _below(before, after, shape, inner_changed, inner_removed)
        if inner_changed:
            changed[step] = inner_changed
        if inner_removed:
            removed[step] = inner_removed
    elif after is MISSING and maps[0] and before:
        removed[step] = _whole(before, shape)
    elif after is MISSING:
        removed[step] = {}
    else:
        changed[step] = {}
        if maps[0] and before:  # a map that became something else
            below: FieldSet = {}
            _map(before, {}, shape, {}, below)
            removed[step] = below
        elif maps[1] and after and before is not MISSING:  # something else that became a map
            below = {}
            _map({}, after, shape, below, {})
            changed[step] = {SELF: {}, **below}


def _list(before: list[Any], after: list[Any], shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    """Elements are compared with those of the same identity. Those that share one are compared together, as a leaf."""
    old, new = _by_identity(before, shape), _by_identity(after, shape)
    element = shape.element
    assert element is not None
    for step, items in new.items():
        were = old.get(step, ())
        if len(items) == 1 and len(were) <= 1:
            item, was = items[0], were[0] if were else MISSING
            if was is MISSING or not (was is item or was == item):
                _element(step, was, item, shape, changed, removed)
        elif len(items) > 1 and len(were) > 1:
            if were != items:
                changed[step] = {}
        elif len(items) > 1:
            if were:
                _element(step, were[0], MISSING, shape, changed, removed)
            changed[step] = {}
        else:
            _element(step, MISSING, items[0], shape, changed, removed)
            removed[step] = {}
    for step, were in old.items():
        if step not in new:
            if len(were) == 1:
                _element(step, were[0], MISSING, shape, changed, removed)
            else:
                removed[step] = {}
    _put_in_order(changed)
    _put_in_order(removed)


def _element(step: str, was: Any, item: Any, shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    assert shape.element is not None
    _node(step, was, item, shape.element, changed, removed)


def _by_identity(items: list[Any], shape: Shape) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    identify = shape.identify
    for item in items:
        step = identify(item)
        if step in found:
            found[step].append(item)
        else:
            found[step] = [item]
    return found
