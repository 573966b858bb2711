"""Makes the kernel forget UDP flows that lead to endpoints which are gone.

The kernel remembers where it sent a flow and does not ask the rules again while packets keep coming: a client that
queries DNS from one port all the time would talk to a dead pod forever. (TCP clients notice by themselves.)

Netlink by hand: it is two requests. Layouts: linux/netfilter/nfnetlink_conntrack.h.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_NETLINK_NETFILTER = 12
_CTNETLINK = 1 << 8
_NEW, _GET, _DELETE = _CTNETLINK | 0, _CTNETLINK | 1, _CTNETLINK | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_ORIGINAL, _REPLY = 1, 2
_IP, _PROTO = 1, 2
_UDP = 17
_NOT_FOUND = 2
_NESTED = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Flow:
    """A UDP flow: where the client sent it, and from where it is answered. ``key`` names it to the kernel."""

    destination: str
    port: int
    answered_from: str
    answered_port: int
    key: bytes


def stale(
    flows: Iterable[Flow],
    by_address: Mapping[tuple[str, int], set[tuple[str, int]]],
    by_node_port: Mapping[int, set[tuple[str, int]]],
) -> list[Flow]:
    """Flows to Services that are answered by none of the Service's endpoints.

    ``by_address`` maps (address, port) of Services to their endpoints, ``by_node_port`` NodePorts; what is in neither is
    none of our business.
    """
    found = []
    for flow in flows:
        endpoints = by_address.get((flow.destination, flow.port))
        if endpoints is None:
            endpoints = by_node_port.get(flow.port)
        if endpoints is not None and (flow.answered_from, flow.answered_port) not in endpoints:
            found.append(flow)
    return found


class Conntrack:
    """The table of this network namespace. Needs root."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.settimeout(5)

    def __enter__(self) -> "Conntrack":
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def udp_flows(self) -> list[Flow]:
        family = _FAMILY.pack(socket.AF_INET, 0, 0)
        return [flow for body in self._ask(_GET, _DUMP, family) if (flow := _flow(body[_FAMILY.size :])) is not None]

    def forget(self, flow: Flow) -> None:
        """One that has ended meanwhile is fine."""
        body = _FAMILY.pack(socket.AF_INET, 0, 0) + flow.key
        try:
            for _ in self._ask(_DELETE, _ACK, body):
                pass
        except OSError as error:
            if error.errno != _NOT_FOUND:
                raise

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """The bodies of the answer's messages, up to its end."""
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body)
        while True:
            data = self._socket.recv(1 << 20)
            while data:
                length, answer, _, _, _ = _HEADER.unpack_from(data)
                content = data[_HEADER.size : length]
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    code = -int(struct.unpack_from("=i", content)[0])
                    if code:
                        raise OSError(code, f"conntrack: {os.strerror(code)}")
                    return
                yield content
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind & _NESTED] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def _flow(body: bytes) -> Flow | None:
    attributes = _attributes(body)
    original, reply = _attributes(attributes[_ORIGINAL]), _attributes(attributes[_REPLY])
    proto, reply_proto = _attributes(original[_PROTO]), _attributes(reply[_PROTO])
    if proto[1] != bytes((_UDP,)):
        return None
    raw = attributes[_ORIGINAL]
    # NLA_F_NESTED: the kernel wants it on what it gets.
    key = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(raw), _ORIGINAL | 0x8000) + raw
    return Flow(
        destination=socket.inet_ntoa(_attributes(original[_IP])[2]),
        port=int.from_bytes(proto[3], "big"),
        answered_from=socket.inet_ntoa(_attributes(reply[_IP])[1]),
        answered_port=int.from_bytes(reply_proto[2], "big"),
        key=key,
    )
