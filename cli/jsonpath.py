"""kubectl's JSONPath templates: ``{.items[*].metadata.name}``, filters, ``{range .items[*]}...{end}``, quoted text.

The dialect is that of k8s.io/client-go/util/jsonpath: text outside braces is literal, several results are joined by
blanks, ``$`` and ``@`` are the root and the current object, ``..`` descends, ``[?(@.a=="b")]`` filters, unions and slices.
"""

import json
import operator
import re
from collections.abc import Callable
from typing import Any

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FILTER = re.compile(r"^(?P<left>.+?)\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<right>.+)$")
_FIELD = re.compile(r"(?:[^\s.,\[\]$@{}\\]|\\.)+")


class JSONPathError(Exception):
    """The template is malformed, or names what is not there."""


class JSONPath:
    """A parsed template. ``render`` gives text, ``values`` the matches of a template with one expression."""

    def __init__(self, template: str) -> None:
        if "{" not in template:
            template = f"{{{template}}}"
        self._pieces = _split(template)

    def values(self, data: Any, *, missing_ok: bool = False) -> list[Any]:
        found: list[Any] = []
        for kind, text in self._pieces:
            if kind == "expression":
                found += _evaluate(text, data, data, missing_ok)
        return found

    def render(self, data: Any) -> str:
        output, rest = self._render(0, data, data)
        if rest != len(self._pieces):
            raise JSONPathError("not in range, nothing to end")
        return output

    def _render(self, position: int, root: Any, current: Any) -> tuple[str, int]:
        parts: list[str] = []
        while position < len(self._pieces):
            kind, text = self._pieces[position]
            if kind == "end":
                return "".join(parts), position
            position += 1
            if kind == "text":
                parts.append(text)
            elif kind == "expression":
                parts.append(" ".join(map(show, _evaluate(text, root, current, False))))
            else:
                items = _evaluate(text, root, current, False)
                end = self._matching_end(position)
                for item in items:
                    parts.append(self._render(position, root, item)[0])
                position = end + 1
        return "".join(parts), position

    def _matching_end(self, position: int) -> int:
        depth = 0
        for index in range(position, len(self._pieces)):
            kind = self._pieces[index][0]
            if kind == "end":
                if depth == 0:
                    return index
                depth -= 1
            elif kind == "range":
                depth += 1
        raise JSONPathError("range without end")


def show(value: Any) -> str:
    """Strings bare, everything else as compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _split(template: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    position = 0
    while position < len(template):
        opening = template.find("{", position)
        if opening < 0:
            pieces.append(("text", template[position:]))
            break
        if opening > position:
            pieces.append(("text", template[position:opening]))
        closing = _closing(template, opening + 1)
        inner = template[opening + 1 : closing].strip()
        if inner == "end":
            pieces.append(("end", ""))
        elif re.match(r"range\b", inner):
            pieces.append(("range", inner[5:].strip()))
        elif inner[:1] in "\"'" and inner[:1]:
            pieces.append(("text", _unquote(inner)))
        else:
            pieces.append(("expression", inner))
        position = closing + 1
    return pieces


def _closing(template: str, position: int) -> int:
    quote = ""
    while position < len(template):
        char = template[position]
        if char == "\\":
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "}":
            return position
        position += 1
    raise JSONPathError("unclosed action")


def _unquote(text: str) -> str:
    if len(text) < 2 or text[-1] != text[0]:
        raise JSONPathError(f"unterminated quoted string {text}")
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])


def _evaluate(path: str, root: Any, current: Any, missing_ok: bool) -> list[Any]:
    position = 0
    if path[:1] == "$":
        found, position = [root], 1
    else:
        found, position = [current], 1 if path[:1] == "@" else 0
    while position < len(path):
        char = path[position]
        if path.startswith("..", position):
            found = [below for value in found for below in _descend(value)]
            position += 2
            if position < len(path) and path[position] not in ".[":
                name, position = _field(path, position)
                found = [value[name] for value in found if isinstance(value, dict) and name in value]
        elif char == ".":
            position += 1
            if position == len(path):
                break
            if path[position] == "[":
                continue
            if path[position] == "*":
                found = [below for value in found for below in _children(value)]
                position += 1
                continue
            name, position = _field(path, position)
            found = _step(found, name, missing_ok)
        elif char == "[":
            closing = _bracket(path, position)
            found = _subscript(path[position + 1 : closing].strip(), found, root, missing_ok)
            position = closing + 1
        elif position == 0:
            name, position = _field(path, position)
            found = _step(found, name, missing_ok)
        else:
            raise JSONPathError(f"unrecognized character in action: {char!r}")
    return found


def _field(path: str, position: int) -> tuple[str, int]:
    match = _FIELD.match(path, position)
    if not match:
        raise JSONPathError(f"unrecognized character in action: {path[position]!r}")
    return re.sub(r"\\(.)", r"\1", match[0]), match.end()


def _step(found: list[Any], name: str, missing_ok: bool) -> list[Any]:
    taken = []
    for value in found:
        if isinstance(value, dict) and name in value:
            taken.append(value[name])
        elif not missing_ok:
            raise JSONPathError(f"{name} is not found")
    return taken


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _descend(value: Any) -> list[Any]:
    return [value] + [below for child in _children(value) for below in _descend(child)]


def _bracket(path: str, opening: int) -> int:
    depth, quote = 0, ""
    for index in range(opening, len(path)):
        char = path[index]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return index
    raise JSONPathError("unterminated array")


def _subscript(inner: str, found: list[Any], root: Any, missing_ok: bool) -> list[Any]:
    if inner == "*":
        return [below for value in found for below in _children(value)]
    if inner.startswith("?(") and inner.endswith(")"):
        return [i for value in found for i in _children(value) if _passes(inner[2:-1].strip(), i, root)]
    taken: list[Any] = []
    for part in (p.strip() for p in inner.split(",")):
        if part[:1] in "\"'" and part[:1]:
            taken += _step(found, _unquote(part), missing_ok)
        elif ":" in part:
            bounds = [int(b) if b.strip() else None for b in part.split(":")]
            for value in found:
                taken += value[slice(*bounds)] if isinstance(value, list) else []
        else:
            taken += _element(found, part, missing_ok)
    return taken


def _element(found: list[Any], part: str, missing_ok: bool) -> list[Any]:
    try:
        index = int(part)
    except ValueError:
        raise JSONPathError(f"invalid array index {part}") from None
    taken = []
    for value in found:
        if isinstance(value, list) and -len(value) <= index < len(value):
            taken.append(value[index])
        elif not missing_ok:
            length = len(value) if isinstance(value, list) else 0
            raise JSONPathError(f"array index out of bounds: index {index}, length {length}")
    return taken


def _passes(condition: str, item: Any, root: Any) -> bool:
    match = _FILTER.match(condition)
    if not match:
        return bool(_evaluate(condition, root, item, True))
    left, right = _operand(match["left"].strip(), item, root), _operand(match["right"].strip(), item, root)
    if len(left) != 1 or len(right) != 1:
        return False
    try:
        return _OPERATORS[match["op"]](left[0], right[0])
    except TypeError:
        return False


def _operand(text: str, item: Any, root: Any) -> list[Any]:
    if text[:1] in "\"'":
        return [_unquote(text)]
    if text[:1] in "@$.":
        return _evaluate(text, root, item, True)
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        raise JSONPathError(f"unrecognized operand {text}") from None
