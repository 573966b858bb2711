"""How an object becomes bytes.

A stored value is the whole object as JSON, without ``metadata.resourceVersion``: that is the revision at which the
store holds it. Every value starts with kind, apiVersion and metadata, in this order, so that the served form is
made by splicing the revision into the bytes, without decoding them:

    value     {"kind":"Pod","apiVersion":"v1","metadata":{"name":"a",...},"spec":...}
    body      "metadata":{"resourceVersion":"17","name":"a",...},"spec":...}

A *body* is what all representations share: a GET puts ``{"kind":...,"apiVersion":...,`` before it, a list ``{`` (items
carry neither kind nor apiVersion), a watch event wraps it once for all watchers.
"""

from typing import Any

import orjson

from apimachinery.resources import Resource

Object = dict[str, Any]
_METADATA = b'"metadata":{'


class Codec:
    """The byte forms of one kind, in the version in which it is stored."""

    __slots__ = ("_start", "api_version", "header", "kind")

    def __init__(self, resource: Resource) -> None:
        self.kind = resource.kind
        self.api_version = resource.stored_api_version
        self.header = b'{"kind":"%s","apiVersion":"%s",' % (self.kind.encode(), self.api_version.encode())
        self._start = self.header + _METADATA

    def encode(self, obj: Object) -> bytes:
        """The value to store."""
        metadata = obj["metadata"]
        if "resourceVersion" in metadata:
            metadata = {k: v for k, v in metadata.items() if k != "resourceVersion"}
        ordered = {"kind": self.kind, "apiVersion": self.api_version, "metadata": metadata}
        for key, value in obj.items():
            if key not in ordered:
                ordered[key] = value
        return orjson.dumps(ordered)

    def body(self, value: bytes, revision: int) -> bytes:
        """A stored value with its revision, in the shared form."""
        if not value.startswith(self._start):
            value = self.encode(orjson.loads(value))  # written by another API server
        return b'"metadata":{"resourceVersion":"%d",%b' % (revision, value[len(self._start) :])

    def rebody(self, body: bytes, revision: int) -> bytes:
        """The same object at another revision: a deletion carries the revision at which it happened."""
        end = body.index(b",")
        return b'"metadata":{"resourceVersion":"%d"%b' % (revision, body[end:])

    def decode(self, value: bytes, revision: int) -> Object:
        obj: Object = orjson.loads(value)
        obj["metadata"]["resourceVersion"] = str(revision)
        return obj

    def decode_body(self, body: bytes) -> Object:
        obj: Object = orjson.loads(self.header + body)
        return obj
