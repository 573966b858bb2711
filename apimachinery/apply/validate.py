"""Whether an applied configuration fits the schema, in the words of upstream's structured-merge-diff.

Apply looks at what was sent before any decoding, so unknown fields and wrong types are told here, not by the decoder.
"""

from collections.abc import Iterator
from typing import Any

from apimachinery.apply import element
from apimachinery.apply.element import ElementError, json_text
from apimachinery.apply.shape import DEDUCED, KEYED, SET, Shape, shape_of
from apimachinery.errors import quote
from apimachinery.schema.definitions import Schema

_SCALARS = {"string": str, "bytes": str, "boolean": bool}


class TypedError(ValueError):
    """A configuration that does not fit its type; all that is wrong with it, one per line when there is more."""


def check(obj: dict[str, Any], schema: Schema | None, *, duplicates: bool = False) -> None:
    """Raises TypedError. ``duplicates``: list elements may share an identity, as they may in live objects."""
    if schema is None:
        return
    found = [f"{path}: {why}" if path else why for path, why in _errors(obj, schema, "", duplicates)]
    if found:
        raise TypedError(found[0] if len(found) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in found))


def _errors(value: Any, schema: Schema, path: str, duplicates: bool) -> Iterator[tuple[str, str]]:
    kind = schema.kind
    if value is None or kind == "any":
        return
    if kind in ("object", "map"):
        if isinstance(value, dict):
            yield from _map_errors(value, schema, path, duplicates)
        else:
            yield path, f"expected map, got &{{{go_value(value)}}}"
    elif kind == "list":
        if isinstance(value, list):
            yield from _list_errors(value, schema, path, duplicates)
        else:
            yield path, f"expected list, got &{{{go_value(value)}}}"
    else:
        wrong = _wrong_scalar(value, kind)
        if wrong:
            yield path, wrong


def _wrong_scalar(value: Any, kind: str) -> str:
    if kind in ("integer", "number"):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if fits else f"expected numeric (int or float), got {_go_type(value)}"
    if kind in ("string", "bytes"):
        if isinstance(value, str):
            return ""
        return f"expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}"
    if kind == "boolean":
        return "" if isinstance(value, bool) else f"expected boolean, got &{{{go_value(value)}}}"
    return f"expected any scalar, got &{{{go_value(value)}}}" if isinstance(value, dict | list) else ""


def _map_errors(value: dict[str, Any], schema: Schema, path: str, duplicates: bool) -> Iterator[tuple[str, str]]:
    for name in sorted(value):
        known = schema.fields.get(name)
        below = known.schema if known else schema.element
        if below is not None:
            yield from _errors(value[name], below, f"{path}.{name}", duplicates)
        elif schema.fields:
            yield f"{path}.{name}", "field not declared in schema"
            return


def _list_errors(value: list[Any], schema: Schema, path: str, duplicates: bool) -> Iterator[tuple[str, str]]:
    shape = shape_of(schema) if schema.list_type in ("map", "set") else DEDUCED
    seen: set[str] = set()
    for i, item in enumerate(value):
        where = f"[{i}]"
        if shape.kind in (KEYED, SET):
            step = _identity(item, shape)
            if isinstance(step, ElementError):
                yield path, f"element {i}: {step}"
                return
            where = element.render(step)
            if step in seen and not duplicates:
                yield path, f"duplicate entries for key {where}"
            seen.add(step)
        if schema.element is not None:
            yield from _errors(item, schema.element, path + where, duplicates)


def _identity(item: Any, shape: Shape) -> Any:
    try:
        return shape.identify(item)
    except ElementError as e:
        return e


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "map[string]interface {}"
    return "[]interface {}" if isinstance(value, list) else "string"


def go_value(value: Any) -> str:
    """A value as Go's ``%v`` prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_value(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_value, value)) + "]"
    return value if isinstance(value, str) else json_text(value)


def _go_syntax(value: Any) -> str:
    """A value as Go's ``%#v`` prints it."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, dict):
        inner = ", ".join(f"{quote(k)}:{_go_syntax(value[k])}" for k in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(_go_syntax, value)) + "}"
    return quote(value) if isinstance(value, str) else json_text(value)
