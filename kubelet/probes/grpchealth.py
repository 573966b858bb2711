"""The gRPC health checking protocol (grpc.health.v1.Health/Check), spoken without generated code.

A request is one string field, an answer one enum field: two lines of protobuf each.
"""

import grpc
import grpc.aio

_SERVING = 1
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _encode(service: str) -> bytes:
    name = service.encode()
    length = len(name)
    varint = bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        varint.append(low | (0x80 if length else 0))
        if not length:
            break
    return b"\x0a" + bytes(varint) + name if name else b""


def _decode(data: bytes) -> int:
    return data[1] if len(data) >= 2 and data[0] == 0x08 else 0


async def check(target: str, service: str, timeout: float) -> tuple[bool, str]:
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check", request_serializer=_encode, response_deserializer=_decode
        )
        try:
            state = await call(service, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return (
                    False,
                    f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {error.details()}",
                )
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return (
                    False,
                    f'timeout: failed to connect service "{target}" within {timeout:g}s: context deadline exceeded',
                )
            return False, f"error: health rpc probe failed: {error.details()}"
    if state != _SERVING:
        return False, f'service unhealthy (responded with "{_STATES.get(state, state)}")'
    return True, "service healthy"
