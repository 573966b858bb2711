"""One cached object, and one change of it."""

from collections.abc import Callable
from typing import Any

from apiserver.storage.codec import Codec

Object = dict[str, Any]
Fields = Callable[[Object], dict[str, str]]


class Attributes:
    """What selectors look at: labels, and the fields that the kind lets be selected."""

    __slots__ = ("fields", "labels")

    def __init__(self, labels: dict[str, str], fields: dict[str, str]) -> None:
        self.labels = labels
        self.fields = fields


class Entry:
    """An object at a revision as bytes (see ``storage.codec``). Decoded only when somebody has to look inside."""

    __slots__ = ("_attributes", "body", "key", "revision")

    def __init__(self, key: str, body: bytes, revision: int) -> None:
        self.key = key
        self.body = body
        self.revision = revision
        self._attributes: Attributes | None = None

    def attributes(self, codec: Codec, fields: Fields) -> Attributes:
        if self._attributes is None:
            obj = codec.decode_body(self.body)
            self._attributes = Attributes(obj["metadata"].get("labels") or {}, fields(obj))
        return self._attributes


class Change:
    """``entry`` replaced ``previous`` at ``revision``; one of them is None for a creation or a deletion.

    ``encoded`` holds the event's bytes by representation, made when the first watcher wants them.
    """

    __slots__ = ("at", "encoded", "entry", "key", "previous", "revision")

    def __init__(self, key: str, entry: Entry | None, previous: Entry | None, revision: int, at: float) -> None:
        self.key = key
        self.entry = entry
        self.previous = previous
        self.revision = revision
        self.at = at
        self.encoded: dict[Any, bytes] = {}
