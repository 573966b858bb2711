"""Merging an applied configuration into the live object, and taking fields out of an object.

Both follow the schema: granular maps and identified list elements merge, everything else is replaced as a whole. Results share
their unchanged parts with the arguments, which stay as they were.
"""

from typing import Any

from apimachinery.apply import fieldset
from apimachinery.apply.compare import MISSING
from apimachinery.apply.fieldset import FieldSet, holds
from apimachinery.apply.shape import DEDUCE, DEDUCED, KEYED, LEAF, MAP, SET, STRUCT, Shape


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """``config`` over ``live``; either may be MISSING. A null in the configuration does not empty a map or list."""
    if config is MISSING or live is MISSING:
        return live if config is MISSING else config
    kind = shape.kind
    if kind == DEDUCE:
        kind = MAP if _map_or_null(live) and _map_or_null(config) else LEAF
    if kind == LEAF or not (live or config):
        return config
    if kind in (STRUCT, MAP):
        return _merge_maps(live or {}, config or {}, shape)
    return _merge_lists(live or [], config or [], shape)


def _map_or_null(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _merge_maps(live: dict[str, Any], config: dict[str, Any], shape: Shape) -> dict[str, Any]:
    out = dict(live)
    for name, value in config.items():
        out[name] = merge(live.get(name, MISSING), value, shape.child(name)[1])
    return out


def _merge_lists(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    """Elements that both have take the configuration's order; those that only the live list has keep their place before it.

    Elements of the live list that share an identity are left alone, unless the configuration has one that replaces them.
    """
    element = shape.element
    assert element is not None
    live_steps = [shape.identify(item) for item in live]
    wanted = {shape.identify(item): item for item in config}
    present: dict[str, Any] = {}
    for step, item in zip(live_steps, live, strict=True):
        present[step] = MISSING if step in present else item
    shared = iter([step for step in wanted if step in present])
    awaited = next(shared, None)
    out: list[Any] = []
    done: set[str] = set()

    def take(step: str) -> None:
        done.add(step)
        out.append(merge(present.get(step, MISSING), wanted[step], element))

    steps = list(wanted)
    left = right = 0
    while left < len(live_steps) or right < len(steps):
        here = live_steps[left] if left < len(live_steps) else None
        there = steps[right] if right < len(steps) else None
        if here is not None and here not in wanted:
            out.append(live[left])
            left += 1
        elif here is not None and there is not None and here == there:
            take(here)
            left, right, awaited = left + 1, right + 1, next(shared, None)
        elif here is not None and there is not None and awaited is not None and awaited != here:
            left += 1  # shared, but the configuration wants another one first
        else:
            if here in done:
                left += 1
            if there is not None:
                take(there)
                right += 1
                if there == awaited:
                    awaited = next(shared, None)
    return out


# --- the fields of an object --------------------------------------------------------------------------------------


def fields_of(obj: dict[str, Any], shape: Shape) -> FieldSet:
    """Everything that an object says, as a set. Raises ElementError."""
    return fieldset.ordered(_map_fields(obj, shape))


def _map_fields(value: dict[str, Any], shape: Shape) -> FieldSet:
    out: FieldSet = {}
    for name, item in value.items():
        step, below = shape.child(name)
        node = _node(item, below)
        # The entries of a map are fields themselves, those of a struct only when they are leaves.
        if name not in shape.fields:
            node = _with_self(node or {})
        if node is not None:
            out[step] = node
    return out


def _node(value: Any, shape: Shape) -> FieldSet | None:
    """``{}`` for a leaf, the fields below for anything else, None for nothing."""
    kind = shape.kind
    if kind == LEAF or value is None:
        return {}
    if kind == DEDUCE:
        kind = MAP if isinstance(value, dict) else LEAF
    if kind in (STRUCT, MAP):
        return _map_fields(value, shape)
    return _list_fields(value, shape) or None if kind in (KEYED, SET) else {}


def _list_fields(items: list[Any], shape: Shape) -> FieldSet:
    assert shape.element is not None
    out: FieldSet = {}
    seen: set[str] = set()
    for item in items:
        step = shape.identify(item)
        out[step] = {} if step in seen else _with_self(_node(item, shape.element) or {})
        seen.add(step)
    return out


def _with_self(node: FieldSet) -> FieldSet:
    return {fieldset.SELF: {}, **node} if node else node


def with_named(owned: FieldSet, shape: Shape) -> FieldSet:
    """The set with the named fields of structs on the way to its members, which are not in sets otherwise."""
    out: FieldSet = {}
    for step, below in owned.items():
        if below and step != fieldset.SELF:
            named = shape.fields.get(step[2:]) if step[0] == "f" else None
            inner = with_named(below, named[1] if named else shape.element or DEDUCED)
            out[step] = inner if named is None or holds(inner) else {fieldset.SELF: {}, **inner}
        else:
            out[step] = below
    return out


# --- taking fields out --------------------------------------------------------------------------------------------


def remove(value: Any, gone: FieldSet, shape: Shape) -> Any:
    """The value without the fields of a set; null where a map or list is left with nothing."""
    kind = shape.kind
    if kind == DEDUCE:
        kind = MAP if isinstance(value, dict) else LEAF
    if kind in (STRUCT, MAP):
        left = {}
        for name, item in (value or {}).items():
            step, below = shape.child(name)
            node = gone.get(step)
            if node is None:
                left[name] = item
            elif not holds(node):
                left[name] = remove(item, node, below)
        return left or None
    if kind in (KEYED, SET):
        return _remove_elements(value or [], gone, shape) or None
    return None if isinstance(value, dict | list) else value


def _remove_elements(items: list[Any], gone: FieldSet, shape: Shape) -> list[Any]:
    assert shape.element is not None
    left = []
    for item in items:
        node = gone.get(shape.identify(item))
        if node is None:
            left.append(item)
        elif not holds(node):
            left.append(remove(item, node, shape.element))
    return left


# --- sets from before a change of the schema ----------------------------------------------------------------------


def reconciled(owned: FieldSet, shape: Shape) -> FieldSet:
    """A set in which what became atomic since it was made is owned as a whole."""
    out = owned
    for step, below in owned.items():
        if not below or step == fieldset.SELF:
            continue
        known = shape.fields.get(step[2:]) if step[0] == "f" else None
        inner = known[1] if known else shape.element
        if inner is None or inner.kind == DEDUCE:
            continue
        node = {} if inner.kind == LEAF else reconciled(below, inner)
        if node is not below:
            if out is owned:
                out = dict(owned)
            out[step] = node
    return out
