"""How deep a value may be nested.

Go's decoder refuses what is deeper than 10,000. Nobody writes that, and Python's stack and orjson's encoder end far earlier,
so the limit is drawn here, once and on the way in, where it is the client's error.
"""

from typing import Any

import orjson

MAX_DEPTH = 200
TOO_DEEP = "exceeded max depth"
#: orjson encodes this many levels and no more.
_ENCODABLE = 254


def too_deep(value: Any, text: bytes | None = None) -> bool:
    """Whether something in the value is deeper than the limit; ``text`` is its JSON, which mostly rules it out at a glance."""
    if text is not None and text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    for _ in range(_ENCODABLE - MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:  # what came out of JSON has no other reason
        return True
    return False
