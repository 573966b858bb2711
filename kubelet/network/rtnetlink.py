"""Links, addresses and routes by rtnetlink: the dozen requests that a pod network needs, and no more.

Our own because pyroute2 costs every kubelet 0.3 s and 12 MB to import, and its sockets do not open on uvloop. One
request is one datagram of fixed structures and nested attributes and one answer, tens of microseconds, so the calls are
plain functions. Layouts: linux/rtnetlink.h, linux/if_link.h, linux/veth.h; man 7 rtnetlink.
"""

import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Self

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_IFF_UP = 1
_RT_TABLE_MAIN = 254
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_RTN_UNICAST = 1
_RTNH_F_ONLINK = 4

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(slots=True)
class Link:
    index: int
    name: str
    mtu: int = 0
    master: int = 0
    up: bool = False


@dataclass(slots=True, frozen=True)
class Route:
    """``protocol`` says who made it (``ip route`` shows ``proto``): routes of others are never touched."""

    network: IPv4Network
    gateway: IPv4Address | None
    index: int
    protocol: int


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + (-length % 4)
    return found


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


class Rtnetlink:
    """One socket, in the namespace in which it was made. Errors are ``OSError`` with the request in the text."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> list[tuple[int, bytes]]:
        """Send a request; the answers' ``(type, body)``. Blocks for as long as the kernel works: microseconds."""
        self._sequence += 1
        dump = flags & _DUMP == _DUMP
        header = _HEADER.pack(
            _HEADER.size + len(body), kind, flags | _REQUEST | (0 if dump else _ACK), self._sequence, 0
        )
        self._socket.send(header + body)
        answers: list[tuple[int, bytes]] = []
        while True:
            data = self._socket.recv(1 << 17)
            offset = 0
            while offset < len(data):
                length, answer, _flags, sequence, _pid = _HEADER.unpack_from(data, offset)
                body = data[offset + _HEADER.size : offset + length]
                offset += length + (-length % 4)
                if sequence != self._sequence:
                    continue
                if answer == _NLMSG_DONE:
                    return answers
                if answer == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, f"{what}: {os.strerror(number)}")
                    return answers
                answers.append((answer, body))

    # Links

    @staticmethod
    def _link(data: bytes) -> Link:
        _family, _type, index, flags, _change = _LINK.unpack_from(data)
        attributes = _attributes(data[_LINK.size :])
        name = attributes[_IFLA_IFNAME].rstrip(b"\0").decode()
        mtu = int.from_bytes(attributes.get(_IFLA_MTU, b""), "little")
        master = int.from_bytes(attributes.get(_IFLA_MASTER, b""), "little")
        return Link(index, name, mtu, master, bool(flags & _IFF_UP))

    def link(self, name: str) -> Link | None:
        body = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        try:
            answers = self._ask(_GETLINK, 0, body, f"look up link {name}")
        except OSError as e:
            if e.errno == 19:  # ENODEV
                return None
            raise
        return self._link(answers[0][1])

    def links(self) -> list[Link]:
        return [self._link(body) for _kind, body in self._ask(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0), "list links")]

    def add_bridge(self, name: str) -> Link:
        info = _attribute(_IFLA_INFO_KIND, b"bridge")
        body = (
            _LINK.pack(0, 0, 0, 0, 0)
            + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
            + _attribute(_IFLA_LINKINFO, info)
        )
        try:
            self._ask(_NEWLINK, _CREATE | _EXCL, body, f"add bridge {name}")
        except FileExistsError:
            pass
        link = self.link(name)
        assert link is not None
        return link

    def add_veth(self, name: str, peer: str, peer_namespace: int, *, mtu: int, master: int) -> None:
        """A pair: ``name`` here, up, a port of ``master``; ``peer`` in the namespace of that descriptor."""
        common = _attribute(_IFLA_MTU, _number(mtu))
        far = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, peer.encode() + b"\0") + common
        far += _attribute(_IFLA_NET_NS_FD, _number(peer_namespace))
        info = _attribute(_IFLA_INFO_KIND, b"veth")
        info += _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, far))
        body = _LINK.pack(0, 0, 0, _IFF_UP, _IFF_UP) + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + common
        body += _attribute(_IFLA_MASTER, _number(master)) + _attribute(_IFLA_LINKINFO, info)
        self._ask(_NEWLINK, _CREATE | _EXCL, body, f"add veth pair {name}")

    def set_up(self, index: int, *, mtu: int = 0, address: bytes = b"") -> None:
        body = _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP)
        if mtu:
            body += _attribute(_IFLA_MTU, _number(mtu))
        if address:
            body += _attribute(_IFLA_ADDRESS, address)
        self._ask(_NEWLINK, 0, body, f"set link {index} up")

    def delete_link(self, name: str) -> bool:
        """Whether there was one."""
        body = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        try:
            self._ask(_DELLINK, 0, body, f"delete link {name}")
        except OSError as e:
            if e.errno == 19:
                return False
            raise
        return True

    # Addresses

    def addresses(self) -> list[tuple[int, IPv4Interface]]:
        """``(link index, address with its prefix)`` of every IPv4 address here."""
        found = []
        body = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
        for _kind, data in self._ask(_GETADDR, _DUMP, body, "list addresses"):
            family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(data)
            local = _attributes(data[_ADDRESS.size :]).get(_IFA_LOCAL)
            if family == socket.AF_INET and local:
                found.append((index, IPv4Interface((local, prefix))))
        return found

    def add_address(self, index: int, address: IPv4Interface) -> None:
        body = self._address(index, address)
        try:
            self._ask(_NEWADDR, _CREATE | _EXCL, body, f"add address {address}")
        except FileExistsError:
            pass

    def delete_address(self, index: int, address: IPv4Interface) -> None:
        self._ask(_DELADDR, 0, self._address(index, address), f"delete address {address}")

    @staticmethod
    def _address(index: int, address: IPv4Interface) -> bytes:
        body = _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, 0, index)
        return body + _attribute(_IFA_LOCAL, address.ip.packed) + _attribute(_IFA_ADDRESS, address.ip.packed)

    # Routes

    def routes(self) -> list[Route]:
        """IPv4 unicast routes of the main table."""
        found = []
        body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        for _kind, data in self._ask(_GETROUTE, _DUMP, body, "list routes"):
            family, prefix, _src, _tos, table, protocol, _scope, kind, _flags = _ROUTE.unpack_from(data)
            attributes = _attributes(data[_ROUTE.size :])
            table = int.from_bytes(attributes.get(_RTA_TABLE, bytes([table])), "little")
            if family != socket.AF_INET or table != _RT_TABLE_MAIN or kind != _RTN_UNICAST:
                continue
            network = IPv4Network((attributes.get(_RTA_DST, b"\0\0\0\0"), prefix))
            gateway = IPv4Address(attributes[_RTA_GATEWAY]) if _RTA_GATEWAY in attributes else None
            index = int.from_bytes(attributes.get(_RTA_OIF, b""), "little")
            found.append(Route(network, gateway, index, protocol))
        return found

    def put_route(self, route: Route) -> None:
        """Add it, or replace the one to the same network."""
        what = f"route to {route.network} via {route.gateway or f'link {route.index}'}"
        self._ask(_NEWROUTE, _CREATE | _REPLACE, self._route(route), what)

    def delete_route(self, route: Route) -> None:
        try:
            self._ask(_DELROUTE, 0, self._route(route), f"delete the route to {route.network}")
        except ProcessLookupError:  # ESRCH: gone
            pass

    @staticmethod
    def _route(route: Route) -> bytes:
        scope = _SCOPE_UNIVERSE if route.gateway else _SCOPE_LINK
        flags = _RTNH_F_ONLINK if route.gateway and route.index else 0
        body = _ROUTE.pack(
            socket.AF_INET, route.network.prefixlen, 0, 0, _RT_TABLE_MAIN, route.protocol, scope, _RTN_UNICAST, flags
        )
        if route.network.prefixlen:
            body += _attribute(_RTA_DST, route.network.network_address.packed)
        if route.gateway:
            body += _attribute(_RTA_GATEWAY, route.gateway.packed)
        if route.index:
            body += _attribute(_RTA_OIF, _number(route.index))
        return body
