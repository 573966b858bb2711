"""The routes that leave HTTP: exec, attach and port-forward, by WebSocket or SPDY/3.1, whichever the client asks for."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from kubelet.cri.api import ExecSession, RuntimeServiceError
from kubelet.server import portforward, remotecommand
from kubelet.server.lookup import Refused, find, running_container
from kubelet.server.remotecommand import SpdyStreams, Wanted, WebSocketStreams
from kubelet.server.spdyconnection import SpdyConnection
from kubelet.server.websocket import WebSocket, handshake

if TYPE_CHECKING:
    from kubelet.agent import Kubelet

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
OpenSession = Callable[[Wanted], Awaitable[ExecSession]]
_CHUNK = 64 * 1024


class _Taken(Response):
    """Answers nothing: the connection belongs to somebody else now."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        return


def exec(kubelet: "Kubelet") -> Handler:
    async def handler(request: Request) -> Response:
        pod, container = find(kubelet, request)
        container_id = running_container(kubelet, pod, container["name"])
        command = request.query_params.getlist("command")
        if not command:
            raise Refused(400, "you must specify at least 1 command for the container")
        wanted = _wanted(request)

        async def open_session(wanted: Wanted) -> ExecSession:
            return await kubelet.runtime.exec(container_id, command, stdin=wanted.stdin, tty=wanted.tty)

        return await _serve(request, wanted, open_session)

    return handler


def attach(kubelet: "Kubelet") -> Handler:
    async def handler(request: Request) -> Response:
        pod, container = find(kubelet, request)
        container_id = running_container(kubelet, pod, container["name"])
        wanted = _wanted(request)

        async def open_session(wanted: Wanted) -> ExecSession:
            return await kubelet.runtime.attach(container_id, stdin=wanted.stdin, tty=wanted.tty)

        return await _serve(request, wanted, open_session, exit_code=False)

    return handler


def port_forward(kubelet: "Kubelet") -> Handler:
    async def handler(request: Request) -> Response:
        workers = kubelet.workers
        parts = request.path_params
        pod = workers.pod(parts["namespace"], parts["pod"]) if workers is not None else None
        if pod is None:
            raise Refused(404, f'pod "{parts["pod"]}" not found\n')
        ready = kubelet.cache.pod(pod["metadata"]["uid"]).ready_sandboxes
        if not ready:
            raise Refused(500, f'pod "{parts["pod"]}" has no running sandbox')

        async def connect(port: int) -> Any:
            return await kubelet.runtime.port_forward(ready[0].id, port)

        return await _serve_ports(request, connect)

    return handler


# --- negotiation ------------------------------------------------------------------------------------------------


def _wanted(request: Request) -> Wanted:
    def flag(name: str) -> bool:
        return request.query_params.get(name, "").lower() in ("1", "true", "t")

    wanted = Wanted(flag("input"), flag("output"), flag("error"), flag("tty"))
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")
    if wanted.tty and wanted.stderr:
        wanted.stderr = False  # a terminal has one output
    return wanted


def _upgrade(request: Request) -> str:
    if "upgrade" not in request.headers.get("connection", "").lower():
        raise Refused(400, "Upgrade request required")
    return request.headers.get("upgrade", "").lower()


def _offered(request: Request, header: str) -> list[str]:
    return [part.strip() for value in request.headers.getlist(header) for part in value.split(",") if part.strip()]


def _choose(offered: Iterable[str], supported: Iterable[str]) -> str | None:
    offered = set(offered)
    return next((protocol for protocol in supported if protocol in offered), None)


def _take_websocket(request: Request, protocol: str) -> tuple[WebSocket, asyncio.StreamWriter]:
    reader, writer = request.scope["connection"].take_over()
    writer.write(handshake(request.headers.get("sec-websocket-key", ""), protocol))
    return WebSocket(reader, writer), writer


def _take_spdy(request: Request, protocol: str) -> tuple[SpdyConnection, asyncio.StreamWriter]:
    reader, writer = request.scope["connection"].take_over()
    head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    writer.write(f"{head}X-Stream-Protocol-Version: {protocol}\r\n\r\n".encode())

    async def source() -> AsyncIterator[bytes]:
        while data := await reader.read(_CHUNK):
            yield data

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return SpdyConnection(source(), write), writer


def _no_protocol(offered: list[str], supported: Iterable[str]) -> Refused:
    return Refused(
        403,
        f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts {list(supported)}",
    )


# --- exec and attach --------------------------------------------------------------------------------------------


async def _serve(request: Request, wanted: Wanted, open_session: OpenSession, *, exit_code: bool = True) -> Response:
    upgrade = _upgrade(request)
    if upgrade == "websocket":
        offered = _offered(request, "sec-websocket-protocol")
        supported: tuple[str, ...] = remotecommand.WEBSOCKET_PROTOCOLS
        protocol = _choose(offered, supported) if offered else ""
        if protocol is None:
            raise _no_protocol(offered, supported)
        socket, writer = _take_websocket(request, protocol)
        streams: Any = WebSocketStreams(socket, protocol, wanted)
        reading = None
    elif upgrade == "spdy/3.1":
        offered = _offered(request, "x-stream-protocol-version")
        supported = remotecommand.SPDY_PROTOCOLS
        protocol = _choose(offered, supported) if offered else "channel.k8s.io"
        if protocol is None:
            raise _no_protocol(offered, supported)
        connection, writer = _take_spdy(request, protocol)
        streams = SpdyStreams(connection, wanted)
        reading = asyncio.create_task(connection.run())
    else:
        raise Refused(400, f"unable to upgrade: unknown protocol {upgrade!r}")
    status = protocol.startswith(("v4", "v5"))
    try:
        await streams.open()
        await _run_session(streams, wanted, open_session, status=status, exit_code=exit_code)
    except (OSError, TimeoutError) as error:
        log.info("%s: %s", request.url.path, error)
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        writer.close()
    return _Taken()


async def _run_session(
    streams: Any, wanted: Wanted, open_session: OpenSession, *, status: bool, exit_code: bool
) -> None:
    try:
        session = await open_session(wanted)
    except RuntimeServiceError as error:
        text = f"error executing command in container: {error}"
        told = orjson.dumps(remotecommand.failure_status(text)) if status else text.encode()
        await streams.write(remotecommand.ERROR, told)
        await streams.close()
        return
    await remotecommand.serve(session, streams, wanted, status=status, exit_code=exit_code)


# --- port-forward -----------------------------------------------------------------------------------------------


async def _serve_ports(request: Request, connect: portforward.Connect) -> Response:
    upgrade = _upgrade(request)
    if upgrade == "spdy/3.1":
        offered = _offered(request, "x-stream-protocol-version")
        if offered and portforward.SPDY_PROTOCOL not in offered:
            raise _no_protocol(offered, [portforward.SPDY_PROTOCOL])
        connection, writer = _take_spdy(request, portforward.SPDY_PROTOCOL)
        work = portforward.serve_spdy(connection, connect)
    elif upgrade == "websocket":
        offered = _offered(request, "sec-websocket-protocol")
        if portforward.TUNNEL_PROTOCOL in offered:
            socket, writer = _take_websocket(request, portforward.TUNNEL_PROTOCOL)
            work = portforward.serve_spdy(SpdyConnection(socket.messages(), socket.send), connect)
        else:
            protocol = _choose(offered, portforward.WEBSOCKET_PROTOCOLS) if offered else ""
            ports = _ports(request)
            if protocol is None:
                raise _no_protocol(offered, (portforward.TUNNEL_PROTOCOL, *portforward.WEBSOCKET_PROTOCOLS))
            socket, writer = _take_websocket(request, protocol)
            work = portforward.serve_websocket(socket, ports, connect)
    else:
        raise Refused(400, f"unable to upgrade: unknown protocol {upgrade!r}")
    try:
        await work
    finally:
        writer.close()
    return _Taken()


def _ports(request: Request) -> list[int]:
    try:
        ports = [int(p) for value in request.query_params.getlist("port") for p in value.split(",")]
    except ValueError:
        ports = []
    if not ports or any(not 0 < port < 65536 for port in ports):
        raise Refused(400, "query parameter 'port' is required: numbers between 1 and 65535")
    return ports
