"""The way to the members: one HTTP/2 connection an endpoint, shared by all calls and watches of a client.

Interface for the rest of the client: ``unary(path, request, timeout) -> bytes`` and ``stream(path) -> Stream``; failures
are ``EtcdError``. Calls are multiplexed, so any number may be in flight. gRPC is imported when the first connection
is made, never at import: a process that forks after importing must not have gRPC's threads yet.
"""

from typing import Any

from etcd_raft.client.errors import EtcdError, error_from

# A dead peer behind a live route is noticed in about 15 s; etcd's own minimum between pings is 5 s.
_KEEPALIVE_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 5_000


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _identity(data: bytes) -> bytes:
    return data


class Stream:
    """A two-way stream of messages (as bytes)."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, data: bytes) -> None:
        import grpc

        try:
            await self._call.write(data)
        except grpc.aio.AioRpcError as error:
            raise error_from(error.code().name, error.details() or "") from None
        except Exception as error:  # grpc raises asyncio.InvalidStateError and others when the call is already over
            raise error_from("UNAVAILABLE", f"the stream is over: {error}") from None

    async def receive(self) -> bytes | None:
        """The next message, or None when the server ended the stream in order."""
        import grpc

        try:
            data = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise error_from(error.code().name, error.details() or "") from None
        return None if data is grpc.aio.EOF else data

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
        self._secure = scheme == "https"
        self._address = address.rstrip("/")
        self._files = (ca, cert, key)
        self._channel: Any = None
        self._calls: dict[str, Any] = {}

    def _open(self) -> Any:
        import grpc
        import grpc.aio

        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            # A store that is just starting is found soon after: calls fail at once between two attempts to connect.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", 250),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ]
        if not self._secure:
            return grpc.aio.insecure_channel(self._address, options=options)
        ca, cert, key = self._files
        credentials = grpc.ssl_channel_credentials(_read(ca), _read(key), _read(cert))
        return grpc.aio.secure_channel(self._address, credentials, options=options)

    @property
    def channel(self) -> Any:
        if self._channel is None:
            self._channel = self._open()
        return self._channel

    async def unary(self, path: str, request: bytes, timeout: float, metadata: Any = None) -> bytes:
        import grpc

        call = self._calls.get(path)
        if call is None:
            call = self._calls[path] = self.channel.unary_unary(path, _identity, _identity)
        try:
            reply: bytes = await call(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise error_from(error.code().name, error.details() or "") from None
        except grpc.aio.UsageError as error:  # the channel was closed under the call
            raise EtcdError("CANCELLED", str(error)) from None
        return reply

    def stream(self, path: str, metadata: Any = None) -> Stream:
        return Stream(self.channel.stream_stream(path, _identity, _identity)(metadata=metadata))

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        self._calls.clear()
        if channel is not None:
            await channel.close()
