"""Selectors: which labels or fields an object must have.

``parse_labels`` reads the query string form (``app=web,tier in (a,b),!legacy``), ``from_label_selector`` the object form
(``matchLabels``/``matchExpressions``) and ``parse_fields`` field selectors. All give something with ``matches``, cheap enough
to be asked for every object of a list. Syntax errors are ``SelectorError`` with upstream's text.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from apimachinery import names
from apimachinery.errors import FieldError, aggregate, forbidden_field, invalid_value, quote, required

IN, NOT_IN, EXISTS, NOT_EXISTS, EQUALS, NOT_EQUALS, GREATER, LESS = "in", "notin", "exists", "!", "=", "!=", "gt", "lt"


class SelectorError(ValueError):
    """A selector that cannot be read."""


class Requirement(NamedTuple):
    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator in (EQUALS, IN):
            return value is not None and value in self.values
        if operator in (NOT_EQUALS, NOT_IN):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == NOT_EXISTS:
            return value is None
        return value is not None and _compares(value, operator, self.values[0])

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == NOT_EXISTS:
            return f"!{self.key}"
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        symbol = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{symbol}{self.values[0]}"


_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def _compares(value: str, operator: str, limit: str) -> bool:
    if not _INTEGER.fullmatch(value) or not _INTEGER.fullmatch(limit):
        return False
    return int(value) > int(limit) if operator == GREATER else int(value) < int(limit)


class Selector:
    """All requirements must hold; none at all match everything."""

    __slots__ = ("requirements",)

    def __init__(self, requirements: tuple[Requirement, ...] = ()) -> None:
        self.requirements = requirements

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(r.matches(labels) for r in self.requirements)

    @property
    def empty(self) -> bool:
        return not self.requirements

    def exact_match(self, key: str) -> str | None:
        """The one value that ``key`` must have, where the selector says so: lets a reader go by an index."""
        for r in self.requirements:
            if r.key == key and r.operator in (EQUALS, IN) and len(r.values) == 1:
                return r.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and type(other) is type(self) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)


class _Nothing(Selector):
    __slots__ = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return False

    @property
    def empty(self) -> bool:
        return False


EVERYTHING = Selector()
NOTHING: Selector = _Nothing()

# --- label selectors as text ------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!<>(),]|[^ \t\r\n=!<>(),]+|$)")
_BINARY = {"in": IN, "notin": NOT_IN, "=": EQUALS, "==": EQUALS, "!=": NOT_EQUALS, ">": GREATER, "<": LESS}
_SPECIAL = frozenset(("==", "!=", "=", "!", "<", ">", "(", ")", ",", ""))


def parse_labels(text: str) -> Selector:
    """A label selector as it stands in a query."""
    if not text:
        return EVERYTHING
    requirements = sorted(_LabelParser(text).parse(), key=lambda r: r.key)
    return Selector(tuple(requirements))


class _LabelParser:
    """Upstream's grammar, token by token; "" is the end of the text."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position]

    def take(self) -> str:
        token = self.tokens[self.position]
        # The end can be taken any number of times.
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def parse(self) -> Iterator[Requirement]:
        while self.peek():
            if self.peek() in _SPECIAL and self.peek() != "!":
                raise SelectorError(f"found '{self.peek()}', expected: !, identifier, or 'end of string'")
            try:
                yield self.requirement()
            except SelectorError as e:
                raise SelectorError(f"unable to parse requirement: {e}") from None
            token = self.take()
            if not token:
                return
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            if self.peek() in _SPECIAL and self.peek() != "!":
                raise SelectorError(f"found '{self.peek()}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        negated = self.peek() == "!"
        if negated:
            self.take()
        key = self.take()
        if key in _SPECIAL:
            raise SelectorError(f"found '{key}', expected: identifier")
        if problems := names.qualified_name(key):
            raise SelectorError(str(invalid_value("<nil>", key, "; ".join(problems))))
        if negated:
            return Requirement(key, NOT_EXISTS)
        if self.peek() in ("", ","):
            return Requirement(key, EXISTS)
        token = self.take()
        if token not in _BINARY:
            raise SelectorError(f"found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        operator = _BINARY[token]
        values = self.value_set() if operator in (IN, NOT_IN) else (self.exact_value(),)
        return _checked(key, operator, values)

    def value_set(self) -> tuple[str, ...]:
        if self.peek() != "(":
            raise SelectorError(f"found '{self.take()}' expected: '('")
        self.take()
        values: list[str] = []
        expect_value = True
        while True:
            token = self.take()
            if token == ")" or token == ",":
                if expect_value:
                    values.append("")
                if token == ")":
                    return tuple(sorted(set(values)))
                expect_value = True
            elif token in _SPECIAL:
                raise SelectorError(f"found '{token}', expected: ',', or identifier")
            elif not expect_value:
                raise SelectorError(f"found '{token}', expected: ',' or ')'")
            else:
                values.append(token)
                expect_value = False

    def exact_value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        token = self.take()
        if token in _SPECIAL:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match, "every character belongs to a token"
        if match[1]:
            found.append(match[1])
        position = match.end()
    return [*found, ""]


def _checked(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    """Upstream's rules for a requirement, however it was written."""
    problems: list[str] = []
    if operator in (IN, NOT_IN) and not values:
        problems.append(
            str(invalid_value("values", list(values), "for 'in', 'notin' operators, values set can't be empty"))
        )
    for i, value in enumerate(values):
        if operator in (GREATER, LESS) and not _INTEGER.fullmatch(value):
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            problems.append(str(invalid_value(f"values[{i}]", value, detail)))
        if wrong := names.label_value(value):
            problems.append(str(invalid_value(f"values[{i}][{key}]", value, "; ".join(wrong))))
    if problems:
        raise SelectorError(aggregate(problems))
    return Requirement(key, operator, values)


# --- label selectors as objects ---------------------------------------------------------------------------------

_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": NOT_EXISTS, "Gt": GREATER, "Lt": LESS}


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """``metav1.LabelSelector``: None selects nothing, an empty one everything."""
    if selector is None:
        return NOTHING
    found = [Requirement(k, EQUALS, (v,)) for k, v in (selector.get("matchLabels") or {}).items()]
    found += map(from_expression, selector.get("matchExpressions") or ())
    return Selector(tuple(sorted(found, key=lambda r: r.key)))


def from_expression(expression: Mapping[str, Any]) -> Requirement:
    """One of ``matchExpressions``, of a label selector or a node selector (which also knows Gt and Lt)."""
    operator = _OPERATORS.get(expression.get("operator", ""))
    if operator is None:
        raise SelectorError(f"{quote(expression.get('operator', ''))} is not a valid label selector operator")
    return Requirement(expression["key"], operator, tuple(expression.get("values") or ()))


def from_set(labels: Mapping[str, str]) -> Selector:
    """The old map form (Services, ReplicationControllers): every label must match."""
    return Selector(tuple(Requirement(k, EQUALS, (labels[k],)) for k in sorted(labels)))


def validate_label_selector(selector: Mapping[str, Any] | None, path: str) -> list[FieldError]:
    """Everything wrong with a ``LabelSelector`` in an object."""
    if selector is None:
        return []
    found: list[FieldError] = []
    for key, value in (selector.get("matchLabels") or {}).items():
        found += [invalid_value(f"{path}.matchLabels", key, p) for p in names.qualified_name(key)]
        found += [invalid_value(f"{path}.matchLabels", value, p) for p in names.label_value(value)]
    for i, expression in enumerate(selector.get("matchExpressions") or ()):
        found += _validate_expression(expression, f"{path}.matchExpressions[{i}]")
    return found


def _validate_expression(expression: Mapping[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    operator, values, key = expression.get("operator", ""), expression.get("values") or (), expression.get("key", "")
    if operator in ("In", "NotIn"):
        if not values:
            found.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(forbidden_field(f"{path}.values", detail))
    else:
        found.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    found += [invalid_value(f"{path}.key", key, p) for p in names.qualified_name(key)]
    for i, value in enumerate(values):
        found += [invalid_value(f"{path}.values[{i}]", value, p) for p in names.label_value(value)]
    return found


# --- field selectors --------------------------------------------------------------------------------------------


class FieldTerm(NamedTuple):
    field: str
    equal: bool
    value: str


class FieldSelector:
    """Terms on the few fields that a kind lets one select by."""

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[FieldTerm, ...] = ()) -> None:
        self.terms = terms

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(t.field, "") == t.value) is t.equal for t in self.terms)

    @property
    def empty(self) -> bool:
        return not self.terms

    def exact_match(self, field: str) -> str | None:
        return next((t.value for t in self.terms if t.field == field and t.equal), None)

    def transform(self, rename: Callable[[str], str]) -> "FieldSelector":
        """The selector with each field renamed; ``rename`` raises for a field that is not supported."""
        return FieldSelector(tuple(FieldTerm(rename(t.field), t.equal, t.value) for t in self.terms))

    def __str__(self) -> str:
        return ",".join(f"{t.field}{'=' if t.equal else '!='}{_escape(t.value)}" for t in self.terms)


EVERY_FIELD = FieldSelector()
_FIELD_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)


def parse_fields(text: str) -> FieldSelector:
    """A field selector as it stands in a query: ``status.phase!=Running,spec.nodeName=n1``."""
    if not text:
        return EVERY_FIELD
    terms = []
    for part in sorted(_split_fields(text)):
        if not part:
            continue
        match = _FIELD_TERM.fullmatch(part)
        if not match:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append(FieldTerm(match[1], match[2] != "!=", _unescape(match[3])))
    return FieldSelector(tuple(terms))


def _split_fields(text: str) -> list[str]:
    parts, start, escaped = [], 0, False
    for i, c in enumerate(text):
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = True
        elif c == ",":
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _unescape(text: str) -> str:
    out, escaped = [], False
    for c in text:
        if escaped:
            if c not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{c}")
            out.append(c)
            escaped = False
        elif c == "\\":
            escaped = True
        elif c in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(c)}")
        else:
            out.append(c)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
