"""The way to the members: one HTTP/2 connection an endpoint, shared by all calls and watches of a client.

Interface for the rest of the client: ``unary(path, request, timeout) -> bytes`` and ``stream(path) -> Stream``; failures
are ``EtcdError``. Calls are multiplexed, so any number may be in flight. The connection is made by the first call.
"""

import ssl
from collections.abc import Iterable

from etcd_raft.client.errors import EtcdError, error_from
from etcd_raft.grpc.client import Channel, ClientStream
from etcd_raft.grpc.status import RpcError

Metadata = Iterable[tuple[str, str]]


class Stream:
    """A two-way stream of messages (as bytes)."""

    def __init__(self, call: ClientStream) -> None:
        self._call = call

    async def send(self, data: bytes) -> None:
        try:
            await self._call.send(data)
        except RpcError as error:
            raise _translated(error) from None

    async def receive(self) -> bytes | None:
        """The next message, or None when the server ended the stream in order."""
        try:
            return await self._call.receive()
        except RpcError as error:
            raise _translated(error) from None

    def cancel(self) -> None:
        self._call.cancel()


class Connection:
    """One endpoint: ``http://host:port`` is plaintext, ``https://host:port`` TLS with the given files."""

    def __init__(self, endpoint: str, ca: str | None, cert: str | None, key: str | None) -> None:
        scheme, separator, address = endpoint.partition("://")
        if not separator:
            scheme, address = "http", endpoint
        if scheme not in ("http", "https"):
            raise ValueError(f"endpoint {endpoint!r}: the scheme has to be http or https")
        self.endpoint = endpoint
        self._files = (ca, cert, key)
        # A dead peer behind a live route is noticed in about 15 s; etcd's own minimum between pings is 5 s.
        self._channel = Channel(
            address.rstrip("/"), self._context if scheme == "https" else None, keepalive=10.0, keepalive_timeout=5.0
        )

    def _context(self) -> ssl.SSLContext:
        ca, cert, key = self._files
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
        return context

    async def unary(self, path: str, request: bytes, timeout: float, metadata: Metadata = ()) -> bytes:
        try:
            return await self._channel.unary(path, request, timeout, metadata)
        except RpcError as error:
            raise _translated(error) from None

    async def stream(self, path: str, metadata: Metadata = ()) -> Stream:
        try:
            return Stream(await self._channel.stream(path, metadata))
        except RpcError as error:
            raise _translated(error) from None

    async def close(self) -> None:
        await self._channel.close()


def _translated(error: RpcError) -> EtcdError:
    translated = error_from(error.code.name, error.text)
    if error.unsent:
        translated.maybe_applied = False
    return translated
