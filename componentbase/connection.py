"""uvicorn's HTTP connections as components need them: the application sees the connection it is asked on, and may take it
over for another protocol (WebSocket, SPDY, or whatever two others speak through us).

``connection`` in the ASGI scope is the protocol object. uvicorn itself would close a connection that asks for an upgrade
it does not know.
"""

import asyncio
import contextlib
import socket
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: What a client that wants to upgrade may send before it is answered.
_MAX_EARLY_BYTES = 1 << 20


class Protocol(HttpToolsProtocol):
    """One connection."""

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
            if len(self._early) > _MAX_EARLY_BYTES:
                self.transport.pause_reading()
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

    def take_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection leaves HTTP for good; the caller writes the answer's head itself, and closes."""
        self.cycle.response_started = self.cycle.response_complete = True
        self.connections.discard(self)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = self.transport
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        early, self._early = self._early, b""
        transport.resume_reading()
        if early:
            reader.feed_data(early)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class Server(uvicorn.Server):
    """Sleeps while nothing happens (uvicorn's own loop looks ten times a second whether to end); ``stop`` ends it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()
        self.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # the process's own

    async def main_loop(self) -> None:
        await self._stop.wait()

    def stop(self) -> None:
        self.should_exit = True
        self._stop.set()


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
