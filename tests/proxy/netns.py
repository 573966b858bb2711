"""A node with two pods and a client outside, as network namespaces of this one process.

Sockets belong to the namespace in which they were made, so servers in pods and clients everywhere run on one event loop.

    client 192.168.77.2 ---- node 192.168.77.1 ---- pod-a 10.244.0.2
                                               ---- pod-b 10.244.0.6
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

NODE_IP, CLIENT_IP = "192.168.77.1", "192.168.77.2"
POD_IPS = {"pod-a": "10.244.0.2", "pod-b": "10.244.0.6"}
TIMEOUT = 3.0


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Network:
    """Use as a context manager; leaves nothing behind."""

    def __init__(self) -> None:
        self._prefix = f"mk8s-pt-{os.getpid()}-"
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)

    def _name(self, name: str) -> str:
        return self._prefix + name

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """For commands that are to run on the node."""
        return "ip", "netns", "exec", self._name("node")

    def __enter__(self) -> "Network":
        try:
            for name in ("node", "client", *POD_IPS):
                ip("netns", "add", self._name(name))
                ip("-n", self._name(name), "link", "set", "lo", "up")
            with self.inside("node"):
                Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            self._connect("client", NODE_IP, CLIENT_IP, 24)
            # A packet to a Service must first be routed somewhere before it is turned round.
            ip("-n", self._name("node"), "route", "add", "default", "via", CLIENT_IP)
            for name, address in POD_IPS.items():
                gateway = address.rpartition(".")[0] + "." + str(int(address.rpartition(".")[2]) - 1)
                self._connect(name, gateway, address, 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _connect(self, name: str, gateway: str, address: str, bits: int) -> None:
        node, other = self._name("node"), self._name(name)
        ip("-n", node, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", other)
        for namespace, link, own in ((node, name, gateway), (other, "eth0", address)):
            ip("-n", namespace, "address", "add", f"{own}/{bits}", "dev", link)
            ip("-n", namespace, "link", "set", link, "up")
        ip("-n", other, "route", "add", "default", "via", gateway)

    def __exit__(self, *exc: object) -> None:
        for name in ("node", "client", *POD_IPS):
            subprocess.run(["ip", "netns", "delete", self._name(name)], capture_output=True, check=False)
        os.close(self._home)

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """What this thread makes meanwhile (sockets, processes) is in that namespace. Never await in it."""
        target = os.open(f"/run/netns/{self._name(name)}", os.O_RDONLY)
        try:
            _enter(target)
            yield
        finally:
            _enter(self._home)
            os.close(target)

    # --- servers and clients ------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def tcp_server(self, name: str, port: int) -> AsyncIterator[None]:
        """Tells every caller who answers and whom it sees calling."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name} {writer.get_extra_info('peername')[0]}".encode())
            writer.close()

        with self.inside(name):
            listener = socket.create_server((POD_IPS[name], port))
        server = await asyncio.start_server(answer, sock=listener)
        try:
            yield
        finally:
            server.close()

    @contextlib.asynccontextmanager
    async def udp_server(self, name: str, port: int) -> AsyncIterator[None]:
        with self.inside(name):
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            listener.bind((POD_IPS[name], port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Answering(name), sock=listener
        )
        try:
            yield
        finally:
            transport.close()

    def udp_socket(self, name: str, address: str, port: int) -> socket.socket:
        with self.inside(name):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.connect((address, port))
        return made

    async def ask(self, name: str, address: str, port: int, *, patience: float = TIMEOUT) -> tuple[str, str]:
        """(who answered, whom it saw calling); raises OSError, or TimeoutError when nobody says anything."""
        with self.inside(name):
            caller = socket.socket()
        caller.setblocking(False)
        try:
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().sock_connect(caller, (address, port))
                data = await asyncio.get_running_loop().sock_recv(caller, 100)
        finally:
            caller.close()
        who, _, seen = data.decode().partition(" ")
        return who, seen


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._name.encode(), addr)  # type: ignore[attr-defined]


async def ask_udp(flow: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT):
        await loop.sock_sendall(flow, b"who?")
        return (await loop.sock_recv(flow, 100)).decode()


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
