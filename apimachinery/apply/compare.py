"""Which fields differ between two objects, as two field sets: what was added or modified, and what was removed.

This runs on every write, so it leaves equal parts alone as early as it can and builds the sets from the inside out.
``MISSING`` is a value that is not there; ``None`` is an explicit null, which is a value.
"""

from typing import Any, Final

from apimachinery.apply.fieldset import SELF, FieldSet, ordered
from apimachinery.apply.shape import DEDUCE, LEAF, MAP, STRUCT, Shape

MISSING: Final[Any] = object()


def compare(old: dict[str, Any], new: dict[str, Any], shape: Shape) -> tuple[FieldSet, FieldSet]:
    """The fields that ``new`` adds or modifies, and those that it lacks. Raises ElementError."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    _map(old, new, shape, changed, removed)
    return ordered(changed), ordered(removed)


def _map(old: dict[str, Any], new: dict[str, Any], shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    known, typed = 0, shape.kind != DEDUCE
    for name, after in new.items():
        before = old.get(name, MISSING)
        if before is not MISSING:
            known += 1
            if before is after or (before == after and (typed or same(before, after))):
                continue
        step, below = shape.fields.get(name) or shape.child(name)
        if below.kind == LEAF:
            changed[step] = {}
        else:
            _node(step, before, after, below, changed, removed)
    if known != len(old):
        for name, before in old.items():
            if name not in new:
                step, below = shape.child(name)
                _node(step, before, MISSING, below, changed, removed)


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
    inner_changed: FieldSet = {}
    inner_removed: FieldSet = {}
    _below(before, after, shape, inner_changed, inner_removed)
    _note(step, before is MISSING, inner_changed, changed)
    _note(step, after is MISSING, inner_removed, removed)


def _below(before: Any, after: Any, shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    before = None if before is MISSING else before
    after = None if after is MISSING else after
    if shape.kind in (STRUCT, MAP, DEDUCE):
        _map(before or {}, after or {}, shape, changed, removed)
    else:
        _list(before or [], after or [], shape, changed, removed)


def _note(step: str, itself: bool, below: FieldSet, found: FieldSet) -> None:
    """Adds a node: the field ``itself`` appeared or went away, or only something below it did."""
    if itself:
        found[step] = {SELF: {}, **below} if below else {}
    elif below:
        found[step] = below


def _deduced(step: str, before: Any, after: Any, shape: Shape, changed: FieldSet, removed: FieldSet) -> None:
    """Without a schema the values say what they are: maps are granular, all else is a leaf, and a value may turn."""
    maps = isinstance(before, dict), isinstance(after, dict)
    granular = (maps[0] or before is None or before is MISSING) and (maps[1] or after is None or after is MISSING)
    if granular and any(maps) and (before or after):
        inner_changed: FieldSet = {}
        inner_removed: FieldSet = {}
        _below(before, after, shape, inner_changed, inner_removed)
        _note(step, before is MISSING, inner_changed, changed)
        _note(step, after is MISSING, inner_removed, removed)
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
