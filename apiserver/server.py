"""uvicorn with TLS: the client's certificate and the connection itself reach the application; shutdown is orderly.

``connection`` in the ASGI scope is the protocol object of the connection: ``user`` gives who its certificate names,
``on_lost`` tells when the client of the request at hand is gone (a silent watch would never notice).
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from apiserver.authentication.user import User
from apiserver.pieces import Pieces
from componentbase import connection

log = logging.getLogger(__name__)
#: Upstream's limit for a request's head.
MAX_HEAD_BYTES = 1 << 20
_KEEP_ALIVE_SECONDS = 180
#: How long a request's head may take to arrive, and how often we look (upstream's ReadHeaderTimeout).
HEAD_SECONDS, LOOK_SECONDS = 32.0, 8.0
#: At the end: how long requests may still take, and how long their last bytes.
_GRACE_SECONDS, _LAST_WRITE_SECONDS = 5.0, 0.05
_NOT_READ = object()


class Protocol(connection.Protocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user: Any = _NOT_READ
        self._lost: list[Callable[[], None]] = []
        self._head_bytes = 0
        self._head: tuple[Any, float] | None = None
        self._writable: Callable[[], None] | None = None

    # --- answers

    async def respond(self, cycle: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes | Pieces) -> None:
        """A whole answer, in one write when it is small: head and body apart are two TLS records and two system calls.

        ``cycle`` is uvicorn's object of the request (requests may be pipelined); this is its ``send`` for this one case.
        """
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        parts = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if cycle.scope["method"] == "HEAD":
            self.transport.write(b"".join(parts))
        elif isinstance(body, bytes):
            parts.append(body)
            self.transport.write(b"".join(parts))
        else:
            cycle.response_started = True
            self.transport.write(b"".join(parts))
            for piece in body:
                if self.flow.write_paused and not cycle.disconnected:
                    await self.flow.drain()
                if cycle.disconnected:
                    return
                self.transport.write(piece)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    # --- watches

    def push(self, data: bytes) -> bool:
        """Write a chunk of the answer under way past ASGI; False while the client is not taking any."""
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        """Call back each time the client has caught up."""
        self._writable = callback

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writable is not None:
            self._writable()

    # --- requests

    def user(self, read: Callable[[Any], User | None]) -> User | None:
        """Who the verified client certificate names; read once, for it cannot change."""
        if self._user is _NOT_READ:
            self._user = read(self.transport.get_extra_info("ssl_object"))
        found: User | None = self._user
        return found

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call back when the connection is gone, while the current request lasts."""
        if self.transport.is_closing():
            callback()
        else:
            self._lost.append(callback)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        lost, self._lost = self._lost, []
        for callback in lost:
            callback()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._lost = []
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count_head(len(name) + len(value))

    def overdue(self, now: float) -> bool:
        """Whether the client has been sending one head, or nothing at all yet, since long ago; asked now and then.

        uvicorn makes a scope when a head begins, and puts the method in when it is complete: requests pay nothing for this.
        """
        scope = self.scope
        if scope is not None and "method" in scope:
            return False
        if self._head is None or self._head[0] is not scope:
            self._head = (scope, now)
        return now - self._head[1] >= HEAD_SECONDS

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()


class Server(connection.Server):
    """Tells the time in its answers, and shuts down in order."""

    async def main_loop(self) -> None:
        """uvicorn looks ten times a second whether to exit; an idle API server should sleep."""
        look_at = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= look_at:
                self._drop_overdue()
                look_at = time.monotonic() + LOOK_SECONDS
            self.server_state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stop.wait()

    def _drop_overdue(self) -> None:
        """Without this, whoever sends heads letter by letter would hold connections for ever."""
        now = time.monotonic()
        connections: list[Any] = list(self.server_state.connections)
        for open_one in connections:
            if open_one.overdue(now):
                open_one.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is under way; then connections are cut, for a client that idles never answers a TLS goodbye."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        state = self.server_state
        for open_one in list(state.connections):
            open_one.shutdown()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_GRACE_SECONDS)
        for task in state.tasks:
            task.cancel()
        # One turn of the loop for what has just been written.
        await asyncio.sleep(_LAST_WRITE_SECONDS)
        for open_one in list(state.connections):
            open_one.transport.abort()


def build(app: Any, cert_file: str, key_file: str, client_ca_file: str) -> Server:
    """A server for the application that asks clients for a certificate but also takes those that have none."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=4096,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ssl_certfile=cert_file,
        ssl_keyfile=key_file,
        ssl_ca_certs=client_ca_file,
        ssl_cert_reqs=ssl.CERT_OPTIONAL,
    )
    return Server(config)
