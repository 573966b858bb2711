"""``/openapi/v2`` as protobuf: the form (gnostic's ``openapi.v2.Document``) that client-go asks for, and takes nothing else.

A writer of exactly the parts that our document has, by field number; nested messages are built inside out.
"""

from collections.abc import Iterable
from typing import Any

import orjson

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
Object = dict[str, Any]


def encode(document: Object) -> bytes:
    """The bytes of a v2 document."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    paths = b"".join(_field(2, _named(path, _path_item(item))) for path, item in document["paths"].items())
    definitions = b"".join(_field(1, _named(name, _schema(s))) for name, s in document["definitions"].items())
    security = b"".join(
        _field(1, _named(name, _field(2, _api_key(item)))) for name, item in document["securityDefinitions"].items()
    )
    return b"".join(
        (
            _text(1, document["swagger"]),
            _field(2, info),
            _field(8, paths),
            _field(9, definitions),
            _field(13, security),
        )
    )


# --- the wire -----------------------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, value: str | None) -> bytes:
    return _field(number, value.encode()) if value else b""


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_field(number, value.encode()) for value in values)


def _flag(number: int, value: bool | None) -> bytes:
    return _varint(number << 3) + b"\1" if value else b""


def _named(name: str, value: bytes) -> bytes:
    """The pair that stands for one entry of a map."""
    return _text(1, name) + _field(2, value)


def _extensions(number: int, node: Object) -> bytes:
    """Everything that starts with ``x-``, each as YAML (which JSON is)."""
    return b"".join(
        _field(number, _named(name, _field(2, orjson.dumps(value))))
        for name, value in node.items()
        if name.startswith("x-")
    )


# --- the document -------------------------------------------------------------------------------------------------

_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _path_item(item: Object) -> bytes:
    operations = b"".join(_field(n, _operation(item[m])) for m, n in _METHODS.items() if m in item)
    return operations + _parameters(9, item.get("parameters") or ()) + _extensions(10, item)


def _operation(operation: Object) -> bytes:
    responses = b"".join(_field(1, _named(code, _field(1, _response(r)))) for code, r in operation["responses"].items())
    return b"".join(
        (
            _texts(1, operation.get("tags") or ()),
            _text(5, operation.get("operationId")),
            _texts(6, operation.get("produces") or ()),
            _texts(7, operation.get("consumes") or ()),
            _parameters(8, operation.get("parameters") or ()),
            _field(9, responses),
            _extensions(13, operation),
        )
    )


def _response(response: Object) -> bytes:
    schema = response.get("schema")
    shown = _field(2, _field(1, _schema(schema))) if schema else b""
    return _text(1, response.get("description")) + shown


def _parameters(number: int, parameters: Iterable[Object]) -> bytes:
    # ParametersItem.parameter, then Parameter.body_parameter or .non_body_parameter
    return b"".join(_field(number, _field(1, _parameter(p))) for p in parameters)


def _parameter(parameter: Object) -> bytes:
    common = parameter.get("description"), parameter["name"], parameter["in"], parameter.get("required")
    description, name, where, required = common
    if where == "body":
        body = _text(1, description) + _text(2, name) + _text(3, where) + _flag(4, required)
        return _field(1, body + _field(5, _schema(parameter["schema"])))
    head = _flag(1, required) + _text(2, where) + _text(3, description) + _text(4, name)
    unique, kind = parameter.get("uniqueItems"), parameter.get("type")
    if where == "query":
        return _field(2, _field(3, head + _text(6, kind) + _flag(20, unique)))
    return _field(2, _field(4, head + _text(5, kind) + _flag(19, unique)))


def _schema(schema: Object) -> bytes:
    additional, items = schema.get("additionalProperties"), schema.get("items")
    properties = schema.get("properties")
    parts = [
        _text(1, schema.get("$ref")),
        _text(2, schema.get("format")),
        _text(4, schema.get("description")),
        _field(5, _field(2, orjson.dumps(schema["default"]))) if "default" in schema else b"",
        _texts(19, schema.get("required") or ()),
    ]
    if isinstance(additional, dict):
        parts.append(_field(21, _field(1, _schema(additional))))
    if schema.get("type"):
        parts.append(_field(22, _text(1, schema["type"])))
    if items:
        parts.append(_field(23, _field(1, _schema(items))))
    parts += [_field(24, _schema(one)) for one in schema.get("allOf") or ()]
    if properties:
        parts.append(_field(25, b"".join(_field(1, _named(n, _schema(s))) for n, s in properties.items())))
    parts.append(_extensions(31, schema))
    return b"".join(parts)


def _api_key(item: Object) -> bytes:
    return _text(1, item["type"]) + _text(2, item["name"]) + _text(3, item["in"])
