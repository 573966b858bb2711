"""Connections to kubelets: a request forwarded, its answer streamed back or the connection handed over.

HTTP/1.1 on an asyncio stream, a connection a request: that is little code and memory, and after an upgrade the same
stream carries exec, attach and port-forward byte for byte.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver.options import Options

Object = dict[str, Any]
_CONNECT_SECONDS = 10.0
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_MAX_HEAD, _MAX_ERROR_BODY = 64 * 1024, 50 * 1024
_CHUNK = 64 * 1024


class KubeletAnswer:
    """The head of an answer, and the stream behind it."""

    def __init__(
        self,
        status: int,
        head: bytes,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.status = status
        self.head = head
        self.headers = headers
        self.reader = reader
        self.writer = writer

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it arrives; closes the connection at its end."""
        try:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                async for chunk in self._chunks():
                    yield chunk
            else:
                left = int(self.headers["content-length"]) if "content-length" in self.headers else None
                while left is None or left > 0:
                    data = await self.reader.read(_CHUNK if left is None else min(left, _CHUNK))
                    if not data:
                        return
                    left = None if left is None else left - len(data)
                    yield data
        finally:
            self.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self.reader.readline()).split(b";")[0].strip() or b"0", 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)

    def close(self) -> None:
        self.writer.close()


class Kubelets:
    """Reaches the kubelet of a node by the address and port that its Node object shows."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._context: ssl.SSLContext | None = None

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            options = self._options
            context = ssl.create_default_context(cafile=options.kubelet_certificate_authority or None)
            if not options.kubelet_certificate_authority:
                # As upstream without --kubelet-certificate-authority: encrypted, but whoever answers is believed.
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if options.kubelet_client_certificate:
                context.load_cert_chain(options.kubelet_client_certificate, options.kubelet_client_key or None)
            self._context = context
        return self._context

    async def request(
        self, node: Object, method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> KubeletAnswer:
        """Sends a request and reads the head of the answer. Raises upstream's 500 when the kubelet cannot be reached."""
        host, port = _address(node)
        url = f"https://{host}:{port}{target}"
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(host, port, ssl=self._tls(), limit=_MAX_HEAD)
        except (OSError, TimeoutError) as error:
            why = "i/o timeout" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
            text = f'{method.title()} "{url}": dial tcp {host}:{port}: {why}'
            raise StatusError(500, "InternalError", text, {"causes": [{"message": text}]}) from None
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{port}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        try:
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.close()
            raise errors.internal(f'{method.title()} "{url}": {error}') from None
        status_line, *rest = head.decode("latin-1").split("\r\n")
        found = {}
        for line in rest:
            name, _, value = line.partition(":")
            found[name.strip().lower()] = value.strip()
        return KubeletAnswer(int(status_line.split(" ", 2)[1]), head, found, reader, writer)


async def refuse_failure(answer: KubeletAnswer) -> None:
    """Raises what upstream makes of a kubelet's error: its text is the user's message."""
    if 200 <= answer.status < 300:
        return
    text = b""
    async for chunk in answer.body():
        text += chunk
        if len(text) >= _MAX_ERROR_BODY:
            break
    message = text.decode("utf-8", "replace").strip()
    if answer.status == 400:
        raise errors.bad_request(message)
    if answer.status == 404:
        details = {"causes": [{"reason": "UnexpectedServerResponse", "message": message}]}
        text_ = "the server could not find the requested resource"
        raise StatusError(404, "NotFound", f"{text_} {message}".strip(), details)
    if answer.status == 403:
        raise StatusError(403, "Forbidden", message or "the kubelet refuses", {})
    raise errors.internal(message or f"the kubelet answered {answer.status}")


def _address(node: Object) -> tuple[str, int]:
    status = node.get("status") or {}
    by_type = {a["type"]: a["address"] for a in reversed(status.get("addresses") or [])}
    port = (((status.get("daemonEndpoints") or {}).get("kubeletEndpoint")) or {}).get("Port") or 10250
    for kind in _ADDRESS_TYPES:
        if by_type.get(kind):
            return by_type[kind], port
    raise errors.internal(f"no preferred addresses found; known addresses: {list(by_type.values())}")
