"""Carries bytes between clients and endpoints: TCP connections and UDP flows."""

import asyncio
import contextlib
import logging
from typing import Any

from proxy.balancer import Balancer

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_CONNECT_SECONDS = 2.0
#: A UDP client that is silent for so long is forgotten.
UDP_IDLE_SECONDS = 60.0
_MAX_UDP_CLIENTS = 1024

Address = tuple[str, int]


class TcpRelay:
    """Listens on one address for one Service port. Connections outlive the endpoint's place in the Service, as they do
    with iptables."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Raises OSError when the address cannot be had."""
        self._server = await asyncio.start_server(self._accept, host, port, backlog=512)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client_ip = writer.get_extra_info("peername")[0]
        backend: asyncio.StreamWriter | None = None
        try:
            connected = await self._connect(client_ip)
            if connected is None:
                # No endpoint: a reset is as near as we come to a refused connection.
                writer.transport.abort()
                return
            backend_reader, backend = connected
            await asyncio.gather(_pump(reader, backend), _pump(backend_reader, writer))
        except OSError as error:
            log.debug("connection of %s ended: %s", client_ip, error)
        finally:
            for end in (writer, backend):
                if end is not None:
                    end.close()

    async def _connect(self, client_ip: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for endpoint in self._balancer.choices(client_ip):
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connection = await asyncio.open_connection(endpoint.ip, endpoint.port)
            except (OSError, TimeoutError) as error:
                log.info("%s does not answer: %s", endpoint.address, error or "timed out")
                continue
            self._balancer.used(client_ip, endpoint)
            return connection
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the sender has ended its half; the other direction goes on."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        with contextlib.suppress(OSError):  # the other end has closed altogether
            writer.write_eof()


class UdpRelay(asyncio.DatagramProtocol):
    """Listens on one address; each client gets a socket of its own towards its endpoint, so that answers find back."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: dict[Address, _UdpFlow] = {}
        self._opening: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for task in self._opening:
            task.cancel()
        for flow in list(self._flows.values()):
            flow.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        flow = self._flows.get(addr)
        if flow is None:
            if len(self._flows) >= _MAX_UDP_CLIENTS:
                log.warning("datagram of %s dropped: %d clients already", addr[0], len(self._flows))
                return
            flow = self._flows[addr] = _UdpFlow(self, addr)
            task = asyncio.ensure_future(self._open(flow, addr))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        flow.send(data)

    async def _open(self, flow: "_UdpFlow", client: Address) -> None:
        choices = self._balancer.choices(client[0])
        if not choices:
            flow.close()
            return
        endpoint = choices[0]
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: flow, remote_addr=(endpoint.ip, endpoint.port)
            )
        except OSError as error:
            log.info("%s cannot be reached: %s", endpoint.address, error)
            flow.close()
            return
        flow.endpoint = endpoint.address
        self._balancer.used(client[0], endpoint)

    def answer(self, data: bytes, client: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, client)

    def drop_flows_to_others(self, addresses: set[str]) -> None:
        """Flows whose endpoint is gone start anew, with another one."""
        for flow in list(self._flows.values()):
            if flow.endpoint and flow.endpoint not in addresses:
                flow.close()

    def forget(self, client: Address) -> None:
        self._flows.pop(client, None)


class _UdpFlow(asyncio.DatagramProtocol):
    _MAX_WAITING = 16

    def __init__(self, relay: UdpRelay, client: Address) -> None:
        self._relay, self._client = relay, client
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: list[bytes] = []
        self._closed = False
        self.endpoint = ""
        self._idle = asyncio.get_running_loop().call_later(UDP_IDLE_SECONDS, self.close)

    def connection_made(self, transport: Any) -> None:
        if self._closed:
            transport.close()
            return
        self._transport = transport
        for data in self._waiting:
            transport.sendto(data)
        self._waiting.clear()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._busy()
        self._relay.answer(data, self._client)

    def error_received(self, exc: Exception) -> None:
        # The endpoint's port is closed: let the client's next datagram try another.
        self.close()

    def send(self, data: bytes) -> None:
        self._busy()
        if self._transport is not None:
            self._transport.sendto(data)
        elif len(self._waiting) < self._MAX_WAITING:
            self._waiting.append(data)

    def _busy(self) -> None:
        self._idle.cancel()
        if not self._closed:
            self._idle = asyncio.get_running_loop().call_later(UDP_IDLE_SECONDS, self.close)

    def close(self) -> None:
        self._closed = True
        self._idle.cancel()
        self._relay.forget(self._client)
        if self._transport is not None:
            self._transport.close()
