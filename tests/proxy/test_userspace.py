"""Real sockets on the loopback interface; no rights needed but for one test."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator

import pytest

from proxy.balancer import Balancer
from proxy.endpoint import Endpoint
from proxy.tracker import Tracker
from proxy.userspace import UserspaceProxy
from tests.proxy.netns import Network, ask_udp
from tests.proxy.objects import endpoint_slice, service


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


@contextlib.asynccontextmanager
async def echo_server(name: str) -> AsyncIterator[int]:
    """Says its name, then repeats everything until the client has ended its half, then says good-bye."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name}:".encode())
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b":bye")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def talk(port: int, data: bytes = b"hello", host: str = "127.0.0.1") -> bytes:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(data)
        writer.write_eof()
        try:
            return await reader.read(-1)
        finally:
            writer.close()


class Forwarder:
    def __init__(self) -> None:
        self.tracker = Tracker("node")
        self.proxy = UserspaceProxy(self.tracker, node_port_addresses=("127.0.0.1",), claim_cluster_ips=False)
        self.port = free_port()

    async def serve(self, *endpoints: int, protocol: str = "TCP", **spec: object) -> None:
        ports = [{"port": 80, "nodePort": self.port, "protocol": protocol}]
        self.tracker.service_changed(service(ports=ports, type="NodePort", **spec))
        for number in range(3):
            made = [(port, ["127.0.0.1"]) for port in endpoints[number : number + 1]]
            for port, addresses in made:
                self.tracker.slice_changed(endpoint_slice("web", {"": (port, protocol)}, addresses, name=f"s{number}"))
            if not made:
                self.tracker.slice_deleted(endpoint_slice("web", {}, [], name=f"s{number}"))
        await self.proxy.sync()

    async def stop(self) -> None:
        running = asyncio.ensure_future(self.proxy.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    made = Forwarder()
    yield made
    await made.stop()


async def test_connections_take_turns_over_the_endpoints(forwarder: Forwarder) -> None:
    async with echo_server("a") as a, echo_server("b") as b:
        await forwarder.serve(a, b)
        answers = [await talk(forwarder.port) for _ in range(4)]
    assert sorted(answers) == [b"a:hello:bye", b"a:hello:bye", b"b:hello:bye", b"b:hello:bye"]


async def test_a_half_closed_connection_still_brings_the_answer_however_large(forwarder: Forwarder) -> None:
    data = bytes(range(256)) * 8192
    async with echo_server("a") as a:
        await forwarder.serve(a)
        assert await talk(forwarder.port, data) == b"a:" + data + b":bye"


async def test_endpoints_are_followed_and_a_dead_one_is_passed_over(forwarder: Forwarder) -> None:
    dead = free_port()
    async with echo_server("a") as a, echo_server("b") as b:
        await forwarder.serve(a, dead)
        assert {await talk(forwarder.port) for _ in range(3)} == {b"a:hello:bye"}
        await forwarder.serve(b)
        assert await talk(forwarder.port) == b"b:hello:bye"


async def test_without_endpoints_the_connection_is_reset(forwarder: Forwarder) -> None:
    await forwarder.serve()
    with pytest.raises(ConnectionResetError):
        await talk(forwarder.port)


async def test_a_removed_service_is_no_longer_listened_for(forwarder: Forwarder) -> None:
    async with echo_server("a") as a:
        await forwarder.serve(a)
        await talk(forwarder.port)
        forwarder.tracker.service_deleted(service())
        await forwarder.proxy.sync()
        with pytest.raises(ConnectionRefusedError):
            await talk(forwarder.port)


async def test_a_changed_node_port_is_followed(forwarder: Forwarder) -> None:
    async with echo_server("a") as a:
        await forwarder.serve(a)
        old, forwarder.port = forwarder.port, free_port()
        await forwarder.serve(a)
        assert await talk(forwarder.port) == b"a:hello:bye"
        with pytest.raises(ConnectionRefusedError):
            await talk(old)


async def test_a_port_that_is_taken_harms_nobody_else(forwarder: Forwarder) -> None:
    taken = free_port()
    other = service("other", ports=[{"port": 80, "nodePort": taken}], type="NodePort")
    with socket.create_server(("127.0.0.1", taken)):
        forwarder.tracker.service_changed(other)
        async with echo_server("a") as a:
            await forwarder.serve(a)
            assert await talk(forwarder.port) == b"a:hello:bye"


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.name.encode() + data, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def udp_server(name: str) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(name), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def test_udp_flows_keep_their_endpoint_until_it_is_gone(forwarder: Forwarder) -> None:
    forwarder.port = free_port(socket.SOCK_DGRAM)
    async with udp_server("a") as a, udp_server("b") as b:
        await forwarder.serve(a, protocol="UDP")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.setblocking(False)
            flow.connect(("127.0.0.1", forwarder.port))
            assert await ask_udp(flow) == "awho?"
            await forwarder.serve(a, b, protocol="UDP")
            assert [await ask_udp(flow) for _ in range(3)] == ["awho?"] * 3
            await forwarder.serve(b, protocol="UDP")
            assert await ask_udp(flow) == "bwho?"


def endpoint(last: int) -> Endpoint:
    return Endpoint(f"10.0.0.{last}", 80, False, True, True, False)


def test_session_affinity_brings_a_client_back_until_its_time_is_over() -> None:
    now = 0.0
    balancer = Balancer(lambda: now)
    balancer.update([endpoint(1), endpoint(2)], 60)
    first = balancer.choices("client")[0]
    balancer.used("client", first)
    assert [balancer.choices("client")[0] for _ in range(4)] == [first] * 4
    now = 61.0
    assert {balancer.choices("client")[0] for _ in range(2)} == {endpoint(1), endpoint(2)}
    assert Balancer(lambda: now).choices("client") == []


@pytest.mark.root
@pytest.mark.binary("ip")
async def test_root_has_cluster_ips_on_the_loopback_interface_and_gives_them_back() -> None:
    def addresses() -> str:
        return subprocess.run(["ip", "-o", "address", "show", "dev", "lo"], capture_output=True, text=True).stdout

    with Network() as network:
        tracker = Tracker("node")
        tracker.service_changed(service())
        tracker.slice_changed(endpoint_slice("web", {"": 8080}, ["10.244.0.2"]))
        # The whole process moves into the node: nothing else runs here meanwhile.
        async with network.tcp_server("pod-a", 8080):
            with network.inside("node"):
                proxy = UserspaceProxy(tracker, claim_cluster_ips=True)
                proxy.trigger()
                running = asyncio.ensure_future(proxy.run())
                async with asyncio.timeout(5):
                    while not proxy.synced:
                        await asyncio.sleep(0.01)
                assert "10.96.0.10/32" in addresses()
                assert (await talk(80, host="10.96.0.10")).startswith(b"pod-a ")
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                assert "10.96.0.10" not in addresses()
