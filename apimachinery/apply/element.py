"""A step of a field path, in the form in which ``fieldsV1`` writes it.

``f:name`` is a field of a struct or an entry of a map, ``k:{"name":"web"}`` the element of a list with these keys,
``v:"x"`` a member of a set and ``i:3`` a position. Field sets keep steps in this form (see ``fieldset.py``), so one step must
have one spelling: keys sorted, JSON without blanks and escaped as Go does. ``canonical`` brings what a client wrote into it.
"""

from functools import lru_cache
from typing import Any

import orjson

from apimachinery.errors import quote

_GO_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


class ElementError(ValueError):
    """A step that cannot be read, or a list element that has no identity."""


def json_text(value: Any) -> str:
    """Compact JSON as Go's encoder writes it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        value = int(value)
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    if not text.isalnum():
        for character, escape in _GO_ESCAPES:
            if character in text:
                text = text.replace(character, escape)
    return text


@lru_cache(maxsize=4096)
def string_text(value: str) -> str:
    """``json_text`` of a string."""
    return json_text(value)


def field(name: str) -> str:
    return "f:" + name


def member(value: Any) -> str:
    """A member of a set; only scalars can be one."""
    if type(value) is str:
        return "v:" + string_text(value)
    if isinstance(value, dict):
        raise ElementError("associative list without keys has an element that's a map type")
    if isinstance(value, list):
        raise ElementError("not supported: associative list with lists as elements")
    if value is None:
        raise ElementError("associative list without keys has an element that's an explicit null")
    return "v:" + json_text(value)


def keyed(pairs: list[tuple[str, Any]]) -> str:
    """An element of a keyed list. ``pairs`` of key and value, sorted by key."""
    parts = [f"{string_text(k)}:{string_text(v) if type(v) is str else json_text(v)}" for k, v in pairs]
    return "k:{" + ",".join(parts) + "}"


@lru_cache(maxsize=4096)
def canonical(step: str) -> str:
    """The one spelling of a step; "" for a type of step that nobody knows yet. Raises ElementError."""
    if len(step) < 2:
        raise ElementError("key must be 2 characters long:")
    if step[1] != ":":
        raise ElementError(f"missing colon: {step}")
    rest = step[2:]
    if step[0] == "f":
        return step
    if step[0] == "v":
        return "v:" + json_text(_parse(rest))
    if step[0] == "k":
        keys = _parse(rest)
        if not isinstance(keys, dict):
            raise ElementError(f"expect an object of keys: {rest}")
        return keyed(sorted(keys.items()))
    if step[0] == "i":
        return f"i:{_position(rest)}"
    return ""


def _parse(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise ElementError(f"{text}: {e}") from None


def _position(text: str) -> int:
    digits = text.lstrip("+-")
    if not (digits.isascii() and digits.isdigit() and len(text) - len(digits) <= 1):
        raise ElementError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    return int(text)


@lru_cache(maxsize=4096)
def order(step: str) -> tuple[Any, ...]:
    """Sorts steps as upstream does: fields by name, keys, values, positions."""
    rest = step[2:]
    if step[0] == "f":
        return (0, rest)
    if step[0] == "k":
        return (1, tuple((name, _value_order(value)) for name, value in orjson.loads(rest).items()))
    if step[0] == "v":
        return (2, _value_order(orjson.loads(rest)))
    return (3, int(rest)) if step[0] == "i" else (-1,)


def _value_order(value: Any) -> tuple[Any, ...]:
    """Numbers, strings, booleans, lists, maps, null."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    if isinstance(value, list):
        return (3, tuple(map(_value_order, value)))
    if isinstance(value, dict):
        return (4, tuple((k, _value_order(value[k])) for k in sorted(value)))
    return (5,)


def render(step: str) -> str:
    """A step as error messages show it: ``.spec``, ``[name="web"]``, ``[="x"]``, ``[3]``."""
    rest = step[2:]
    if step[0] == "f":
        return "." + rest
    if step[0] == "k":
        return "[" + ",".join(f"{name}={_shown(value)}" for name, value in orjson.loads(rest).items()) + "]"
    if step[0] == "v":
        return f"[={_shown(orjson.loads(rest))}]"
    return f"[{rest}]"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return "".join(f"{k}={_shown(v)}" for k, v in value.items())
    return json_text(value)
