"""gRPC around the services: which path is which method, and how a refusal becomes a status."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from etcd_raft.mvcc.errors import StoreError
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server import services
from etcd_raft.server.access import Auth, check_permission, identify
from etcd_raft.server.config import ServerConfig, address
from etcd_raft.server.member import Member
from etcd_raft.server.watching import Duplex, WatchService

log = logging.getLogger(__name__)

# What a message may weigh beyond the request in it, as etcd allows.
_OVERHEAD = 512 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call besides its messages: its metadata, and the name in the client's certificate, if any."""

    metadata: Mapping[str, str]
    common_name: str = ""


class Api:
    """All services of a member, and the gRPC server that carries them."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.kv = services.KV(member)
        self.leases = services.Leases(member)
        self.cluster = services.Cluster(member)
        self.maintenance = services.Maintenance(member)
        self.watch = WatchService(member)
        self.auth = Auth(member)
        self.requests: dict[str, int] = {}
        self._server: Any = None

    def unary(self) -> dict[str, dict[str, tuple[Any, Callable[[Any], Any]]]]:
        """Service -> method -> (request type, handler)."""
        kv, leases, cluster, maintenance = self.kv, self.leases, self.cluster, self.maintenance
        return {
            "etcdserverpb.KV": {
                "Range": (pb.RangeRequest, kv.range),
                "Put": (pb.PutRequest, kv.put),
                "DeleteRange": (pb.DeleteRangeRequest, kv.delete_range),
                "Txn": (pb.TxnRequest, kv.txn),
                "Compact": (pb.CompactionRequest, kv.compact),
            },
            "etcdserverpb.Lease": {
                "LeaseGrant": (pb.LeaseGrantRequest, leases.grant),
                "LeaseRevoke": (pb.LeaseRevokeRequest, leases.revoke),
                "LeaseTimeToLive": (pb.LeaseTimeToLiveRequest, leases.time_to_live),
                "LeaseLeases": (pb.LeaseLeasesRequest, leases.leases),
            },
            "etcdserverpb.Cluster": {
                "MemberAdd": (pb.MemberAddRequest, cluster.add),
                "MemberRemove": (pb.MemberRemoveRequest, cluster.remove),
                "MemberUpdate": (pb.MemberUpdateRequest, cluster.update),
                "MemberList": (pb.MemberListRequest, cluster.list),
                "MemberPromote": (pb.MemberPromoteRequest, cluster.promote),
            },
            "etcdserverpb.Maintenance": {
                "Alarm": (pb.AlarmRequest, maintenance.alarm),
                "Status": (pb.StatusRequest, maintenance.status),
                "Defragment": (pb.DefragmentRequest, maintenance.defragment),
                "Hash": (pb.HashRequest, maintenance.hash),
                "HashKV": (pb.HashKVRequest, maintenance.hash_kv),
                "MoveLeader": (pb.MoveLeaderRequest, maintenance.move_leader),
            },
            "etcdserverpb.Auth": {
                "AuthEnable": (pb.AuthEnableRequest, self.auth.enable),
                "AuthDisable": (pb.AuthDisableRequest, self.auth.disable),
                "AuthStatus": (pb.AuthStatusRequest, self.auth.status),
                "Authenticate": (pb.AuthenticateRequest, self.auth.authenticate),
                "UserAdd": (pb.AuthUserAddRequest, self.auth.user_add),
                "UserGet": (pb.AuthUserGetRequest, self.auth.user_get),
                "UserList": (pb.AuthUserListRequest, self.auth.user_list),
                "UserDelete": (pb.AuthUserDeleteRequest, self.auth.user_delete),
                "UserChangePassword": (pb.AuthUserChangePasswordRequest, self.auth.user_change_password),
                "UserGrantRole": (pb.AuthUserGrantRoleRequest, self.auth.user_grant_role),
                "UserRevokeRole": (pb.AuthUserRevokeRoleRequest, self.auth.user_revoke_role),
                "RoleAdd": (pb.AuthRoleAddRequest, self.auth.role_add),
                "RoleGet": (pb.AuthRoleGetRequest, self.auth.role_get),
                "RoleList": (pb.AuthRoleListRequest, self.auth.role_list),
                "RoleDelete": (pb.AuthRoleDeleteRequest, self.auth.role_delete),
                "RoleGrantPermission": (pb.AuthRoleGrantPermissionRequest, self.auth.role_grant_permission),
                "RoleRevokePermission": (pb.AuthRoleRevokePermissionRequest, self.auth.role_revoke_permission),
            },
        }

    async def start(self, config: ServerConfig) -> None:
        # Only now: importing gRPC costs most of a start, and its threads must not be there before a fork.
        import grpc
        import grpc.aio

        options = [
            ("grpc.max_receive_message_length", config.max_request_bytes + _OVERHEAD),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", 7_200_000),
        ]
        server = self._server = grpc.aio.server(options=options)
        for name, methods in self._handlers(grpc).items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
        for url in config.listen_client_urls:
            host, port = address(url)
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if url.startswith("https"):
                bound = server.add_secure_port(where, _credentials(grpc, config))
            else:
                bound = server.add_insecure_port(where)
            if not bound:
                raise OSError(f"cannot listen on {url}")
        await server.start()

    async def stop(self, grace: float) -> None:
        if self._server is not None:
            await self._server.stop(grace)

    def streams(self) -> dict[str, dict[str, Callable[[Duplex, Call], Awaitable[None]]]]:
        """Service -> method -> handler of the methods that are a stream in either direction."""
        return {
            "etcdserverpb.Watch": {"Watch": self._watch},
            "etcdserverpb.Lease": {"LeaseKeepAlive": self._keep_alive},
            "etcdserverpb.Maintenance": {"Snapshot": self._snapshot},
        }

    async def unary_call(self, name: str, run: Callable[[Any], Any], request: Any, call: Call) -> bytes:
        """One call of ``service/method``, by whatever wire it came."""
        self.requests[name] = self.requests.get(name, 0) + 1
        method = name.partition("/")[2]
        if self.member.state.auth.enabled and method != "Authenticate":
            self.identify(call)
            check_permission(self.member, method, request)
        reply: bytes = await run(request)
        return reply

    def identify(self, call: Call) -> None:
        """Note who is asking, for the rest of this task."""
        token = call.metadata.get("token") or call.metadata.get("authorization")
        identify(self.member, token, call.common_name)

    async def _watch(self, duplex: Duplex, call: Call) -> None:
        self.identify(call)
        await self.watch.serve(duplex, call.metadata.get("hasleader") == "true")

    async def _keep_alive(self, duplex: Duplex, call: Call) -> None:
        while (data := await duplex.receive()) is not None:
            await duplex.send(await self.leases.keep_alive(pb.LeaseKeepAliveRequest.FromString(data)))

    async def _snapshot(self, duplex: Duplex, call: Call) -> None:
        request = pb.SnapshotRequest.FromString(await duplex.receive() or b"")
        if self.member.state.auth.enabled:
            self.identify(call)
            check_permission(self.member, "Snapshot", request)
        async for part in self.maintenance.snapshot():
            await duplex.send(part)

    # ---- how grpc carries them

    def _handlers(self, grpc: Any) -> dict[str, dict[str, Any]]:
        handlers: dict[str, dict[str, Any]] = {}
        for service, methods in self.unary().items():
            handlers[service] = {
                method: grpc.unary_unary_rpc_method_handler(
                    self._unary(grpc, f"{service}/{method}", run), request_type.FromString, None
                )
                for method, (request_type, run) in methods.items()
            }
        for service, streams in self.streams().items():
            for method, handle in streams.items():
                handlers.setdefault(service, {})[method] = grpc.stream_stream_rpc_method_handler(
                    self._stream(grpc, handle), None, None
                )
        handlers["grpc.health.v1.Health"] = {"Check": grpc.unary_unary_rpc_method_handler(self._health, None, None)}
        return handlers

    def _unary(self, grpc: Any, name: str, run: Callable[[Any], Any]) -> Any:
        async def handle(request: Any, context: Any) -> bytes:
            try:
                return await self.unary_call(name, run, request, _call(context))
            except StoreError as error:
                await context.abort(grpc.StatusCode[error.code], error.text)
                raise

        return handle

    def _stream(self, grpc: Any, handle: Callable[[Duplex, Call], Awaitable[None]]) -> Any:
        async def run(_: Any, context: Any) -> None:
            try:
                await handle(_GrpcDuplex(grpc, context), _call(context))
            except StoreError as error:
                await context.abort(grpc.StatusCode[error.code], error.text)

        return run

    async def _health(self, request: bytes, context: Any) -> bytes:
        return b"\x08\x01" if self.member.node.leader else b"\x08\x02"  # SERVING, NOT_SERVING


def _call(context: Any) -> Call:
    names = context.auth_context().get("x509_common_name") or [b""]
    return Call(dict(context.invocation_metadata() or ()), names[0].decode())


class _GrpcDuplex:
    def __init__(self, grpc: Any, context: Any) -> None:
        self._eof = grpc.aio.EOF
        self._context = context

    async def receive(self) -> bytes | None:
        data = await self._context.read()
        return None if data is self._eof else data

    async def send(self, data: bytes) -> None:
        await self._context.write(data)


def _credentials(grpc: Any, config: ServerConfig) -> Any:
    tls = config.client_tls

    def read(path: str) -> bytes | None:
        if not path:
            return None
        with open(path, "rb") as file:
            return file.read()

    return grpc.ssl_server_credentials(
        [(read(tls.key), read(tls.cert))], root_certificates=read(tls.ca), require_client_auth=tls.client_auth
    )
