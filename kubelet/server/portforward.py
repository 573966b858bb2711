"""port-forward: bytes between a client's streams and ports inside a pod's network, by SPDY or by WebSocket channels."""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from kubelet.cri.api import RuntimeServiceError
from kubelet.server.spdyconnection import SpdyConnection, Stream
from kubelet.server.websocket import WebSocket

log = logging.getLogger(__name__)

SPDY_PROTOCOL = "portforward.k8s.io"
#: SPDY inside WebSocket messages: what kubectl speaks since 1.31.
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
WEBSOCKET_PROTOCOLS = ("v4.channel.k8s.io", "portforward.k8s.io", "")
_CHUNK = 32 * 1024

Connect = Callable[[int], Awaitable[Any]]  # port -> (StreamReader, StreamWriter)


async def serve_spdy(connection: SpdyConnection, connect: Connect) -> None:
    """Each connection of the client's is a pair of streams with one request id: errors, and data."""
    waiting: dict[str, dict[str, Stream]] = {}
    running: set[asyncio.Task[None]] = set()
    reading = asyncio.create_task(connection.run())
    try:
        async for stream in connection.opened():
            request = stream.headers.get("requestid", "")
            pair = waiting.setdefault(request, {})
            pair[stream.headers.get("streamtype", "")] = stream
            if "data" in pair and "error" in pair:
                del waiting[request]
                task = asyncio.create_task(_forward_pair(connection, pair["data"], pair["error"], connect))
                running.add(task)
                task.add_done_callback(running.discard)
    finally:
        for task in (*running, reading):
            task.cancel()
        await asyncio.gather(*running, reading, return_exceptions=True)


async def _forward_pair(connection: SpdyConnection, data: Stream, error: Stream, connect: Connect) -> None:
    port = data.headers.get("port", "")
    try:
        reader, writer = await connect(int(port))
    except (RuntimeServiceError, ValueError, OSError) as failure:
        text = f"error forwarding port {port} to pod: {failure}"
        log.info("%s", text)
        await error.write(text.encode())
        await data.end()
        await error.end()
        return
    try:
        await _join(data.read(), data.write, data.end, reader, writer)
        await error.end()
    finally:
        writer.close()
        connection.forget(data)
        connection.forget(error)


async def _join(
    source: AsyncIterator[bytes],
    write: Callable[[bytes], Awaitable[None]],
    end: Callable[[], Awaitable[None]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Both ways, each until its own end; the server's end ends it all, as upstream has it."""

    async def to_pod() -> None:
        async for data in source:
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    sending = asyncio.create_task(to_pod())
    try:
        while data := await reader.read(_CHUNK):
            await write(data)
    except OSError as error:
        log.debug("port-forward: %s", error)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await end()


async def serve_websocket(socket: WebSocket, ports: list[int], connect: Connect) -> None:
    """Two channels a port, 2i for data and 2i+1 for errors; each begins with the port's number."""
    sources: list[asyncio.Queue[bytes | None]] = [asyncio.Queue(64) for _ in ports]
    tasks = [asyncio.create_task(_forward_channel(socket, i, p, sources[i], connect)) for i, p in enumerate(ports)]
    try:
        async for message in socket.messages():
            channel = message[0] if message else -1
            if 0 <= channel < 2 * len(ports) and channel % 2 == 0 and len(message) > 1:
                await sources[channel // 2].put(message[1:])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()


async def _forward_channel(
    socket: WebSocket, index: int, port: int, source: "asyncio.Queue[bytes | None]", connect: Connect
) -> None:
    data, errors = bytes([2 * index]), bytes([2 * index + 1])
    number = struct.pack("<H", port)
    await socket.send(data + number)
    await socket.send(errors + number)
    try:
        reader, writer = await connect(port)
    except (RuntimeServiceError, OSError) as failure:
        await socket.send(errors + f"error forwarding port {port} to pod: {failure}".encode())
        return

    async def received() -> AsyncIterator[bytes]:
        while (chunk := await source.get()) is not None:
            yield chunk

    async def write(chunk: bytes) -> None:
        await socket.send(data + chunk)

    try:
        await _join(received(), write, socket.close, reader, writer)
    finally:
        writer.close()
