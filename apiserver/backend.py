"""One request to something that speaks HTTP/1.1 behind the API server: a kubelet, a pod, whatever a Service leads to.

A connection a request on an asyncio stream: that is little code and memory, and after an upgrade the same stream carries
exec, attach, port-forward or a WebSocket byte for byte.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

_CONNECT_SECONDS = 30.0
_MAX_HEAD = 64 * 1024
_CHUNK = 64 * 1024
Headers = Iterable[tuple[str, str]]


class BackendError(Exception):
    """No answer; the text is Go's for the same trouble, for clients show it and match on it."""


@dataclass(frozen=True)
class Location:
    """Where a backend is; ``tls`` None: plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url(self, target: str) -> str:
        return f"{'https' if self.tls is not None else 'http'}://{self.authority}{target}"


class Answer:
    """The head of an answer, and the stream behind it. ``headers`` has lower-case names, ``listed`` has all of them."""

    def __init__(self, method: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        self.listed = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        self.headers = dict(self.listed)
        try:
            self.status = int(status_line.split(" ", 2)[1])
        except (IndexError, ValueError):
            raise BackendError(f'malformed HTTP response "{status_line[:100]}"') from None
        self.head, self.reader, self.writer = head, reader, writer
        #: Sends what is left of the request's body.
        self.sending: asyncio.Task[None] | None = None
        self._empty = method == "HEAD" or self.status in (204, 304)

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives; closes the connection at its end. ``BackendError`` when it ends too early."""
        try:
            if self._empty:
                return
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                async for chunk in self._chunks():
                    yield chunk
                return
            left = int(self.headers["content-length"]) if "content-length" in self.headers else None
            while left is None or left > 0:
                data = await self.reader.read(_CHUNK if left is None else min(left, _CHUNK))
                if not data:
                    if left:
                        raise BackendError("unexpected EOF")
                    return
                left = None if left is None else left - len(data)
                yield data
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise BackendError(str(error) or "unexpected EOF") from None
        finally:
            self.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self.reader.readline()).split(b";")[0].strip(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)

    def close(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
        self.writer.close()


async def send(
    location: Location, method: str, target: str, headers: Headers = (), body: AsyncIterator[bytes] | bytes = b""
) -> Answer:
    """Sends a request and reads the head of the answer. ``headers`` has to say how long a body is that is a stream."""
    reader, writer = await _connect(location)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if isinstance(body, bytes) and body:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
    # A backend may answer before it has read everything, and stop reading.
    sending = asyncio.create_task(_send_body(writer, body))
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            answer = Answer(method, head, reader, writer)
            if answer.status >= 200 or answer.status == 101:
                break
    except BaseException as error:
        sending.cancel()
        writer.close()
        if isinstance(error, asyncio.IncompleteReadError):
            raise BackendError("EOF" if not error.partial else "unexpected EOF") from None
        if isinstance(error, OSError | asyncio.LimitOverrunError):
            raise BackendError(_reason(error)) from None
        raise
    answer.sending = sending
    return answer


async def _connect(location: Location) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    dial = f"dial tcp {location.authority}"
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await asyncio.open_connection(location.host, location.port, ssl=location.tls, limit=_MAX_HEAD)
    except TimeoutError:
        raise BackendError(f"{dial}: i/o timeout") from None
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            raise BackendError("http: server gave HTTP response to HTTPS client") from None
        raise BackendError(f"tls: {error.reason or error}") from None
    except OSError as error:
        raise BackendError(f"{dial}: connect: {_reason(error)}") from None


async def _send_body(writer: asyncio.StreamWriter, body: AsyncIterator[bytes] | bytes) -> None:
    try:
        if isinstance(body, bytes):
            writer.write(body)
        else:
            async for chunk in body:
                writer.write(chunk)
                await writer.drain()
        await writer.drain()
    except OSError:
        pass  # whoever reads the answer learns that the connection is gone


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        import os

        return os.strerror(error.errno).lower()  # asyncio's own text repeats the address
    return str(error).lower()


async def splice(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Joins a client's connection with the backend's, which has answered 101, until either side is done."""
    writer.write(answer.head)
    ways = [asyncio.create_task(_copy(*way)) for way in ((answer.reader, writer), (reader, answer.writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
        answer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one side is gone: the other is told by its end
