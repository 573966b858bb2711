"""One small HTTP/1.1 GET on asyncio: for probes and lifecycle hooks, a few hundred a second without a client library."""

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

MAX_BODY = 10 * 1024  # what upstream reads of an answer
_MAX_HEAD = 64 * 1024
_MAX_REDIRECTS = 10


class HttpError(Exception):
    """No answer; the text is for the event."""


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


_insecure: ssl.SSLContext | None = None


def _tls() -> ssl.SSLContext:
    """Probes do not verify certificates, as upstream's do not."""
    global _insecure
    if _insecure is None:
        _insecure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _insecure.check_hostname, _insecure.verify_mode = False, ssl.CERT_NONE
    return _insecure


async def get(url: str, headers: dict[str, str], timeout: float) -> Answer:
    """Follows redirects on the same host, as upstream does; a redirect to another host is the answer itself."""
    try:
        async with asyncio.timeout(timeout):
            for _ in range(_MAX_REDIRECTS):
                answer = await _once(url, headers)
                location = answer.headers.get("location")
                if answer.status not in (301, 302, 303, 307, 308) or not location:
                    return answer
                target = urljoin(url, location)
                if urlsplit(target).hostname != urlsplit(url).hostname:
                    return answer
                url = target
    except TimeoutError:
        raise HttpError(
            f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        ) from None
    raise HttpError(f'Get "{url}": stopped after {_MAX_REDIRECTS} redirects')


async def _once(url: str, headers: dict[str, str]) -> Answer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=_tls() if secure else None, limit=_MAX_HEAD)
    except (OSError, ssl.SSLError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        raise HttpError(f'Get "{url}": dial tcp {host}:{port}: connect: {why}') from None
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode())
        return await _read(reader, url)
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, ValueError) as error:
        why = "EOF" if isinstance(error, asyncio.IncompleteReadError) else str(error)
        raise HttpError(f'Get "{url}": {why}') from None
    finally:
        writer.transport.abort()  # nothing that we wait for can come any more


async def _read(reader: asyncio.StreamReader, url: str) -> Answer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError("malformed HTTP response: its head is too long") from None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ValueError(f"malformed HTTP response {first[:80]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    # The body only decorates an event: what is there at once or until the end, up to the limit.
    length = int(headers["content-length"]) if headers.get("content-length", "").isdigit() else MAX_BODY
    body = b""
    while len(body) < min(length, MAX_BODY):
        chunk = await reader.read(MAX_BODY - len(body))
        if not chunk:
            break
        body += chunk
    return Answer(int(words[1]), headers, body.decode(errors="replace"))
