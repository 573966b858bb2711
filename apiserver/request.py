"""One request as the handlers see it: path understood, query and headers at hand, body read within limits."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from apimachinery import errors
from apimachinery.resources import Resource, lookup
from apiserver.authentication.user import User

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Upstream's limit for a request body.
MAX_BODY = 3 * 1024 * 1024
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_OBJECT_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}


class RequestInfo:
    """What a path and a method ask for, as authorization and the handlers name it (upstream's ``RequestInfo``).

    ``resource`` is None for paths that are not about a resource (``/version``) and for resources nobody serves; then
    ``plural`` tells the two apart. ``rest`` is what follows a subresource such as ``proxy``.
    """

    __slots__ = (
        "group", "name", "namespace", "path", "plural", "resource", "rest", "subresource", "verb", "version",
    )  # fmt: skip

    def __init__(self, method: str, path: str) -> None:
        self.path = path
        self.group = self.version = self.plural = self.namespace = self.name = self.subresource = self.rest = ""
        self.resource: Resource | None = None
        self.verb = method.lower()
        parts = path.split("/")
        if len(parts) > 3 and parts[1] == "api":
            self.version, parts = parts[2], parts[3:]
        elif len(parts) > 4 and parts[1] == "apis":
            self.group, self.version, parts = parts[2], parts[3], parts[4:]
        else:
            return
        if len(parts) > 1 and not parts[-1]:
            parts.pop()  # a trailing slash
        watching = parts[0] == "watch" and len(parts) > 1 and method == "GET"
        self._resource_parts(method, parts[1:] if watching else parts)
        if watching and not self.subresource:
            self.verb = "watch"  # the old form of ?watch=true, for a collection and for one object

    def _resource_parts(self, method: str, parts: list[str]) -> None:
        if parts[0] == "namespaces" and len(parts) > 1:
            self.namespace = parts[1]
            if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
                parts = parts[2:]
        self.plural = parts[0]
        count = len(parts)
        if count > 1:
            self.name = parts[1]
        if count > 2:
            self.subresource = parts[2]
        if count > 3:
            self.rest = "/".join(parts[3:])
        self.resource = lookup(self.group, self.version, self.plural)
        table = _OBJECT_VERBS if self.name else _COLLECTION_VERBS
        self.verb = table.get(method, "")

    @property
    def is_resource(self) -> bool:
        return bool(self.plural)


class Request:
    """``user`` is set by authentication; ``warnings`` end up as ``Warning`` headers of the answer."""

    __slots__ = ("_body", "_headers", "_query", "info", "method", "receive", "scope", "send", "user", "warnings")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.info = RequestInfo(self.method, scope["path"])
        self.user: User = User("")
        self.warnings: list[str] = []
        self._query: dict[str, str] | None = None
        self._headers: dict[bytes, bytes] | None = None
        self._body: bytes | None = None

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter, as Go's ``Values.Get`` sees them."""
        if self._query is None:
            raw = self.scope["query_string"]
            found: dict[str, str] = {}
            if raw:
                for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
                    found.setdefault(key, value)
            self._query = found
        return self._query

    def query_all(self, name: str) -> list[str]:
        raw = self.scope["query_string"].decode("latin-1")
        return [value for key, value in parse_qsl(raw, keep_blank_values=True) if key == name]

    def flag(self, name: str) -> bool:
        """A boolean parameter as upstream reads it: there and neither ``0`` nor ``false``."""
        value = self.query.get(name)
        return value is not None and value.lower() not in ("0", "false")

    def integer(self, name: str) -> int | None:
        value = self.query.get(name)
        if value is None or value == "":
            return None
        try:
            number = int(value)
        except ValueError:
            number = 1 << 64
        if not -(1 << 63) <= number < 1 << 63:
            text = f"strconv.ParseInt: parsing {errors.quote(value)}: invalid syntax"
            raise errors.bad_request(text)
        return number

    def header(self, name: bytes) -> str:
        """A header by its lower-case name; several of one name are joined as HTTP allows."""
        if self._headers is None:
            found: dict[bytes, bytes] = {}
            for key, value in self.scope["headers"]:
                found[key] = found[key] + b", " + value if key in found else value
            self._headers = found
        return self._headers.get(name, b"").decode("latin-1")

    async def body(self) -> bytes:
        if self._body is None:
            self._body = await self._read()
        return self._body

    async def _read(self) -> bytes:
        length = self.header(b"content-length")
        if length.isdigit() and int(length) > MAX_BODY:
            raise errors.too_large(f"limit is {MAX_BODY}")
        message = await self.receive()
        data: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return self._decoded(data)
        chunks, size = [data], len(data)
        while message.get("more_body"):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise errors.bad_request("unexpected EOF")
            chunk = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                raise errors.too_large(f"limit is {MAX_BODY}")
        return self._decoded(b"".join(chunks))

    def _decoded(self, data: bytes) -> bytes:
        return data
