"""Sets of fields, in the form of ``fieldsV1`` itself.

A set is a trie of steps (``element.py``): ``{"f:spec": {"f:replicas": {}}}`` holds ``.spec.replicas``. Under a step,
``{}`` says that the field is in the set and nothing below it is; children without ``"."`` that only they are; children with
``"."`` that both are. What managedFields stores is thus used as it is, with nothing to decode or encode, and the sets of an
object that did not change are shared with the new one. So sets are never changed in place: every operation returns a new
set that shares its unchanged parts with its arguments. ``{}`` at the root is the empty set.

Steps are in canonical order, ``"."`` first, wherever a set is kept; ``ordered`` makes it so.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from apimachinery.apply import element
from apimachinery.apply.element import ElementError

FieldSet = dict[str, Any]
Path = tuple[str, ...]
SELF = "."


def from_paths(paths: Iterable[Path]) -> FieldSet:
    """The set of these fields; their parents are not in it."""
    out: FieldSet = {}
    for path in paths:
        single: FieldSet = {}
        for step in reversed(path):
            single = {step: single}
        out = union(out, single)
    return out


def fields(*dotted: str) -> FieldSet:
    """A set of plain fields: ``fields("status", "metadata.labels")``."""
    return from_paths(tuple(map(element.field, path.split("."))) for path in dotted)


def paths(fieldset: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """Every field in upstream's order: at each level first what is in the set there, then what lies deeper."""
    for step, below in fieldset.items():
        if step != SELF and (not below or SELF in below):
            yield (*prefix, step)
    for step, below in fieldset.items():
        if below:
            yield from paths(below, (*prefix, step))


def has(fieldset: FieldSet, path: Path) -> bool:
    for step in path[:-1]:
        fieldset = fieldset.get(step) or {}
    below = fieldset.get(path[-1])
    return below is not None and (not below or SELF in below)


def below(fieldset: FieldSet, step: str) -> FieldSet:
    """What the set holds below a step, as a set of its own."""
    found = fieldset.get(step) or {}
    return without_self(found)


def without_self(node: FieldSet) -> FieldSet:
    return {step: sub for step, sub in node.items() if step != SELF} if SELF in node else node


def holds(node: FieldSet) -> bool:
    """Whether a node of the trie says that the field itself is in the set."""
    return not node or SELF in node


def render(path: Path) -> str:
    """``.spec.containers[name="web"].image``"""
    return "".join(map(element.render, path))


def ordered(fieldset: FieldSet) -> FieldSet:
    """The same set in canonical order, all the way down."""
    if not fieldset:
        return fieldset
    return {step: ordered(fieldset[step]) for step in in_order(fieldset)}


def in_order(fieldset: FieldSet) -> list[str]:
    """The steps of a node in canonical order."""
    steps = sorted(fieldset)
    # Of fields alone, plain string order is right; the rest sorts after "f:" but "i:".
    return steps if steps[-1] < "f;" else sorted(steps, key=element.order)


# --- the form that clients send -----------------------------------------------------------------------------------


def decode(value: Any) -> FieldSet:
    """A client's ``fieldsV1`` as a set. Raises ElementError; types of steps that nobody knows yet are dropped."""
    if not isinstance(value, dict):
        raise ElementError(f"expect {{ or n, but found {element.json_text(value)[:1]}")
    out = without_self(_decoded(value))
    return ordered(out)


def _decoded(value: Any) -> FieldSet:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ElementError(f"expect {{ or n, but found {element.json_text(value)[:1]}")
    out: FieldSet = {}
    for step, below in value.items():
        known = SELF if step == SELF else element.canonical(step)
        if known:
            out[known] = {} if known == SELF else _decoded(below)
    return {} if out.keys() == {SELF} else out


# --- operations ---------------------------------------------------------------------------------------------------


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    if not a or not b or a is b:
        return a or b
    return _merged(a, b)


def _merged(a: FieldSet, b: FieldSet) -> FieldSet:
    out, grown = a, False
    for step, theirs in b.items():
        ours = a.get(step)
        if ours is None:
            joined, grown = theirs, True
        else:
            joined = _joined(ours, theirs)
        if joined is not ours:
            if out is a:
                out = dict(a)
            out[step] = joined
    return {step: out[step] for step in in_order(out)} if grown else out


def _joined(ours: FieldSet, theirs: FieldSet) -> FieldSet:
    if not theirs:
        return ours if not ours or SELF in ours else {SELF: {}, **ours}
    if not ours:
        return theirs if SELF in theirs else {SELF: {}, **theirs}
    return _merged(ours, theirs)


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in ``a`` and not in ``b``. Fields below one of ``b`` stay: only what is named is taken away."""
    out = a
    for step, theirs in b.items():
        ours = a.get(step)
        if ours is None:
            continue
        left = None if step == SELF else _reduced(ours, theirs)
        if left is not ours:
            if out is a:
                out = dict(a)
            if left is None:
                del out[step]
            else:
                out[step] = left
    return out


def _reduced(ours: FieldSet, theirs: FieldSet) -> FieldSet | None:
    """A node of a trie less another; None when nothing is left of it."""
    if not ours:
        return None if holds(theirs) else ours
    if not theirs:
        return without_self(ours)
    left = difference(ours, theirs)
    return left if left is ours else _compact(left)


def _compact(node: FieldSet) -> FieldSet | None:
    """The one form of a node: None for nothing, ``{}`` for the field alone."""
    if not node:
        return None
    return {} if len(node) == 1 and SELF in node else node


def covers(a: FieldSet, b: FieldSet) -> bool:
    """Whether all of ``b`` is in ``a``."""
    for step, theirs in b.items():
        ours = a.get(step)
        if ours is None:
            return False
        if not theirs:
            if ours and SELF not in ours and step != SELF:
                return False
        elif not ours or not covers(ours, theirs):
            return False
    return True


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    out: FieldSet = {}
    for step, ours in a.items():
        theirs = b.get(step)
        if theirs is None:
            continue
        both = {} if step == SELF else _shared(ours, theirs)
        if both is not None:
            out[step] = both
    return out


def _shared(ours: FieldSet, theirs: FieldSet) -> FieldSet | None:
    if not ours or not theirs:
        return {} if holds(ours) and holds(theirs) else None
    return _compact(intersection(ours, theirs))


def recursive_difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """``a`` without the fields of ``b`` and all that lies below them."""
    out = a
    for step, theirs in b.items():
        ours = a.get(step)
        if ours is None or step == SELF:
            continue
        if holds(theirs):
            left = None
        elif not ours:
            continue
        else:
            left = _compact(recursive_difference(ours, theirs))
        if left is not ours:
            if out is a:
                out = dict(a)
            if left is None:
                del out[step]
            else:
                out[step] = left
    return out


def matching(a: FieldSet, pattern: FieldSet) -> FieldSet:
    """The fields of ``a`` on the way to and below those of a pattern; in a pattern the step ``"*"`` stands for any."""
    if not pattern:
        return a
    out: FieldSet = {}
    for step, sub in a.items():
        wanted = pattern.get(step, pattern.get("*"))
        if step == SELF:
            out[step] = {}
        elif wanted is not None:
            left = _compact(matching(sub, wanted)) if sub else sub
            if left is not None:
                out[step] = left
    return out


def leaves(fieldset: FieldSet) -> FieldSet:
    """The fields of the set that have none below them."""
    return {step: leaves(sub) for step, sub in fieldset.items() if step != SELF}
