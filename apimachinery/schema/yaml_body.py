"""Request bodies in YAML: text to the value that its JSON would give, noticing fields that are given twice.

YAML can say a great deal in a few bytes: a list of ten aliases of a list of ten aliases ... So the text is looked through
event by event first, which builds nothing, and only what stays within bounds is loaded.
"""

import functools
import math
import re
from typing import Any

import orjson

from apimachinery.schema.decoding import DecodeError
from apimachinery.schema.depth import MAX_DEPTH, TOO_DEEP


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The first document as JSON would give it, and upstream's complaint about keys given twice."""
    import yaml  # most bodies are JSON

    try:
        _look_through(yaml.parse(body, Loader=_loader()))
        loader = _loader()(body)
        try:
            value = loader.get_data() if loader.check_data() else None
        finally:
            loader.dispose()
        value = orjson.loads(orjson.dumps(value))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise _unreadable(_first_line(e)) from None
    except orjson.JSONEncodeError as e:
        raise _unreadable(str(e)) from None
    except (ArithmeticError, AttributeError, LookupError, ValueError):
        # What PyYAML's constructors raise when a tag does not fit its value (``!!bool x``), or Go has no JSON for it (``.inf``).
        raise _unreadable("cannot decode a value as what its tag says") from None
    twice = loader.twice
    return value, ["yaml: unmarshal errors:\n  " + "\n  ".join(twice)] if twice else []


_TAG = "tag:yaml.org,2002:"
#: Plain numbers as upstream's library reads them: ``1e3`` is one, ``12:30`` (to YAML 1.1 a number of base 60) is text.
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)$")
_FLOAT = re.compile(r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")


@functools.cache
def _loader() -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def __init__(self, stream: bytes) -> None:
            super().__init__(stream)
            self.twice: list[str] = []

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            self.flatten_mapping(node)
            mapping: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = _json_key(self.construct_object(key_node, deep=True))
                if key in mapping:
                    self.twice.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
                mapping[key] = self.construct_object(value_node, deep=deep)
            return mapping

        def construct_number(self, node: Any) -> int | float:
            integer = _INTEGER.match(self.construct_scalar(node))
            number: int | float = self.construct_yaml_int(node) if integer else self.construct_yaml_float(node)
            if isinstance(number, int) and -(1 << 63) <= number < 1 << 64:
                return number
            number = float(number)
            if not math.isfinite(number):
                raise ValueError(f"{number} is no JSON")
            return number

    # Upstream reads YAML 1.1 booleans but leaves dates as text; JSON has no dates.
    replaced = (f"{_TAG}timestamp", f"{_TAG}int", f"{_TAG}float")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in replaced]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
    Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))
    for kind in ("int", "float"):
        Loader.add_constructor(_TAG + kind, Loader.construct_number)
    return Loader


def _unreadable(why: str) -> DecodeError:
    return DecodeError(f"error converting YAML to JSON: yaml: {why}")


class _Open:
    """A collection that the events are inside of."""

    __slots__ = ("anchor", "before")

    def __init__(self, anchor: str | None, before: int) -> None:
        self.anchor = anchor
        self.before = before


def _look_through(events: Any) -> None:
    """Raises DecodeError when the first document is nested too deep, or is mostly aliases."""
    import yaml

    inside: list[_Open] = []
    sizes: dict[str, int] = {}
    nodes = aliased = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            if len(inside) >= MAX_DEPTH:
                raise _unreadable(TOO_DEEP)
            inside.append(_Open(event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = inside.pop()
            if closed.anchor:
                sizes[closed.anchor] = nodes - closed.before
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor or "", 1)
            nodes += size
            aliased += size
            if aliased > 100 and nodes > 1000 and aliased / nodes > _tolerated(nodes):
                raise _unreadable("document contains excessive aliasing")
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.DocumentEndEvent):
            return


#: Up to so many nodes nearly all may come from aliases, from so many on a tenth (upstream's YAML library).
_SMALL, _LARGE = 400_000, 4_000_000


def _tolerated(nodes: int) -> float:
    if nodes <= _SMALL:
        return 0.99
    if nodes >= _LARGE:
        return 0.10
    return 0.99 - 0.89 * (nodes - _SMALL) / (_LARGE - _SMALL)


def _json_key(key: Any) -> str:
    if key is True or key is False:
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem.splitlines()[0]
