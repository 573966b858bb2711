"""SPDY/3.1 frames, as kubectl speaks it for exec, attach and port-forward (moby/spdystream's dialect of it).

A pure codec: bytes in, frames out and the other way round. Flow control is left to TCP, as both ends of Kubernetes do.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

# What both ends compress headers with (the protocol's section 2.6.10.1): names with their length, then what values hold.
_WORDS = (
    "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|"
    "accept-ranges|age|allow|authorization|cache-control|connection|content-base|content-encoding|"
    "content-language|content-length|content-location|content-md5|content-range|content-type|date|etag|"
    "expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|"
    "last-modified|location|max-forwards|pragma|proxy-authenticate|proxy-authorization|range|referer|"
    "retry-after|server|te|trailer|transfer-encoding|upgrade|user-agent|vary|via|warning|"
    "www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|keep-alive|origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Au"
    "thoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidd"
    "en404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr Ma"
    "y Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,imag"
    "e/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicpri"
    "vatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(w)) + w.encode() for w in _WORDS.split("|")) + _TAIL.encode()

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01
_VERSION = 0x8003
MAX_FRAME = 1 << 24

Headers = dict[str, str]


class SpdyError(Exception):
    """The other end does not speak SPDY/3.1."""


@dataclass(slots=True)
class Control:
    """``stream`` is the id of the stream (of the ping for PING, 0 where there is none)."""

    type: int
    stream: int
    headers: Headers
    fin: bool = False
    status: int = 0


@dataclass(slots=True)
class Data:
    stream: int
    data: bytes
    fin: bool


class Decoder:
    """Header compression has a memory: one decoder and one encoder for each connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Control | Data]:
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack(">II", self._buffer[:8])
            length, flags = second & 0xFFFFFF, second >> 24
            if len(self._buffer) < 8 + length:
                return
            body, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            if not first >> 31:
                yield Data(first & 0x7FFFFFFF, body, bool(flags & FIN))
            elif first >> 16 != _VERSION:
                raise SpdyError(f"version {first >> 16 & 0x7FFF} of SPDY, not 3")
            else:
                yield self._control(first & 0xFFFF, flags, body)

    def _control(self, type_: int, flags: int, body: bytes) -> Control:
        try:
            if type_ in (SYN_STREAM, SYN_REPLY, HEADERS):
                skip = 10 if type_ == SYN_STREAM else 4
                (stream,) = struct.unpack(">I", body[:4])
                return Control(type_, stream & 0x7FFFFFFF, self._headers(body[skip:]), bool(flags & FIN))
            if type_ in (PING, GOAWAY, RST_STREAM, WINDOW_UPDATE):
                (number,) = struct.unpack(">I", body[:4])
                status = struct.unpack(">I", body[4:8])[0] if len(body) >= 8 else 0
                return Control(type_, number, {}, status=status)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"broken frame of type {type_}: {error}") from None
        return Control(type_, 0, {})

    def _headers(self, block: bytes) -> Headers:
        text = self._inflate.decompress(block)
        (count,) = struct.unpack(">I", text[:4])
        position, found = 4, {}
        for _ in range(count):
            pair = []
            for _ in range(2):
                (size,) = struct.unpack(">I", text[position : position + 4])
                pair.append(text[position + 4 : position + 4 + size].decode())
                position += 4 + size
            found[pair[0].lower()] = pair[1]
        return found


class Encoder:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def _block(self, headers: Headers) -> bytes:
        text = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for part in (name.lower().encode(), value.encode()):
                text += struct.pack(">I", len(part)) + part
        return self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    @staticmethod
    def _frame(type_: int, flags: int, body: bytes) -> bytes:
        return struct.pack(">HHI", _VERSION, type_, flags << 24 | len(body)) + body

    def syn_stream(self, stream: int, headers: Headers, *, fin: bool = False) -> bytes:
        return self._frame(SYN_STREAM, FIN * fin, struct.pack(">IIH", stream, 0, 0) + self._block(headers))

    def syn_reply(self, stream: int, headers: Headers | None = None, *, fin: bool = False) -> bytes:
        return self._frame(SYN_REPLY, FIN * fin, struct.pack(">I", stream) + self._block(headers or {}))

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        assert len(data) < MAX_FRAME, "whoever writes cuts what is longer"
        return struct.pack(">II", stream, (FIN * fin) << 24 | len(data)) + data

    def ping(self, number: int) -> bytes:
        return self._frame(PING, 0, struct.pack(">I", number))

    def reset(self, stream: int, status: int) -> bytes:
        return self._frame(RST_STREAM, 0, struct.pack(">II", stream, status))

    def go_away(self, last: int) -> bytes:
        return self._frame(GOAWAY, 0, struct.pack(">II", last, 0))
