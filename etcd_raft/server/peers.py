"""The wire between members: one connection to each of the others, over which we send; theirs to us, over which we receive.

A connection starts with a greeting (who speaks, to whom, of which cluster), so that a member of another cluster, or one that
has been removed, is told so instead of being heard. Then frames: ``length u32 | kind u8 | body``. A Raft message is sent and
forgotten (Raft itself repeats what matters); a call has an answer; a snapshot goes over a connection of its own.
"""

import asyncio
import json
import logging
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from etcd_raft.histogram import NETWORK, Histogram
from etcd_raft.raft.codec import decode_message, encode_message
from etcd_raft.raft.messages import Message, MessageType
from etcd_raft.server.config import TLS, address

log = logging.getLogger(__name__)

_FRAME = struct.Struct("<IB")
_CALL = struct.Struct("<I")
_HELLO, _WELCOME, _RAFT, _REQUEST, _RESPONSE, _SNAPSHOT = range(6)
_MAX_FRAME = 128 << 20
# Beyond this much unsent, a peer counts as unreachable: Raft sends again what it still needs.
_MAX_BUFFERED = 32 << 20
_CHUNK = 1 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_CONNECT_SECONDS = 3.0
_UNANSWERED_MS = 5_000
_VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}
_PROBE_SECONDS = 5.0


class PeerError(Exception):
    """A call to another member failed; the text says why."""


def server_context(tls: TLS) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.ca:
        context.load_verify_locations(tls.ca)
    if tls.client_auth:
        context.verify_mode = ssl.CERT_REQUIRED
    if tls.ciphers:
        context.set_ciphers(tls.ciphers)
    lowest, highest = tls.versions
    if lowest:
        context.minimum_version = _VERSIONS[lowest]
    if highest:
        context.maximum_version = _VERSIONS[highest]
    return context


def client_context(tls: TLS) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key)
    return context


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    length, kind = _FRAME.unpack(await reader.readexactly(_FRAME.size))
    if length > _MAX_FRAME:
        raise PeerError(f"a frame of {length} bytes is longer than any member sends")
    return kind, await reader.readexactly(length)


def _frame(kind: int, body: bytes) -> bytes:
    return _FRAME.pack(len(body), kind) + body


class Peer:
    """The connection to one other member: dialled for ever, used while it is up."""

    def __init__(self, owner: "Transport", id: int, urls: list[str]) -> None:
        self._owner = owner
        self.id = id
        self.urls = urls
        self.connected = False
        self.sent_bytes = self.received_bytes = self.send_failures = 0
        self.round_trips = Histogram(NETWORK)
        self._writer: asyncio.StreamWriter | None = None
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._next_call = 0
        self._task = asyncio.create_task(self._run(), name=f"peer-{id:x}")

    def send(self, frames: bytes) -> bool:
        """Hand frames to the kernel, or drop them: whether they are on their way."""
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > _MAX_BUFFERED:
            self.send_failures += 1
            return False
        self.sent_bytes += len(frames)
        writer.write(frames)
        return True

    async def call(self, method: str, body: Any, timeout: float) -> Any:
        if self._writer is None:
            raise PeerError(f"member {self.id:x} is not reachable")
        self._next_call += 1
        number = self._next_call
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self.send(_frame(_REQUEST, _CALL.pack(number) + json.dumps([method, body]).encode()))
            async with asyncio.timeout(timeout):
                reply = json.loads(await future)
        except TimeoutError:
            raise PeerError(f"member {self.id:x} did not answer {method} in {timeout:g} s") from None
        finally:
            self._calls.pop(number, None)
        if reply.get("error"):
            raise PeerError(reply["error"])
        return reply.get("value")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause, turn = _FIRST_PAUSE, 0
        while True:
            url = self.urls[turn % len(self.urls)]
            turn += 1
            try:
                reader, writer = await self._owner.dial(url, self.id)
            except (OSError, PeerError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.debug("cannot reach member %x at %s: %s", self.id, url, error)
                if isinstance(error, ConnectionRefusedError):
                    self._owner.gone(self.id)  # the host answers and nobody listens: the process is not there
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._writer, self.connected = writer, True
            self._owner.on_connected(self.id)
            try:
                await self._read_answers(reader)
            except (OSError, asyncio.IncompleteReadError, PeerError) as error:
                log.debug("lost member %x: %s", self.id, error)
            finally:
                self._writer, self.connected = None, False
                writer.close()
                for future in self._calls.values():
                    if not future.done():
                        future.set_exception(PeerError(f"lost the connection to member {self.id:x}"))
                self._owner.lost(self.id)

    async def _read_answers(self, reader: asyncio.StreamReader) -> None:
        while True:
            kind, body = await _read_frame(reader)
            if kind == _RESPONSE:
                (number,) = _CALL.unpack_from(body)
                future = self._calls.get(number)
                if future is not None and not future.done():
                    future.set_result(body[_CALL.size :])


class Transport:
    """All connections of a member.

    ``deliver`` takes Raft messages, ``answer`` answers calls (``method, body -> value``), ``deliver_snapshot`` takes a message
    with the file that came with it, ``removed`` is told that the others have removed this member.
    """

    def __init__(self, *, id: int, cluster: Callable[[], int], tls: TLS, folder: Path) -> None:
        self.id = id
        self.cluster = cluster
        self.folder = folder
        self._tls = tls
        self._client_context: ssl.SSLContext | None = None
        self.peers: dict[int, Peer] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._incoming: set[asyncio.StreamWriter] = set()
        self.deliver: Callable[[Message], None] = lambda message: None
        self.deliver_snapshot: Callable[[Message, Path], None] = lambda message, path: None
        self.answer: Callable[[str, Any], Awaitable[Any]] | None = None
        self.is_removed: Callable[[int], bool] = lambda id: False
        self.removed: Callable[[], None] = lambda: None
        self.copy_state: Callable[[Path], Awaitable[Message]] | None = None
        self.on_connected: Callable[[int], None] = lambda id: None
        self.gone: Callable[[int], None] = lambda id: None
        self.snapshots_in_flight = 0

    # ---- out

    async def listen(self, urls: Iterable[str]) -> None:
        for url in urls:
            host, port = address(url)
            context = server_context(self._tls) if url.startswith("https") else None
            self._servers.append(await asyncio.start_server(self._accept, host, port, ssl=context))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(peer.close() for peer in self.peers.values()), return_exceptions=True)
        for writer in list(self._incoming):
            writer.close()

    def set_peers(self, members: dict[int, list[str]]) -> None:
        """Who there is besides us, and where."""
        for id in set(self.peers) - set(members):
            self._spawn(self.peers.pop(id).close())
        for id, urls in members.items():
            if id == self.id:
                continue
            if id in self.peers:
                self.peers[id].urls = urls
            else:
                self.peers[id] = Peer(self, id, urls)

    def send(self, messages: list[Message]) -> None:
        """Send Raft messages: those to one peer together. A message that cannot go is reported, not kept."""
        frames: dict[int, list[bytes]] = {}
        for message in messages:
            if message.type == MessageType.SNAPSHOT:
                self.snapshots_in_flight += 1
                self._spawn(self._send_snapshot(message))
            else:
                frames.setdefault(message.to, []).append(_frame(_RAFT, encode_message(message)))
        for id, parts in frames.items():
            peer = self.peers.get(id)
            if peer is not None and not peer.send(b"".join(parts)):
                self.deliver(Message(MessageType.UNREACHABLE, sender=id))

    async def probe(self) -> None:
        """Measure the way to each member and back, for ever."""
        pause = 1.0  # the first soon, so that there is something to see
        while True:
            await asyncio.sleep(pause)
            pause = _PROBE_SECONDS
            for peer in list(self.peers.values()):
                started = time.monotonic()
                try:
                    await peer.call("ping", None, _PROBE_SECONDS)
                except PeerError as error:
                    log.debug("no round trip to member %x: %s", peer.id, error)
                else:
                    peer.round_trips.observe(time.monotonic() - started)

    def lost(self, id: int) -> None:
        self.deliver(Message(MessageType.UNREACHABLE, sender=id))

    async def call(self, id: int, method: str, body: Any, timeout: float) -> Any:
        """Ask another member; raises ``PeerError``."""
        peer = self.peers.get(id)
        if peer is None:
            raise PeerError(f"member {id:x} is not known")
        return await peer.call(method, body, timeout)

    async def ask(self, url: str, method: str, body: Any) -> Any:
        """Ask whoever is at ``url``, before we are a member of anything."""
        reader, writer = await self.dial(url, 0)
        try:
            writer.write(_frame(_REQUEST, _CALL.pack(0) + json.dumps([method, body]).encode()))
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, answer = await _read_frame(reader)
        finally:
            writer.close()
        reply = json.loads(answer[_CALL.size :])
        if reply.get("error"):
            raise PeerError(reply["error"])
        return reply.get("value")

    async def dial(self, url: str, to: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = address(url)
        context: ssl.SSLContext | None = None
        if url.startswith("https"):
            context = self._client_context = self._client_context or client_context(self._tls)
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            # As etcd's deadlines on peers: without it TCP repeats what a partition swallows ever more seldom, and for a while after
            # the partition has ended nothing is heard.
            connected = writer.get_extra_info("socket")
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
            try:
                hello = {"cluster": self.cluster(), "from": self.id, "to": to}
                writer.write(_frame(_HELLO, json.dumps(hello).encode()))
                kind, body = await _read_frame(reader)
                reply = json.loads(body)
                if kind != _WELCOME or reply.get("error"):
                    if reply.get("removed"):
                        self.removed()
                    raise PeerError(reply.get("error") or "the other side is no member")
            except BaseException:
                writer.close()
                raise
        return reader, writer

    async def _send_snapshot(self, message: Message) -> None:
        """Copy the state as it is now and stream it; what the copy holds is what the message then says."""
        path = self.folder / f"outgoing-{message.to:x}-{self.snapshots_in_flight}.tmp"
        delivered = False
        try:
            assert self.copy_state is not None
            about = await self.copy_state(path)
            message.snapshot = about.snapshot
            peer = self.peers.get(message.to)
            if peer is not None:
                await self._stream_file(peer, message, path)
                delivered = True
        except (OSError, PeerError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.warning("could not send the state to member %x: %s", message.to, error)
        finally:
            self.snapshots_in_flight -= 1
            path.unlink(missing_ok=True)
        self.deliver(Message(MessageType.SNAPSHOT_STATUS, sender=message.to, reject=not delivered))

    async def _stream_file(self, peer: Peer, message: Message, path: Path) -> None:
        reader, writer = await self.dial(peer.urls[0], peer.id)
        try:
            size = path.stat().st_size
            head = encode_message(message)
            writer.write(_frame(_SNAPSHOT, size.to_bytes(8, "little") + head))
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    writer.write(chunk)
                    await asyncio.wait_for(writer.drain(), 30)
            await asyncio.wait_for(_read_frame(reader), 60)  # it says when it has all of it on disk
        finally:
            writer.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- in

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._incoming.add(writer)
        try:
            refusal = await self._greet(reader, writer)
            if refusal is None:
                await self._receive(reader, writer)
        except (OSError, asyncio.IncompleteReadError, PeerError, ValueError, struct.error) as error:
            log.debug("incoming peer connection ended: %s", error)
        finally:
            self._incoming.discard(writer)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            kind, body = await _read_frame(reader)
        if kind != _HELLO:
            raise PeerError("no greeting")
        hello = json.loads(body)
        reply: dict[str, Any] = {}
        asking = hello["to"] == 0  # somebody who wants to join asks who we are
        if not asking and hello["cluster"] != self.cluster():
            reply["error"] = f"cluster ID mismatch: {hello['cluster']:x} spoke to {self.cluster():x}"
        elif not asking and hello["to"] != self.id:
            reply["error"] = f"this is member {self.id:x}, not {hello['to']:x}"
        elif self.is_removed(hello["from"]):
            reply["error"] = f"member {hello['from']:x} has been removed from the cluster"
            reply["removed"] = True
        writer.write(_frame(_WELCOME, json.dumps(reply).encode()))
        await writer.drain()
        return reply.get("error")

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, body = await _read_frame(reader)
            if kind == _RAFT:
                message = decode_message(body)
                if (peer := self.peers.get(message.sender)) is not None:
                    peer.received_bytes += _FRAME.size + len(body)
                if self.is_removed(message.sender):
                    raise PeerError(f"member {message.sender:x} has been removed")  # it dials again and is told so
                self.deliver(message)
            elif kind == _REQUEST:
                self._spawn(self._answer(body, writer))
            elif kind == _SNAPSHOT:
                await self._receive_snapshot(body, reader, writer)

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        number = body[: _CALL.size]
        method, argument = json.loads(body[_CALL.size :])
        try:
            assert self.answer is not None
            reply = {"value": await self.answer(method, argument)}
        except Exception as error:  # whatever it is, the one who asked has to hear it
            reply = {"error": str(error) or type(error).__name__}
        writer.write(_frame(_RESPONSE, number + json.dumps(reply).encode()))

    async def _receive_snapshot(self, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import os

        size = int.from_bytes(body[:8], "little")
        message = decode_message(body[8:])
        assert message.snapshot is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"incoming-{message.snapshot.index:016x}.tmp"
        with partial.open("wb") as file:
            while size:
                chunk = await reader.readexactly(min(size, _CHUNK))
                file.write(chunk)
                size -= len(chunk)
            file.flush()
            os.fsync(file.fileno())
        whole = self.folder / f"{message.snapshot.index:016x}.snap.db"
        partial.rename(whole)
        writer.write(_frame(_RESPONSE, _CALL.pack(0) + b"{}"))
        self.deliver_snapshot(message, whole)
