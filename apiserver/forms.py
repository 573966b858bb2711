"""How objects, lists and watch events look in each negotiated form: plain JSON, Table, PartialObjectMetadata.

The plain form of a kind in its stored version never decodes: it joins the cached bytes. Everything else decodes
an object, and does so once for all watchers that want the same form (``key`` tells).
"""

import time
from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from apimachinery.errors import bad_request, quote
from apimachinery.resources import Resource
from apimachinery.table import Column, Row
from apimachinery.table import table as build_table
from apiserver.negotiation import Form
from apiserver.pieces import Pieces
from apiserver.registry import Strategy
from apiserver.storage.codec import Codec

Object = dict[str, Any]
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_META = "meta.k8s.io"


class Converter(Protocol):
    """Between the stored version of a kind and another served one. Both ways lose nothing."""

    def to_served(self, obj: Object) -> Object: ...

    def to_stored(self, obj: Object) -> Object: ...


def list_metadata(revision: int, continue_token: str = "", remaining: int | None = None) -> Object:
    metadata: Object = {"resourceVersion": str(revision)}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return metadata


class PlainForm:
    """The object itself."""

    def __init__(self, resource: Resource, codec: Codec, converter: Converter | None) -> None:
        self.codec = codec
        self.converter = converter
        self.key: object = "json" if converter is None else ("json", resource.api_version)
        kind, version = resource.kind.encode(), resource.api_version.encode()
        self._object = b'{"kind":"%s","apiVersion":"%s",' % (kind, version)
        self._list = b'{"kind":"%sList","apiVersion":"%s","metadata":' % (kind, version)
        self._bookmark = b'{"type":"BOOKMARK","object":%s"metadata":' % self._object
        self._events = {
            name: b'{"type":"%s","object":%s' % (name.encode(), self._object)
            for name in ("ADDED", "MODIFIED", "DELETED")
        }

    @property
    def following(self) -> "PlainForm":
        return self

    def object(self, body: bytes) -> bytes:
        return self._object + self._served(body)

    def list(self, bodies: Sequence[bytes], metadata: Object) -> bytes | Pieces:
        if self.converter is not None:
            bodies = [self._served(body) for body in bodies]
        start = self._list + orjson.dumps(metadata)
        if not bodies:
            return start + b',"items":[]}'
        return Pieces(start + b',"items":[{', b",{", bodies, b"]}")

    def event(self, event_type: str, body: bytes) -> bytes:
        return b"%b%b}\n" % (self._events[event_type], self._served(body))

    def bookmark(self, revision: int, initial_events_end: bool) -> bytes:
        return self._bookmark + orjson.dumps(_bookmark_metadata(revision, initial_events_end)) + b"}}\n"

    def _served(self, body: bytes) -> bytes:
        if self.converter is None:
            return body
        obj = self.converter.to_served(self.codec.decode_body(body))
        rest = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}
        return orjson.dumps(rest)[1:]


class _DecodedForm:
    """What the forms share that look inside objects."""

    key: object

    def __init__(self, codec: Codec, converter: Converter | None) -> None:
        self.codec = codec
        self.converter = converter

    @property
    def following(self) -> "_DecodedForm":
        return self

    def decoded(self, body: bytes) -> Object:
        return self.codec.decode_body(body)

    def shaped(self, bodies: Sequence[bytes], metadata: Object) -> Object:
        raise NotImplementedError

    def single(self, body: bytes) -> Object:
        raise NotImplementedError

    def empty(self, metadata: Object) -> Object:
        raise NotImplementedError

    def object(self, body: bytes) -> bytes:
        return orjson.dumps(self.single(body))

    def list(self, bodies: Sequence[bytes], metadata: Object) -> bytes:
        return orjson.dumps(self.shaped(bodies, metadata))

    def event(self, event_type: str, body: bytes) -> bytes:
        return orjson.dumps({"type": event_type, "object": self.single(body)}) + b"\n"

    def bookmark(self, revision: int, initial_events_end: bool) -> bytes:
        obj = self.empty(_bookmark_metadata(revision, initial_events_end))
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"


class PartialForm(_DecodedForm):
    """``PartialObjectMetadata``: for clients that watch many kinds and need only names, labels and owners."""

    def __init__(self, codec: Codec, converter: Converter | None, version: str) -> None:
        super().__init__(codec, converter)
        self._api_version = f"{_META}/{version}"
        self.key = ("partial", version)

    def single(self, body: bytes) -> Object:
        metadata = self.codec.decode_body(body)["metadata"]
        return {"kind": "PartialObjectMetadata", "apiVersion": self._api_version, "metadata": metadata}

    def shaped(self, bodies: Sequence[bytes], metadata: Object) -> Object:
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": self._api_version,
            "metadata": metadata,
            "items": [self.single(body) for body in bodies],
        }

    def empty(self, metadata: Object) -> Object:
        return {"kind": "PartialObjectMetadata", "apiVersion": self._api_version, "metadata": metadata}


class TableForm(_DecodedForm):
    """Rows as the server prints them. ``include`` (None, Metadata, Object) says what rows carry besides cells."""

    def __init__(
        self,
        strategy: Strategy,
        codec: Codec,
        converter: Converter | None,
        version: str,
        include: str,
        with_columns: bool = True,
    ) -> None:
        super().__init__(codec, converter)
        self._strategy = strategy
        self._version = version
        self._include = include
        self._with_columns = with_columns
        self.key = ("table", version, include, with_columns, strategy.resource)

    @property
    def following(self) -> "TableForm":
        """In a watch only the first event carries the columns."""
        if not self._with_columns:
            return self
        return TableForm(self._strategy, self.codec, self.converter, self._version, self._include, False)

    def _row(self, obj: Object, now: float) -> Row:
        strategy = self._strategy
        return Row(strategy.cells(obj, now), self._included(obj), strategy.row_conditions(obj))

    def _included(self, obj: Object) -> Object | None:
        if self._include == "Object":
            return obj if self.converter is None else self.converter.to_served(obj)
        if self._include == "None":
            return None
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"{_META}/{self._version}",
            "metadata": obj["metadata"],
        }

    def single(self, body: bytes) -> Object:
        obj = self.decoded(body)
        metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return self._table([self._row(obj, time.time())], metadata)

    def shaped(self, bodies: Sequence[bytes], metadata: Object) -> Object:
        now = time.time()
        return self._table([self._row(self.decoded(body), now) for body in bodies], metadata)

    def empty(self, metadata: Object) -> Object:
        # A client reads the bookmark's version and annotations from the object in its row.
        partial = {"kind": "PartialObjectMetadata", "apiVersion": f"{_META}/{self._version}", "metadata": metadata}
        columns: Sequence[Column] = self._strategy.columns
        empty: list[Any] = ["" if c.type == "string" else 0 for c in columns]
        return self._table([Row(empty, partial)], {"resourceVersion": metadata["resourceVersion"]})

    def _table(self, rows: list[Row], metadata: Object) -> Object:
        built = build_table(self._strategy.columns, rows, metadata, with_columns=self._with_columns)
        built["apiVersion"] = f"{_META}/{self._version}"
        return built


AnyForm = PlainForm | PartialForm | TableForm


def form_for(
    form: Form, plain: PlainForm, strategy: Strategy, codec: Codec, converter: Converter | None, include: str
) -> AnyForm:
    """The negotiated form. ``include`` is the query's ``includeObject``."""
    if not form.as_kind:
        return plain
    if form.as_kind == "Table":
        if include not in ("", "None", "Metadata", "Object"):
            raise bad_request(f"unrecognized includeObject value: {quote(include)}")
        return TableForm(strategy, codec, converter, form.version, include or "Metadata")
    return PartialForm(codec, converter, form.version)


def _bookmark_metadata(revision: int, initial_events_end: bool) -> Object:
    metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return metadata
