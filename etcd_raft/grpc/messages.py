"""Messages inside a stream's DATA: a flag, a length of four bytes, and the message, over any number of frames."""

import struct
import zlib

from etcd_raft.grpc.status import Code, RpcError

PREFIX = struct.Struct(">BL")


def prefixed(data: bytes) -> bytes:
    return PREFIX.pack(0, len(data)) + data


class MessageReader:
    """Puts the messages of one stream together. ``held`` is how many bytes of an incomplete one are kept."""

    __slots__ = ("_buffer", "encoding", "limit")

    def __init__(self, limit: int, encoding: str = "identity") -> None:
        self.limit = limit
        self.encoding = encoding
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are now complete. Raises ``RpcError`` for what gRPC does not allow."""
        if not self._buffer and len(data) >= PREFIX.size:
            flag, length = PREFIX.unpack_from(data)
            if not flag and length == len(data) - PREFIX.size and length <= self.limit:
                return [data[PREFIX.size :]]  # one whole message: nearly always so
        found: list[bytes] = []
        at = 0
        buffer: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        while len(buffer) - at >= PREFIX.size:
            flag, length = PREFIX.unpack_from(buffer, at)
            if length > self.limit:
                raise _too_large(length, self.limit)
            end = at + PREFIX.size + length
            if end > len(buffer):
                break
            found.append(self._plain(flag, bytes(buffer[at + PREFIX.size : end])))
            at = end
        if buffer is self._buffer:
            del self._buffer[:at]
        else:
            self._buffer += data[at:]
        return found

    def _plain(self, flag: int, data: bytes) -> bytes:
        if flag == 0:
            return data
        if flag != 1:
            raise RpcError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if self.encoding == "identity":
            raise RpcError(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        if self.encoding != "gzip":
            text = f'grpc: Decompressor is not installed for grpc-encoding "{self.encoding}"'
            raise RpcError(Code.UNIMPLEMENTED, text)
        inflater = zlib.decompressobj(wbits=31)
        try:
            plain = inflater.decompress(data, self.limit + 1)
        except zlib.error as error:
            raise RpcError(Code.INTERNAL, f"grpc: failed to decompress the received message: {error}") from None
        if len(plain) > self.limit:
            raise _too_large(len(plain), self.limit)
        if not inflater.eof:
            raise RpcError(Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
        return plain


def _too_large(size: int, limit: int) -> RpcError:
    return RpcError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")
