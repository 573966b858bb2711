"""Strategic merge patch: a merge patch that knows lists.

Which lists merge, and by which key of their elements, is in the schema (``patchStrategy``, ``patchMergeKey``). Directives inside
the patch say the rest: ``$patch: delete|replace``, ``$retainKeys``, ``$setElementOrder/FIELD`` and
``$deleteFromPrimitiveList/FIELD``. Order matters to people who read lists, so a merged list keeps the patch's order for what
the patch names and the live order for the rest (upstream's ``apimachinery/pkg/util/strategicpatch``).
"""

from typing import Any

import orjson

from apimachinery.patch import Json, PatchError
from apimachinery.schema.definitions import Field, Schema

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder"
_DELETE = "$deleteFromPrimitiveList"
_DIRECTIVES = (_RETAIN, _ORDER, _DELETE)

_BAD_PRIMITIVE_LIST = "invalid patch format of primitive list"
_BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"

_FREE = Schema("any")
"""What lies below a field that the schema does not describe: plain merging, lists replaced."""


def apply(original: dict[str, Json], patch: Json, schema: Schema) -> dict[str, Json]:
    """The patched object. Neither argument is changed."""
    if not isinstance(patch, dict):
        raise PatchError("json: cannot unmarshal value into Go value of type map[string]interface {}")
    return _merge_map(_copy(original), _copy(patch), schema)


def _copy(value: dict[str, Json]) -> dict[str, Json]:
    """Through JSON text, which is several times faster than ``deepcopy``."""
    copied: dict[str, Json] = orjson.loads(orjson.dumps(value))
    return copied


def field_of(schema: Schema, name: str) -> Field | None:
    return schema.fields.get(name) if schema.kind == "object" else None


def below(schema: Schema, field: Field | None) -> Schema:
    """The schema of a field's value; a map's values all have one schema."""
    if field is not None:
        return field.schema
    return schema.element if schema.kind == "map" and schema.element is not None else _FREE


def strategy_of(field: Field | None) -> str:
    """merge, replace or "" of a field (``retainKeys`` is for those who compute patches)."""
    if field is None:
        return ""
    return next((s for s in field.patch_strategies if s != "retainKeys"), "")


def element_schema(schema: Schema) -> Schema:
    return schema.element if schema.kind == "list" and schema.element is not None else _FREE


def _merge_map(original: dict[str, Json], patch: dict[str, Json], schema: Schema) -> dict[str, Json]:
    if _DIRECTIVE in patch:
        return _replace_or_delete(patch)
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, schema)
    for key, value in patch.items():
        deleting = key.startswith(_DELETE)
        name = _directed_field(key, _DELETE, _BAD_PRIMITIVE_LIST) if deleting else key
        if value is None:
            original.pop(name, None)
        elif name not in original or type(original[name]) is not type(value):
            if not deleting:
                _set_clean(original, name, value)
        elif isinstance(value, dict):
            field = field_of(schema, name)
            if strategy_of(field) == "replace":
                original[name] = value
            else:
                original[name] = _merge_map(original[name], value, below(schema, field))
        elif isinstance(value, list):
            original[name] = _merge_list(original[name], value, schema, name, deleting)
        else:
            original[name] = value
    return original


def _replace_or_delete(patch: dict[str, Json]) -> dict[str, Json]:
    directive = patch[_DIRECTIVE]
    if directive == "replace":
        return {k: v for k, v in patch.items() if k != _DIRECTIVE}
    if directive == "delete":
        return {}
    raise _bad_directive(directive, patch)


def _bad_directive(directive: Json, patch: dict[str, Json]) -> PatchError:
    return PatchError(f"unknown patch type: {directive} in map: {go_map(patch)}")


def _set_clean(original: dict[str, Json], name: str, value: Json) -> None:
    """A value that has nothing to merge with: nulls and directives in it have done their work."""
    cleaned, keep = _without_directives(value)
    if keep:
        original[name] = cleaned
    else:
        original.pop(name, None)


def _without_directives(value: Json) -> tuple[Json, bool]:
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return None, False
        fields = ((k, v) for k, v in value.items() if v is not None and not k.startswith(_DIRECTIVES))
        pairs = ((k, _without_directives(v)) for k, v in fields)
        return {k: v for k, (v, keep) in pairs if keep}, True
    if isinstance(value, list):
        return [v for v, keep in map(_without_directives, value) if keep], True
    return value, True


def _retain_keys(original: dict[str, Json], patch: dict[str, Json]) -> None:
    """``$retainKeys`` lists all keys that may stay: how a union changes its member (``strategy``, volumes)."""
    if _RETAIN not in patch:
        return
    retained = patch.pop(_RETAIN)
    if not isinstance(retained, list) or not all(isinstance(k, str) for k in retained):
        raise PatchError(_BAD_RETAIN_KEYS)
    for key, value in patch.items():
        if value is not None and not key.startswith((_DELETE, _ORDER)) and key not in retained:
            raise PatchError(_BAD_RETAIN_KEYS)
    for key in [k for k in original if k not in retained]:
        del original[key]


def _directed_field(key: str, directive: str, complaint: str) -> str:
    prefix, _, name = key.partition("/")
    if prefix != directive or not name:
        raise PatchError(complaint)
    return name


# --- lists ------------------------------------------------------------------------------------------------------


def _merge_list(live: list[Json], patch: list[Json], schema: Schema, name: str, deleting: bool) -> list[Json]:
    field = field_of(schema, name)
    if strategy_of(field) != "merge" and not deleting:
        return patch
    if not live and not patch:
        return live
    if not _holds_maps(live, patch):
        if deleting:
            return [v for v in live if v not in patch]
        merged = _distinct(live + patch)
        return _ordered(merged, patch, live, "")
    key = field.merge_key if field else ""
    if not key:
        raise PatchError(f"cannot merge lists without merge key for {schema.go}")
    merged, plain, server_order = _merge_elements(live, patch, key, element_schema(below(schema, field)))
    return _ordered(merged, plain, server_order, key)


def _holds_maps(*lists: list[Json]) -> bool:
    """Whether the elements are maps; a mixture, or a list of lists, cannot be merged."""
    kinds = {type(v) for values in lists for v in values}
    if list in kinds:
        raise PatchError("lists of lists are not supported", code=422)
    if dict in kinds and len(kinds) > 1:
        raise PatchError("list element types are not identical")
    return dict in kinds


def _merge_elements(
    live: list[Json], patch: list[Json], key: str, schema: Schema
) -> tuple[list[Json], list[Json], list[Json]]:
    """The merged elements, the patch without its directives, and the live elements that were left to merge with."""
    plain: list[Json] = []
    replace = False
    for element in patch:
        directive = element.get(_DIRECTIVE)
        if directive is None:
            plain.append(element)
        elif directive == "delete":
            gone = _key_of(element, key)
            live = [v for v in live if _key_of(v, key) != gone]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, element)
    if replace:
        return plain, [], plain
    merged = list(live)
    for element in plain:
        wanted = _key_of(element, key)
        at = next((i for i, v in enumerate(merged) if _key_of(v, key) == wanted), None)
        if at is None:
            merged.append(_without_directives(element)[0])
        else:
            merged[at] = _merge_map(merged[at], dict(element), schema)
    return merged, plain, live


def _key_of(element: Json, key: str) -> Json:
    if not isinstance(element, dict):
        raise PatchError(f"expected a map[string]interface {{}}, but received a {_go_type(element)}")
    if key not in element:
        raise PatchError(f"map: {go_map(element)} does not contain declared merge key: {key}")
    return element[key]


def _identity(value: Json, key: str) -> Json:
    return _key_of(value, key) if key else value


def _distinct(values: list[Json]) -> list[Json]:
    found: list[Json] = []
    for value in values:
        if not any(value == f and type(value) is type(f) for f in found):
            found.append(value)
    return found


def _merge_ordered_lists(original: dict[str, Json], patch: dict[str, Json], schema: Schema) -> None:
    """``$setElementOrder/FIELD`` names all elements in their wanted order; done together with the FIELD's own patch."""
    for key in [k for k in patch if k.startswith(_ORDER)]:
        order = patch.pop(key)
        name = _directed_field(key, _ORDER, _BAD_ORDER)
        live, change = original.get(name), patch.pop(name, None)
        for value in (order, live, change):
            if value is not None and not isinstance(value, list):
                raise PatchError(f"expected a []interface {{}}, but received a {_go_type(value)}")
        if order is None:
            raise PatchError(_BAD_ORDER)
        field = field_of(schema, name)
        merge_key = field.merge_key if field else ""
        _check_order(change or [], order, merge_key)
        if live is not None and change is not None:
            merged = _merge_list(live, change, schema, name, deleting=False)
        elif change is not None:
            merged = _without_directives(change)[0]
        elif live is not None:
            merged = live
        else:
            continue
        original[name] = _ordered(merged, order, live or [], merge_key)


def _check_order(patch: list[Json], order: list[Json], key: str) -> None:
    """What the patch changes must stand in the wanted order too, and in the same sequence."""
    if not patch or not order:
        return
    wanted = [_identity(v, key) for v in order]
    at = 0
    for element in patch:
        if isinstance(element, dict) and _DIRECTIVE in element:
            continue
        try:
            at = wanted.index(_identity(element, key), at) + 1
        except ValueError:
            raise PatchError(
                f"The order in patch list:\n{_go_list(patch)}\n doesn't match {_ORDER} list:\n{_go_list(order)}\n"
            ) from None


def _ordered(merged: list[Json], patch_order: list[Json], live_order: list[Json], key: str) -> list[Json]:
    """What the patch names in the patch's order, the rest in the live order, interleaved by the live order."""
    wanted, live = _positions(patch_order, key), _positions(live_order, key)

    def position(order: dict[str, int], value: Json) -> int:
        return order.get(repr(_identity(value, key)), -1)

    named = sorted((v for v in merged if position(wanted, v) >= 0), key=lambda v: position(wanted, v))
    others = sorted((v for v in merged if position(wanted, v) < 0), key=lambda v: position(live, v))
    out: list[Json] = []
    i = j = 0
    while i < len(others) and j < len(named):
        if 0 <= position(live, others[i]) < position(live, named[j]):
            out.append(others[i])
            i += 1
        else:
            out.append(named[j])
            j += 1
    return out + others[i:] + named[j:]


def _positions(order: list[Json], key: str) -> dict[str, int]:
    """identity -> where it stands first; by its text, for a key may be anything."""
    found: dict[str, int] = {}
    for i, value in enumerate(order):
        found.setdefault(repr(_identity(value, key)), i)
    return found


# --- Go's words in errors ---------------------------------------------------------------------------------------


def _go_type(value: Json) -> str:
    names: dict[type, str] = {str: "string", bool: "bool", int: "int64", float: "float64", list: "[]interface {}"}
    return names.get(type(value), "map[string]interface {}" if isinstance(value, dict) else "<nil>")


def go_map(value: Any) -> str:
    """A value as Go's ``%v`` prints it: ``map[a:1 b:[x y]]``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_map(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list):
        return _go_list(value)
    if value is None:
        return "<nil>"
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _go_list(values: list[Json]) -> str:
    return "[" + " ".join(map(go_map, values)) + "]"
