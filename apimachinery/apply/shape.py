"""What the schema says about ownership: which values are owned as a whole, and what identifies the elements of a list.

A ``Shape`` is compiled from a ``Schema`` node on first use. Objects of a kind without a schema have the shape ``DEDUCED``:
maps are granular, lists and scalars are leaves. The defaults of list keys are upstream's (a port without a protocol is the TCP
port), which the schema data does not carry.
"""

from typing import Any

from apimachinery.apply import element
from apimachinery.apply.element import ElementError
from apimachinery.errors import quote
from apimachinery.schema.definitions import Schema

LEAF, STRUCT, MAP, KEYED, SET, DEDUCE = range(6)

# Key fields that may be left out and then have a value; "" and 0 where a key is required.
_KEY_DEFAULTS = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}
# A field that is granular though its type is atomic.
_GRANULAR = {("io.k8s.api.core.v1.PersistentVolumeSpec", "claimRef")}
# Free-form values that are owned as a whole.
_ATOMIC = {("io.k8s.api.apps.v1.ControllerRevision", "data")}


class Shape:
    """``kind`` is LEAF, STRUCT, MAP, KEYED, SET or DEDUCE (whatever the value is).

    ``fields`` of a struct: name -> (step, shape); ``element`` of a map or list. ``schema`` is kept for validation.
    """

    __slots__ = ("element", "fields", "keys", "kind", "schema", "single")

    def __init__(self, kind: int, schema: Schema | None = None) -> None:
        self.kind = kind
        self.schema = schema
        self.fields: dict[str, tuple[str, Shape]] = {}
        self.element: Shape | None = None
        self.keys: tuple[tuple[str, Any], ...] = ()
        """Key names, sorted, with their defaults; None for no default."""
        self.single = ""
        """The step's text up to the value, for lists with one key."""

    def __repr__(self) -> str:
        kind = ("leaf", "struct", "map", "keyed list", "set", "deduced")[self.kind]
        return f"<Shape {kind} {self.schema!r}>"

    def child(self, name: str) -> tuple[str, "Shape"]:
        """Step and shape of a struct's field or a map's entry."""
        known = self.fields.get(name)
        return known if known is not None else (element.field(name), self.element or DEDUCED)

    def identify(self, item: Any) -> str:
        """The step of a list's element. Raises ElementError for one without an identity."""
        if self.kind == SET:
            return element.member(item)
        if not isinstance(item, dict):
            what = "a null element" if item is None else "non-map elements"
            raise ElementError(f"associative list with keys may not have {what}")
        if self.single:
            value = item.get(self.keys[0][0])
            if type(value) is str:
                return self.single + element.string_text(value) + "}"
        pairs = []
        for name, default in self.keys:
            if name in item:
                pairs.append((name, item[name]))
            elif default is not None:
                pairs.append((name, default))
        if not pairs:
            names = " ".join(quote(name) for name in self._declared_keys())
            raise ElementError(
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)"
            )
        return element.keyed(pairs)

    def _declared_keys(self) -> tuple[str, ...]:
        return self.schema.list_keys if self.schema is not None else tuple(name for name, _ in self.keys)


DEDUCED = Shape(DEDUCE)
DEDUCED.element = DEDUCED
_WHOLE = Shape(LEAF)

_named: dict[str, Shape] = {}


def shape_of(schema: Schema | None) -> Shape:
    """The shape of a schema's values. Those of definitions are kept; only they can refer to themselves."""
    if schema is None:
        return DEDUCED
    shape = _named.get(schema.name) if schema.name else None
    if shape is None:
        shape = Shape(_kind(schema), schema)
        if schema.name:
            _named[schema.name] = shape
        _fill(shape, schema)
    return shape


def _kind(schema: Schema) -> int:
    if schema.kind == "any":
        return LEAF if schema.atomic else DEDUCE
    if schema.atomic or schema.kind not in ("object", "map", "list"):
        return LEAF
    if schema.kind == "list":
        return {"map": KEYED, "set": SET}.get(schema.list_type, LEAF)
    # A type without fields is free-form.
    return STRUCT if schema.fields else MAP


def _fill(shape: Shape, schema: Schema) -> None:
    if shape.kind == STRUCT:
        shape.fields = {name: (element.field(name), _field(schema, name)) for name in schema.fields}
    elif shape.kind in (MAP, KEYED, SET):
        shape.element = shape_of(schema.element)
    elif shape.kind == DEDUCE:
        shape.element = DEDUCED
    if shape.kind == KEYED:
        shape.keys = tuple((key, _key_default(schema.element, key)) for key in sorted(schema.list_keys))
        if len(shape.keys) == 1:
            shape.single = f"k:{{{element.json_text(shape.keys[0][0])}:"


def _field(schema: Schema, name: str) -> Shape:
    below = schema.fields[name].schema
    if (schema.name, name) in _ATOMIC:
        return _WHOLE
    if (schema.name, name) in _GRANULAR:
        granular = Shape(STRUCT, below)
        _fill(granular, below)
        return granular
    return shape_of(below)


def _key_default(schema: Schema | None, key: str) -> Any:
    if schema is None or key not in schema.fields:
        return None
    default: Any = _KEY_DEFAULTS.get((schema.name, key))
    if default is None and schema.fields[key].required:
        default = {"string": "", "integer": 0}.get(schema.fields[key].schema.kind)
    return default
