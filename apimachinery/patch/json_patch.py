"""JSON patch (RFC 6902): a list of operations, applied in order, all or nothing."""

from typing import Any

import orjson

from apimachinery.patch import Json, PatchError
from apimachinery.schema.depth import TOO_DEEP, too_deep

MAX_OPERATIONS = 10_000
#: What all copy operations of a patch may add up to: a few of them can double a document each time.
MAX_COPIED = 3 * 1024 * 1024


def apply(original: Json, patch: Json) -> Json:
    """The patched copy; what refers to nothing, or a test that fails, is a 422."""
    if not isinstance(patch, list):
        raise PatchError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(patch) > MAX_OPERATIONS:
        raise PatchError(
            f"Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, "
            f"got {len(patch)}",
            code=413,
        )
    document = _copy(original)
    copied = _Copied()
    for operation in patch:
        document = _apply_one(document, operation, copied)
    if too_deep(document):
        raise PatchError(TOO_DEEP, code=422)
    return document


class _Copied:
    """Counts what copy operations add, in bytes of JSON."""

    def __init__(self) -> None:
        self._size = 0

    def of(self, value: Json) -> Json:
        if too_deep(value):
            raise PatchError(TOO_DEEP, code=422)
        data = orjson.dumps(value)
        self._size += len(data)
        if self._size > MAX_COPIED:
            raise PatchError(
                f"Unable to complete the copy, the accumulated size increase of copy is {self._size}, "
                f"exceeding the limit {MAX_COPIED}",
                code=422,
            )
        return orjson.loads(data)


def _copy(value: Json) -> Json:
    """Through JSON text, which is several times faster than ``deepcopy``."""
    return orjson.loads(orjson.dumps(value))


def _apply_one(document: Json, operation: Any, copied: _Copied) -> Json:
    if not isinstance(operation, dict):
        raise PatchError("json: cannot unmarshal value into Go value of type jsonpatch.Operation")
    kind = operation.get("op")
    path = _pointer(operation, "path")
    if kind in ("add", "replace", "test"):
        if "value" not in operation and kind != "test":
            raise PatchError(f"{kind} operation: missing value", code=422)
        value = _copy(operation.get("value"))
        if kind == "test":
            return _test(document, path, value)
        return _set(document, path, value, insert=kind == "add")
    if kind == "remove":
        return _remove(document, path)[0]
    if kind in ("move", "copy"):
        source = _pointer(operation, "from")
        if kind == "copy":
            return _set(document, path, copied.of(_get(document, source)), insert=True)
        if path[: len(source)] == source and len(path) > len(source):
            raise PatchError("move operation: cannot move a value into itself", code=422)
        document, value = _remove(document, source)
        return _set(document, path, value, insert=True)
    raise PatchError(f"Unexpected kind: {kind}", code=422)


def _pointer(operation: dict[str, Any], member: str) -> list[str]:
    text = operation.get(member)
    if not isinstance(text, str):
        raise PatchError(f"operation missing {member!r} field", code=422)
    if text == "":
        return []
    if not text.startswith("/"):
        raise PatchError(f"invalid JSON pointer {text!r}", code=422)
    return [token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/")]


def _missing(path: list[str]) -> PatchError:
    return PatchError(f"nothing at /{'/'.join(path)}: missing path", code=422)


def _index(container: list[Json], token: str, limit: int) -> int:
    """An array index; negative ones count from the end, as upstream's library allows."""
    digits = token.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (len(digits) > 1 and digits.startswith("0")):
        raise PatchError(f"invalid array index {token!r}", code=422)
    # One that is this long is out of range, and Python does not read all of them.
    index = int(token) if len(token) < 20 else -1 - limit
    if index < 0:
        index += limit
    if not 0 <= index < limit:
        raise PatchError(f"Unable to access invalid index: {token}", code=422)
    return index


def _get(document: Json, path: list[str]) -> Json:
    for i, token in enumerate(path):
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(document, token, len(document))]
        else:
            raise _missing(path[: i + 1])
    return document


def _set(document: Json, path: list[str], value: Json, *, insert: bool) -> Json:
    if not path:
        return value
    container, token = _get(document, path[:-1]), path[-1]
    if isinstance(container, dict):
        if not insert and token not in container:
            raise _missing(path)
        container[token] = value
    elif isinstance(container, list):
        if not insert:
            container[_index(container, token, len(container))] = value
        elif token == "-":
            container.append(value)
        else:
            container.insert(_index(container, token, len(container) + 1), value)
    else:
        raise _missing(path)
    return document


def _remove(document: Json, path: list[str]) -> tuple[Json, Json]:
    if not path:
        raise PatchError("remove operation: the whole document cannot be removed", code=422)
    container, token = _get(document, path[:-1]), path[-1]
    if isinstance(container, dict) and token in container:
        return document, container.pop(token)
    if isinstance(container, list):
        return document, container.pop(_index(container, token, len(container)))
    raise _missing(path)


def _test(document: Json, path: list[str], expected: Json) -> Json:
    try:
        actual = _get(document, path)
    except PatchError:
        # Upstream's library takes a missing value for null.
        if expected is not None:
            raise
        actual = None
    if not _equal(actual, expected):
        raise PatchError(f"testing value /{'/'.join(path)} failed", code=422)
    return document


def _equal(a: Json, b: Json) -> bool:
    """JSON equality: Python's would take true for 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    return type(a) is type(b) and a == b
