"""Answers: bytes with a status and headers, or a stream of chunks. Errors are always ``Status`` objects."""

import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from apimachinery.errors import StatusError
from apiserver.pieces import Pieces, whole
from apiserver.request import Request

JSON = b"application/json"
#: Answers from this size on are compressed for who accepts it (upstream's threshold), quickly rather than well.
GZIP_FROM = 128 * 1024
_NO_CACHE = (b"cache-control", b"no-cache, private")
Headers = Iterable[tuple[bytes, bytes]]


class Response:
    """A whole answer in memory."""

    __slots__ = ("body", "caching", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes | Pieces,
        status: int = 200,
        content_type: bytes = JSON,
        headers: Headers = (),
        caching: tuple[bytes, bytes] = _NO_CACHE,
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers
        self.caching = caching

    def to_yaml(self) -> None:
        """The same object for a client that asks for YAML; keys are sorted as upstream sorts them."""
        import yaml  # hardly a client asks

        self.body = yaml.safe_dump(orjson.loads(whole(self.body)), allow_unicode=True).encode()
        self.content_type = b"application/yaml"

    async def send(self, request: Request) -> None:
        body = self.body
        headers = [self.caching, (b"content-type", self.content_type), *self.headers]
        if request.warnings:
            headers += [(b"warning", _warning(text)) for text in dict.fromkeys(request.warnings)]
        if len(body) >= GZIP_FROM and "gzip" in request.header(b"accept-encoding"):
            body = _gzip(body)
            headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
        headers.append((b"content-length", b"%d" % len(body)))
        connection = request.scope.get("connection")
        cycle = getattr(request.send, "__self__", None)
        if connection is not None and cycle is not None:
            await connection.respond(cycle, self.status, headers, body)
            return
        await request.send({"type": "http.response.start", "status": self.status, "headers": headers})
        await request.send({"type": "http.response.body", "body": whole(body)})


class Stream:
    """An answer that comes in pieces: watches, logs."""

    __slots__ = ("chunks", "content_type", "headers", "status")

    def __init__(
        self, chunks: AsyncIterator[bytes], status: int = 200, content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        self.chunks = chunks
        self.status = status
        self.content_type = content_type
        self.headers = headers

    async def send(self, request: Request) -> None:
        headers = [_NO_CACHE, (b"content-type", self.content_type), *self.headers]
        headers += [(b"warning", _warning(text)) for text in dict.fromkeys(request.warnings)]
        await request.send({"type": "http.response.start", "status": self.status, "headers": headers})
        async for chunk in self.chunks:
            await request.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await request.send({"type": "http.response.body", "body": b""})


def json_response(obj: Any, request: Request | None = None, status: int = 200) -> Response:
    """An object; indented when the client asks for ``pretty``, as browsers and curl do upstream."""
    if request is not None and wants_pretty(request):
        return Response(orjson.dumps(obj, option=orjson.OPT_INDENT_2) + b"\n", status)
    return Response(orjson.dumps(obj), status)


def wants_pretty(request: Request) -> bool:
    if "pretty" in request.query:
        return request.flag("pretty")
    agent = request.header(b"user-agent")
    return agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def error_response(error: StatusError) -> Response:
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after_seconds:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    return Response(orjson.dumps(error.status()), error.code, headers=headers)


def text_response(text: str, status: int = 200) -> Response:
    return Response(text.encode(), status, b"text/plain; charset=utf-8")


def _warning(text: str) -> bytes:
    """RFC 7234's ``299 - "text"``; control characters would break the header."""
    cleaned = "".join(c if c.isprintable() else " " for c in text)
    cleaned = cleaned.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{cleaned}"'.encode()


def _gzip(body: bytes | Pieces) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    pieces = (body,) if isinstance(body, bytes) else body
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])
