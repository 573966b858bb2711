"""Random objects that fit a schema: what a client could send without being told of a wrong type."""

from typing import Any

from hypothesis import strategies as st

from apimachinery.schema import Schema
from apimachinery.schema.definitions import Field

_WORDS = st.sampled_from(
    [
        "",
        "a",
        "web",
        "Always",
        "None",
        "TCP",
        "10.0.0.1",
        "Bad_Name",
        "a.b/c",
        "In",
        "80%",
        "x" * 70,
        "RollingUpdate",
        "ü",
        "/etc",
    ]
)
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": _WORDS,
    "integer": st.integers(-2, 70000),
    "number": st.floats(0, 1),
    "boolean": st.booleans(),
    "quantity": st.sampled_from(["0", "1", "500m", "1Gi", "-1", "1.5", "3u"]),
    "time": st.just("2024-01-01T00:00:00Z"),
    "microtime": st.just("2024-01-01T00:00:00.000000Z"),
    "intstr": st.one_of(st.integers(-1, 70000), _WORDS),
    "bytes": st.sampled_from(["", "YWJj", "e30="]),
    "any": st.sampled_from([{}, {"a": 1}, "x"]),
}


def values(schema: Schema, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type; ``depth`` bounds how many objects lie inside each other."""
    if schema.kind in _SCALARS:
        return _SCALARS[schema.kind]
    if schema.kind == "object":
        return objects(schema, depth - 1)
    assert schema.element is not None
    if depth <= 0:
        return st.just([]) if schema.kind == "list" else st.just({})
    inner = values(schema.element, depth)
    if schema.kind == "map":
        return st.dictionaries(st.sampled_from(["a", "b", "cpu", "memory", "x/y", "Bad Key"]), inner, max_size=2)
    return st.lists(inner, max_size=2)


def objects(schema: Schema, depth: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with a few of their fields."""
    if depth <= 0 or not schema.fields:
        return st.just({})
    names = sorted(schema.fields)

    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        chosen = draw(st.lists(st.sampled_from(names), max_size=5, unique=True))
        wanted = [n for n in names if schema.fields[n].required and draw(st.booleans())]
        return {n: draw(values(schema.fields[n].schema, depth)) for n in dict.fromkeys([*wanted, *chosen])}

    return build()


def mergeable(schema: Schema, depth: int = 5) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose merged lists have every key once, as valid objects have: the ones that patches are about."""
    return objects(schema, depth).map(lambda o: _with_unique_keys(o, schema))


def _with_unique_keys(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    return {name: _field(schema.fields[name], item) for name, item in value.items()}


def _field(field: Field, item: Any) -> Any:
    schema = field.schema
    if schema.kind == "object":
        return _with_unique_keys(item, schema)
    if schema.kind == "map" and schema.element is not None and schema.element.kind == "object":
        return {k: _with_unique_keys(v, schema.element) for k, v in item.items()}
    if schema.kind != "list" or schema.element is None:
        return item
    if schema.element.kind != "object":
        return list(dict.fromkeys(item)) if "merge" in field.patch_strategies else item
    elements = [_with_unique_keys(v, schema.element) for v in item]
    if "merge" not in field.patch_strategies or not field.merge_key:
        return elements
    by_key = {repr(e[field.merge_key]): e for e in elements if field.merge_key in e}
    return list(by_key.values())
