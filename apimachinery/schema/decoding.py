"""Decoding: from whatever JSON a client sent to the object that upstream would hold, or upstream's complaint.

This is what Go's typed decoder followed by its encoder does to an object: wrong types are errors, unknown fields are
reported and dropped, nulls and empty optional values vanish, times and quantities get their canonical form, and a few
structs are written even when empty (``resources: {}``, ``status: {}``), so that clients that compare objects see what
they see against a real API server. One deliberate difference: a list or map that Go would write as ``null`` is written as
``[]`` or ``{}``.

Walking is on the path of every write, so it is in two speeds: one pass that only notices that something is unknown, and
a slow one that says where.
"""

from typing import Any

from apimachinery.schema import formats
from apimachinery.schema.definitions import Field, Schema


class DecodeError(Exception):
    """The value does not fit its type; the text is what upstream's decoder says.

    ``converting`` is what upstream says instead where the object did not come as JSON but out of a strategic merge patch.
    """

    def __init__(self, message: str, converting: str = "") -> None:
        super().__init__(message)
        self.converting = converting or message


class _Mismatch(Exception):
    """A value of the wrong JSON type, on its way up to the root: collects the path that Go would name."""

    def __init__(self, value: str, go: str, kind: str = "string") -> None:
        self.value = value
        self.go = go
        self.kind = kind
        self.struct = ""
        self.path: list[str] = []

    def enter(self, struct: Schema, field: str) -> None:
        if not self.path:
            self.struct = struct.go.rpartition(".")[2]
        self.path.append(field)

    @property
    def converting(self) -> str:
        given = _GO_KINDS.get(self.value, self.value.replace("number", "float64").partition(" ")[0])
        if self.kind == "object":
            return f"cannot restore struct from: {given}"
        if self.kind in ("map", "list"):
            return f"cannot restore {'slice' if self.kind == 'list' else 'map'} from {given}"
        kinds = {"string": "string", "boolean": "bool", "number": "float64"}
        return f"unrecognized type: {kinds.get(self.kind, self.go)}"

    def __str__(self) -> str:
        if not self.path:
            return f"json: cannot unmarshal {self.value} into Go value of type {self.go}"
        where = f"{self.struct}.{'.'.join(reversed(self.path))}"
        return f"json: cannot unmarshal {self.value} into Go struct field {where} of type {self.go}"


_GO_KINDS = {"string": "string", "bool": "bool", "array": "slice", "object": "map", "number": "int64"}


class _Notes:
    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown = False


def decode(schema: Schema, value: Any) -> tuple[Any, list[str]]:
    """The decoded value and the paths of its unknown fields (``spec.containers[0].imagee``).

    Raises DecodeError for a value of the wrong type. The argument is not changed, but parts of it may be shared.
    """
    notes = _Notes()
    try:
        decoded = _decode(schema, value, notes)
    except _Mismatch as e:
        raise DecodeError(str(e), e.converting) from None
    except ValueError as e:
        raise DecodeError(str(e)) from None
    except RecursionError:
        raise DecodeError("exceeded max depth") from None
    return decoded, unknown_fields(schema, value) if notes.unknown else []


def unknown_fields(schema: Schema, value: Any, path: str = "") -> list[str]:
    """The paths of all fields that the schema does not know, in the order of the document."""
    found: list[str] = []
    if schema.kind == "object" and isinstance(value, dict):
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            field = schema.fields.get(name)
            if field is None:
                found.append(where)
            else:
                found += unknown_fields(field.schema, item, where)
    elif schema.kind == "map" and isinstance(value, dict):
        assert schema.element is not None
        for name, item in value.items():
            found += unknown_fields(schema.element, item, f"{path}.{name}" if path else name)
    elif schema.kind == "list" and isinstance(value, list):
        assert schema.element is not None
        for i, item in enumerate(value):
            found += unknown_fields(schema.element, item, f"{path}[{i}]")
    return found


def _decode(schema: Schema, value: Any, notes: _Notes) -> Any:
    return _DECODERS[schema.kind](schema, value, notes)


def _object(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not dict:
        raise _Mismatch(_describe(value), schema.go, schema.kind)
    out: dict[str, Any] = {}
    fields = schema.fields
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            notes.unknown = True
            continue
        if item is None:
            continue
        if type(item) is not field.exact:
            try:
                item = _DECODERS[field.schema.kind](field.schema, item, notes)
            except _Mismatch as mismatch:
                mismatch.enter(schema, name)
                raise
        if item or field.keep:
            out[name] = item
    for field in schema.always:
        if field.name not in out:
            out[field.name] = empty(field)
    return out


def empty(field: Field) -> Any:
    """What is written for a field that is always written and was not given."""
    return _zero(field.schema)


def _zero(schema: Schema) -> Any:
    kind = schema.kind
    if kind == "object":
        return {f.name: _zero(f.schema) for f in schema.always}
    if kind in ("time", "microtime", "any"):
        return None
    return {"string": "", "bytes": "", "integer": 0, "number": 0, "boolean": False, "list": [], "map": {}}.get(
        kind, "0"
    )


def _map(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not dict:
        raise _Mismatch(_describe(value), schema.go, schema.kind)
    element = schema.element
    assert element is not None
    if element.kind == "string" and all(type(v) is str for v in value.values()):
        return value
    decoder = _DECODERS[element.kind]
    return {k: _zero(element) if v is None else decoder(element, v, notes) for k, v in value.items()}


def _list(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not list:
        raise _Mismatch(_describe(value), schema.go or f"[]{_go(schema.element)}", "list")
    element = schema.element
    assert element is not None
    decoder = _DECODERS[element.kind]
    return [_zero(element) if v is None else decoder(element, v, notes) for v in value]


def _go(schema: Schema | None) -> str:
    return schema.go if schema is not None else ""


def _string(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not str:
        raise _Mismatch(_describe(value), schema.go, schema.kind)
    return value


def _boolean(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not bool:
        raise _Mismatch(_describe(value), schema.go, schema.kind)
    return value


def _integer(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not int:
        raise _Mismatch(f"number {value!r}" if type(value) is float else _describe(value), schema.go, schema.kind)
    limit = 1 << (schema.bits - 1)
    if not -limit <= value < limit:
        raise _Mismatch(f"number {value}", schema.go, schema.kind)
    return value


def _number(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not int and type(value) is not float:
        raise _Mismatch(_describe(value), schema.go, schema.kind)
    return value


def _quantity(schema: Schema, value: Any, notes: _Notes) -> Any:
    from apimachinery import quantity

    if type(value) is str:
        return quantity.canonical(value)
    if type(value) in (int, float):
        return quantity.canonical(repr(value))
    raise ValueError(quantity.FORMAT_WRONG)


def _time(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not str:
        raise _Mismatch(_describe(value), "string")
    return formats.canonical_time(value)


def _microtime(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not str:
        raise _Mismatch(_describe(value), "string")
    return formats.canonical_micro_time(value)


def _intstr(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is str:
        return value
    if type(value) is not int:
        raise _Mismatch(f"number {value!r}" if type(value) is float else _describe(value), "int32")
    if not -(1 << 31) <= value < 1 << 31:
        raise _Mismatch(f"number {value}", "int32")
    return value


def _bytes(schema: Schema, value: Any, notes: _Notes) -> Any:
    if type(value) is not str:
        raise _Mismatch(_describe(value), schema.go, schema.kind)
    return formats.canonical_base64(value)


def _any(schema: Schema, value: Any, notes: _Notes) -> Any:
    return value


def _describe(value: Any) -> str:
    """A value's JSON type in Go's words."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"


_DECODERS = {
    "object": _object,
    "map": _map,
    "list": _list,
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "quantity": _quantity,
    "time": _time,
    "microtime": _microtime,
    "intstr": _intstr,
    "bytes": _bytes,
    "any": _any,
}
