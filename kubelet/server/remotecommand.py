"""exec and attach between a session in the runtime and a client: one pump, two wire formats.

Both formats carry the same five streams (stdin, stdout, stderr, error, resize): as SPDY streams, or as WebSocket messages that
begin with the stream's number.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from kubelet.cri.api import ExecSession
from kubelet.server.spdyconnection import SpdyConnection, Stream
from kubelet.server.websocket import WebSocket, WebSocketError

log = logging.getLogger(__name__)

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CLOSE_CHANNEL = 255  # v5: "this stream of mine has ended", the number follows
_OPEN_SECONDS = 30.0  # as upstream's streamCreationTimeout
_NAMES = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", ERROR: "error", RESIZE: "resize"}

#: Best first. v1 to v3 of SPDY differ in the error stream: only v4 and v5 carry a Status there.
SPDY_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io")


@dataclass(slots=True)
class Wanted:
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Streams(Protocol):
    def incoming(self) -> AsyncIterator[tuple[int, bytes | None]]:
        """``(STDIN, bytes)``, ``(STDIN, None)`` at its end, ``(RESIZE, json)``; ends when the client is gone."""
        ...

    async def write(self, stream: int, data: bytes) -> None: ...
    async def close(self) -> None: ...


class WebSocketStreams:
    def __init__(self, socket: WebSocket, protocol: str, wanted: Wanted) -> None:
        self._socket, self._wanted = socket, wanted
        self._base64, self._v5 = "base64" in protocol, protocol.startswith("v5")

    async def open(self) -> None:
        """Upstream greets with an empty message on every stream that it writes to."""
        asked = {STDOUT: self._wanted.stdout, STDERR: self._wanted.stderr, ERROR: True}
        for stream in (STDOUT, STDERR, ERROR):
            if asked[stream]:
                await self.write(stream, b"")

    async def incoming(self) -> AsyncIterator[tuple[int, bytes | None]]:
        import base64

        try:
            async for message in self._socket.messages():
                if not message:
                    continue
                number = message[0] - 48 if self._base64 else message[0]
                data = base64.b64decode(message[1:]) if self._base64 else message[1:]
                if number == _CLOSE_CHANNEL and self._v5:
                    if data == bytes([STDIN]):
                        yield STDIN, None
                elif number in (STDIN, RESIZE):
                    yield number, data
        except (WebSocketError, ValueError) as error:
            log.info("exec: %s", error)

    async def write(self, stream: int, data: bytes) -> None:
        import base64

        if self._base64:
            await self._socket.send(bytes([48 + stream]) + base64.b64encode(data), kind=1)
        else:
            await self._socket.send(bytes([stream]) + data)

    async def close(self) -> None:
        await self._socket.close()


class SpdyStreams:
    """``open`` first: it waits until the client has opened the streams that it asked for."""

    def __init__(self, connection: SpdyConnection, wanted: Wanted) -> None:
        self._connection = connection
        self._wanted = wanted
        self._streams: dict[str, Stream] = {}

    async def open(self) -> None:
        wanted = self._wanted
        names = {"error"}
        names |= {n for n, asked in (("stdin", wanted.stdin), ("stdout", wanted.stdout)) if asked}
        if wanted.stderr and not wanted.tty:
            names.add("stderr")
        async with asyncio.timeout(_OPEN_SECONDS):
            async for stream in self._connection.opened():
                self._streams[stream.headers.get("streamtype", "")] = stream
                if names <= self._streams.keys():
                    return
        raise ConnectionResetError("the client left before it opened its streams")

    async def incoming(self) -> AsyncIterator[tuple[int, bytes | None]]:
        merged: asyncio.Queue[tuple[int, bytes | None] | None] = asyncio.Queue(64)

        async def pump(number: int, stream: Stream) -> None:
            async for data in stream.read():
                await merged.put((number, data))
            if number == STDIN:
                await merged.put((STDIN, None))

        async def rest() -> None:
            """The client opens the resize stream last, or not at all; no more streams means that it is gone."""
            async for stream in self._connection.opened():
                if stream.headers.get("streamtype") == "resize":
                    tasks.append(asyncio.create_task(pump(RESIZE, stream)))
            await merged.put(None)

        tasks = [asyncio.create_task(rest())]
        for number in (STDIN, RESIZE):
            if _NAMES[number] in self._streams:
                tasks.append(asyncio.create_task(pump(number, self._streams[_NAMES[number]])))
        try:
            while (item := await merged.get()) is not None:
                yield item
        finally:
            for task in tasks:
                task.cancel()

    async def write(self, stream: int, data: bytes) -> None:
        found = self._streams.get(_NAMES[stream])
        if found is not None and data:
            await found.write(data)

    async def close(self) -> None:
        for stream in self._streams.values():
            await stream.end()


async def serve(
    session: ExecSession, streams: Streams, wanted: Wanted, *, status: bool, exit_code: bool = True
) -> None:
    """Pump until the session ends or the client is gone. ``status``: tell the end as a Status (v4 and later).

    Without ``exit_code`` every end is a success: an attach has succeeded when its container ends, however that does.
    """
    finished = asyncio.create_task(_pump_out(session, streams, wanted, status, exit_code))
    fed = asyncio.create_task(_pump_in(session, streams))
    try:
        await asyncio.wait((finished, fed), return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            # Nobody reads any more: what was started for this client ends with it.
            await session.kill()
        await finished
    except OSError as error:
        log.debug("client left: %s", error)
        await session.kill()
    finally:
        for task in (finished, fed):
            task.cancel()
        await asyncio.gather(finished, fed, return_exceptions=True)


async def _pump_in(session: ExecSession, streams: Streams) -> None:
    async for number, data in streams.incoming():
        try:
            if number == RESIZE:
                size = orjson.loads(data or b"{}")
                await session.resize(int(size["Width"]), int(size["Height"]))
            elif data is None:
                await session.close_stdin()
            else:
                await session.write_stdin(data)
        except BrokenPipeError:
            continue  # it does not read its input; that is its right
        except (ValueError, KeyError, TypeError):
            log.info("exec: a terminal size that is none")


async def _pump_out(session: ExecSession, streams: Streams, wanted: Wanted, status: bool, exit_code: bool) -> None:
    async for number, data in session.output():
        if (number == STDOUT and wanted.stdout) or (number == STDERR and wanted.stderr):
            await streams.write(number, data)
    code = await session.wait() if exit_code else 0
    if status:
        await streams.write(ERROR, orjson.dumps(exit_status(code)))
    elif code:
        await streams.write(ERROR, f"error executing remote command: exit code {code}".encode())
    await streams.close()


def exit_status(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure_status(message: str) -> dict[str, Any]:
    text = f"Internal error occurred: {message}"
    return {"metadata": {}, "status": "Failure", "message": text, "reason": "InternalError", "code": 500}
