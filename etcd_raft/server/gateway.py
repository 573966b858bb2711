"""etcd's JSON gateway: ``POST /v3/kv/range`` and its like, for whoever has curl and no gRPC.

A path is a method. The body is its request as protobuf's JSON: bytes in base64, 64-bit numbers as strings, names as in the .proto files
or in camel case, unknown ones overlooked. Streams answer with one ``{"result": ...}`` a line. Texts of refusals are those of the gateway
in etcd (grpc-gateway and Go's JSON decoder), because scripts compare them.
"""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from etcd_raft.mvcc.errors import StoreError
from etcd_raft.proto import election_pb2, lock_pb2, rpc_pb2
from etcd_raft.server.endpoints import Api, Call
from etcd_raft.server.web import JSON, Exchange

_KV, _LEASE, _CLUSTER = "etcdserverpb.KV", "etcdserverpb.Lease", "etcdserverpb.Cluster"
_MAINTENANCE, _AUTH, _LOCK, _ELECTION = (
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
)
_PATHS = {
    "kv/range": (_KV, "Range"),
    "kv/put": (_KV, "Put"),
    "kv/deleterange": (_KV, "DeleteRange"),
    "kv/txn": (_KV, "Txn"),
    "kv/compaction": (_KV, "Compact"),
    "watch": ("etcdserverpb.Watch", "Watch"),
    "lease/grant": (_LEASE, "LeaseGrant"),
    "lease/revoke": (_LEASE, "LeaseRevoke"),
    "kv/lease/revoke": (_LEASE, "LeaseRevoke"),
    "lease/keepalive": (_LEASE, "LeaseKeepAlive"),
    "lease/timetolive": (_LEASE, "LeaseTimeToLive"),
    "kv/lease/timetolive": (_LEASE, "LeaseTimeToLive"),
    "lease/leases": (_LEASE, "LeaseLeases"),
    "kv/lease/leases": (_LEASE, "LeaseLeases"),
    **{f"cluster/member/{verb}": (_CLUSTER, f"Member{verb.title()}") for verb in ("add", "remove", "update", "list", "promote")},
    "maintenance/alarm": (_MAINTENANCE, "Alarm"),
    "maintenance/status": (_MAINTENANCE, "Status"),
    "maintenance/defragment": (_MAINTENANCE, "Defragment"),
    "maintenance/hash": (_MAINTENANCE, "Hash"),
    "maintenance/snapshot": (_MAINTENANCE, "Snapshot"),
    "maintenance/transfer-leadership": (_MAINTENANCE, "MoveLeader"),
    "maintenance/downgrade": (_MAINTENANCE, "Downgrade"),
    "auth/enable": (_AUTH, "AuthEnable"),
    "auth/disable": (_AUTH, "AuthDisable"),
    "auth/status": (_AUTH, "AuthStatus"),
    "auth/authenticate": (_AUTH, "Authenticate"),
    "auth/user/changepw": (_AUTH, "UserChangePassword"),
    "auth/user/grant": (_AUTH, "UserGrantRole"),
    "auth/user/revoke": (_AUTH, "UserRevokeRole"),
    "auth/role/grant": (_AUTH, "RoleGrantPermission"),
    "auth/role/revoke": (_AUTH, "RoleRevokePermission"),
    **{f"auth/{kind}/{verb}": (_AUTH, (kind + verb.title())[0].upper() + (kind + verb.title())[1:])
       for kind in ("user", "role") for verb in ("add", "get", "list", "delete")},
    "lock/lock": (_LOCK, "Lock"),
    "lock/unlock": (_LOCK, "Unlock"),
    **{f"election/{verb}": (_ELECTION, verb.title()) for verb in ("campaign", "proclaim", "leader", "observe", "resign")},
}  # fmt: skip
# gRPC's codes: their numbers, and grpc-gateway's idea of what they are in HTTP.
_CODES = {
    "CANCELLED": (1, 408), "UNKNOWN": (2, 500), "INVALID_ARGUMENT": (3, 400), "DEADLINE_EXCEEDED": (4, 504), "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409), "PERMISSION_DENIED": (7, 403), "RESOURCE_EXHAUSTED": (8, 429), "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409), "OUT_OF_RANGE": (11, 400), "UNIMPLEMENTED": (12, 501), "INTERNAL": (13, 500), "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500), "UNAUTHENTICATED": (16, 401),
}  # fmt: skip
_FROM_GRPC = {"Grpc-Metadata-Content-Type": "application/grpc"}


class JsonError(Exception):
    """A body that is not the request's JSON; the text is Go's."""


class Gateway:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._methods: dict[str, tuple[str, MethodDescriptor]] = {}
        services = {
            service.full_name: service
            for file in (rpc_pb2.DESCRIPTOR, lock_pb2.DESCRIPTOR, election_pb2.DESCRIPTOR)
            for service in file.services_by_name.values()
        }
        for path, (service, method) in _PATHS.items():
            found = (f"{service}/{method}", services[service].methods_by_name[method])
            self._methods[f"/v3/{path}"] = self._methods[f"/v3beta/{path}"] = found
        self._unary = api.unary()
        self._streams = api.streams()

    async def serve(self, exchange: Exchange) -> None:
        """Answer a request below /v3 or /v3beta."""
        found = self._methods.get(exchange.path)
        if found is None:
            await exchange.refuse(404, "Not Found\n")
            return
        if exchange.method != "POST":
            await exchange.refuse(405, "Method Not Allowed\n")
            return
        name, method = found
        # As in etcd, a certificate's name does not count here: only a token says who asks.
        metadata = {name.removeprefix("grpc-metadata-"): value for name, value in exchange.headers.items()}
        call = Call(metadata)
        service, _, verb = name.partition("/")
        if verb in self._streams.get(service, {}):
            await self._serve_stream(exchange, call, method, self._streams[service][verb])
            return
        request_type, run = self._unary[service][verb]
        try:
            request = request_type()
            fill(request, first_value(await exchange.body()))
            reply = await self._unless_gone(exchange, verb, self._api.unary_call(name, run, request, call))
        except JsonError as error:
            await _refuse(exchange, "INVALID_ARGUMENT", str(error))
        except StoreError as error:
            await _refuse(exchange, error.code, error.text)
        else:
            response = GetMessageClass(method.output_type).FromString(reply)
            await exchange.reply(200, JSON, _dumps(to_json(response)), _FROM_GRPC)

    async def _unless_gone(self, exchange: Exchange, verb: str, calling: Coroutine[Any, Any, bytes]) -> bytes:
        """Who waits for a lock and goes away must not get it; everything else ends soon enough by itself."""
        if verb not in ("Lock", "Campaign"):
            return await calling
        working, leaving = asyncio.ensure_future(calling), asyncio.ensure_future(exchange.gone())
        exchange.keep_alive = False  # looking for the end of the connection eats whatever comes behind the request
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ConnectionResetError("the client no longer waits")
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def _serve_stream(
        self, exchange: Exchange, call: Call, method: MethodDescriptor, run: Callable[[Any, Call], Awaitable[None]]
    ) -> None:
        duplex = _JsonDuplex(exchange, method)
        working = asyncio.ensure_future(run(duplex, call))
        leaving: asyncio.Future[None] = asyncio.ensure_future(duplex.left())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                duplex.begin()
                await exchange.end()
        except JsonError as error:
            await duplex.fail("UNKNOWN", str(error))
        except StoreError as error:
            await duplex.fail(error.code, error.text)
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


class _JsonDuplex:
    """A stream's messages as JSON: any number of objects in the request's body, one a line in the answer."""

    def __init__(self, exchange: Exchange, method: MethodDescriptor) -> None:
        self._exchange = exchange
        self._request = GetMessageClass(method.input_type)
        self._response = GetMessageClass(method.output_type)
        # A watch goes on when the client has said all that it wants to; a lease is kept alive once for each time it is asked.
        self._stays = method.name == "Watch"
        self._parts = exchange.parts()
        self._text = ""
        self._input_over = asyncio.Event()

    async def receive(self) -> bytes | None:
        while True:
            self._text = self._text.lstrip()
            if self._text:
                try:
                    value, end = _DECODER.raw_decode(self._text)
                except json.JSONDecodeError as error:
                    if error.pos < len(self._text) and self._text[error.pos] not in '"':
                        raise _syntax_error(self._text, error) from None
                else:
                    self._text = self._text[end:]
                    message = self._request()
                    fill(message, value)
                    data: bytes = message.SerializeToString()
                    return data
            try:
                self._text += (await anext(self._parts)).decode()
            except StopAsyncIteration:
                self._input_over.set()
                if self._text:
                    raise JsonError("unexpected EOF") from None
                if self._stays:
                    await asyncio.Event().wait()
                return None

    async def send(self, *messages: bytes) -> None:
        self.begin()
        for data in messages:
            await self._exchange.chunk(_dumps({"result": to_json(self._response.FromString(data))}) + b"\n")

    def begin(self) -> None:
        if not self._exchange.answered:
            self._exchange.begin(200, JSON, _FROM_GRPC)

    async def left(self) -> None:
        """Returns when the client has gone: that can be seen only behind its body."""
        await self._input_over.wait()
        await self._exchange.gone()

    async def fail(self, code: str, text: str) -> None:
        number, status = _CODES[code]
        if not self._exchange.answered:
            await _refuse(self._exchange, code, text)
            return
        error = {"grpc_code": number, "http_code": status, "message": text, "http_status": _phrase(status)}
        await self._exchange.chunk(_dumps({"error": error}) + b"\n")
        await self._exchange.end()


async def _refuse(exchange: Exchange, code: str, text: str) -> None:
    number, status = _CODES[code]
    await exchange.reply(status, JSON, _dumps({"error": text, "code": number, "message": text}))


def _phrase(status: int) -> str:
    from http import HTTPStatus

    return HTTPStatus(status).phrase


# ---- messages as JSON

_DECODER = json.JSONDecoder()
_64_BITS = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)
_32_BITS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32)
_GO_TYPES = {
    FieldDescriptor.TYPE_INT64: "int64", FieldDescriptor.TYPE_UINT64: "uint64", FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32", FieldDescriptor.TYPE_BOOL: "bool", FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "[]uint8", FieldDescriptor.TYPE_MESSAGE: "map[string]json.RawMessage",
}  # fmt: skip


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def to_json(message: Any) -> dict[str, Any]:
    """What is set in a message, under its names in the .proto file."""
    out: dict[str, Any] = {}
    for field, value in message.ListFields():
        out[field.name] = [_plain(field, v) for v in value] if field.is_repeated else _plain(field, value)
    return out


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return to_json(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if field.type in _64_BITS:
        return str(value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = _enum_of(field).values_by_number.get(value)
        return known.name if known is not None else value
    return value


def first_value(body: bytes) -> Any:
    """The first JSON value of a body; an empty one stands for an empty request. What follows is overlooked, as by Go's decoder."""
    try:
        text = body.decode().lstrip()
    except UnicodeDecodeError:
        raise JsonError("invalid character '\\ufffd' looking for beginning of value") from None
    if not text:
        return {}
    try:
        value, _ = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error) from None
    return value


def _syntax_error(text: str, error: json.JSONDecodeError) -> JsonError:
    rest = text[error.pos :].lstrip()
    if not rest or error.msg.startswith("Unterminated"):
        return JsonError("unexpected EOF")
    wanted = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
    }.get(error.msg, "looking for beginning of value")
    return JsonError(f"invalid character {_quoted(rest[0])} {wanted}")


def _quoted(character: str) -> str:
    return "'\\''" if character == "'" else f"'{character}'"


def fill(message: Any, value: Any) -> None:
    """Set a message's fields from JSON; raises ``JsonError``."""
    if not isinstance(value, dict):
        if value is None:
            return
        raise _mismatch(value, FieldDescriptor.TYPE_MESSAGE)
    fields = _fields(message.DESCRIPTOR)
    for name, given in value.items():
        field = fields.get(name)
        if field is None or given is None:
            continue
        if not field.is_repeated:
            _set(message, field, given)
            continue
        if not isinstance(given, list):
            raise JsonError(f"json: cannot unmarshal {_kind(given)} into Go value of type []json.RawMessage")
        into = getattr(message, field.name)
        for item in given:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                fill(into.add(), item)
            else:
                into.append(_scalar(field, item))


def _set(message: Any, field: FieldDescriptor, given: Any) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        into = getattr(message, field.name)
        into.SetInParent()
        fill(into, given)
    else:
        setattr(message, field.name, _scalar(field, given))


_BY_NAME: dict[str, dict[str, FieldDescriptor]] = {}


def _fields(descriptor: Any) -> dict[str, FieldDescriptor]:
    known = _BY_NAME.get(descriptor.full_name)
    if known is None:
        known = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
        _BY_NAME[descriptor.full_name] = known
    return known


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    kind = field.type
    if kind == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
        return _decode(value)
    if kind == FieldDescriptor.TYPE_ENUM:
        return _enum(field, value)
    if kind in _64_BITS or kind in _32_BITS:
        return _integer(field, value)
    if (kind == FieldDescriptor.TYPE_BOOL and isinstance(value, bool)) or (
        kind == FieldDescriptor.TYPE_STRING and isinstance(value, str)
    ):
        return value
    raise _mismatch(value, kind)


def _decode(text: str) -> bytes:
    # Go takes the standard alphabet, padded, and says where it is left.
    text = text.replace("\r", "").replace("\n", "")
    bad = re.search(r"[^A-Za-z0-9+/=]", text)
    if bad is not None:
        raise JsonError(f"illegal base64 data at input byte {bad.start()}")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        at = text.find("=") if "=" in text else len(text)
        raise JsonError(f"illegal base64 data at input byte {min(at, len(text) // 4 * 4)}") from None


def _enum(field: FieldDescriptor, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    known = _enum_of(field).values_by_name.get(value) if isinstance(value, str) else None
    if known is None:
        raw = json.dumps(json.dumps(value, separators=(",", ":")))
        raise JsonError(f"unknown value {raw} for enum {_enum_of(field).full_name}")
    return int(known.number)


def _enum_of(field: FieldDescriptor) -> EnumDescriptor:
    assert field.enum_type is not None
    return field.enum_type


def _integer(field: FieldDescriptor, value: Any) -> int:
    given = value
    if isinstance(value, str):
        given = first_value(value.encode()) if value else _no_number()
    if not isinstance(given, int) or isinstance(given, bool):
        raise _mismatch(given, field.type)
    bits = 64 if field.type in _64_BITS else 32
    signed = field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32)
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    if not low <= given < high:
        raise JsonError(f"json: cannot unmarshal number {given} into Go value of type {_GO_TYPES[field.type]}")
    return given


def _no_number() -> Any:
    raise JsonError("unexpected end of JSON input")


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"


def _mismatch(value: Any, kind: int) -> JsonError:
    shown = f"number {value}" if isinstance(value, float) else _kind(value)
    return JsonError(f"json: cannot unmarshal {shown} into Go value of type {_GO_TYPES[kind]}")
