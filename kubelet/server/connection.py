"""uvicorn as the kubelet needs it: TLS with client certificates that the application can see, and connections that can
leave HTTP for a streaming protocol."""

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Subject = dict[str, list[str]]


class Protocol(HttpToolsProtocol):
    """One connection; it is in the ASGI scope as ``connection``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._upgrading = False
        self._early = b""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]

    def data_received(self, data: bytes) -> None:
        if self._upgrading:
            self._early += data
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # What follows the head is not HTTP; whether there is another protocol is for the application to say.
            self._upgrading = True
            self._early = data[upgrade.args[0] :]
            if self.cycle is not None:
                self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def subject(self) -> Subject | None:
        """Of the verified client certificate: ``{"commonName": [...], "organizationName": [...]}``."""
        certificate = self.transport.get_extra_info("peercert")
        if not certificate:
            return None
        found: Subject = {}
        for part in certificate.get("subject", ()):
            for name, value in part:
                found.setdefault(name, []).append(value)
        return found

    def take_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection leaves HTTP for good; the caller writes the answer's head itself."""
        self.cycle.response_started = self.cycle.response_complete = True
        self.connections.discard(self)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = self.transport
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._early:
            reader.feed_data(self._early)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class Server(uvicorn.Server):
    """Sleeps while nothing happens (uvicorn's own loop looks ten times a second whether to end)."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()
        self.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # the process's own

    async def main_loop(self) -> None:
        await self._ended.wait()

    def end(self) -> None:
        self.should_exit = True
        self._ended.set()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; OSError names the address when it is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def build(app: Any, *, cert_file: str, key_file: str, client_ca_file: str) -> Server:
    """Asks clients for a certificate when there is an authority for them; what they may do without is the app's business."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        ssl_certfile=cert_file or None,
        ssl_keyfile=key_file or None,
        ssl_ca_certs=client_ca_file or None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if client_ca_file else ssl.CERT_NONE,
    )
    return Server(config)
