"""gRPC around the services: which path is which method, and how a refusal becomes a status."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from etcd_raft.grpc.server import Server, Streaming, Unary
from etcd_raft.grpc.status import Code, RpcError
from etcd_raft.mvcc.errors import StoreError
from etcd_raft.proto import election_pb2, lock_pb2
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server import services
from etcd_raft.server.access import Auth, check_permission, identify
from etcd_raft.server.concurrency import Election, Lock
from etcd_raft.server.config import ServerConfig, address
from etcd_raft.server.member import Member
from etcd_raft.server.metrics import CallCount, shown_code
from etcd_raft.server.peers import server_context
from etcd_raft.server.watching import Duplex, WatchService

log = logging.getLogger(__name__)

# What a message may weigh beyond the request in it, as etcd allows.
_OVERHEAD = 512 * 1024
_STREAMS = {
    "etcdserverpb.Watch/Watch": "bidi_stream",
    "etcdserverpb.Lease/LeaseKeepAlive": "bidi_stream",
    "etcdserverpb.Maintenance/Snapshot": "server_stream",
    "v3electionpb.Election/Observe": "server_stream",
}


class Caller(Protocol):
    """What is known of a call besides its messages: its metadata, and the name in the client's certificate, if any."""

    @property
    def metadata(self) -> Mapping[str, str]: ...

    @property
    def common_name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A ``Caller`` for who has no stream of gRPC."""

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
        self.locks, self.elections = Lock(member), Election(member)
        self.calls = {
            **{
                f"{service}/{method}": CallCount("unary") for service, table in self.unary().items() for method in table
            },
            **{name: CallCount(kind) for name, kind in _STREAMS.items()},
        }
        self.health_successes = self.health_failures = 0
        # Makes the protocol of a connection to a client port that does not speak HTTP/2.
        self.http1: Callable[[], asyncio.BaseProtocol] | None = None
        self._server: Server | None = None

    def unary(self) -> dict[str, dict[str, tuple[Any, Callable[[Any], Any]]]]:
        """Service -> method -> (request type, handler)."""
        kv, leases, cluster, maintenance = self.kv, self.leases, self.cluster, self.maintenance
        locks, elections = self.locks, self.elections
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
                "Downgrade": (pb.DowngradeRequest, maintenance.downgrade),
            },
            "v3lockpb.Lock": {
                "Lock": (lock_pb2.LockRequest, locks.lock),
                "Unlock": (lock_pb2.UnlockRequest, locks.unlock),
            },
            "v3electionpb.Election": {
                "Campaign": (election_pb2.CampaignRequest, elections.campaign),
                "Proclaim": (election_pb2.ProclaimRequest, elections.proclaim),
                "Leader": (election_pb2.LeaderRequest, elections.leader),
                "Resign": (election_pb2.ResignRequest, elections.resign),
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
        server = self._server = Server(
            self._methods(), max_message=config.max_request_bytes + _OVERHEAD, refusal=StoreError, http1=self.http1
        )
        for url in config.listen_client_urls:
            context = server_context(config.client_tls) if url.startswith("https") else None
            await server.listen(*address(url), context)

    async def stop(self, grace: float) -> None:
        if self._server is not None:
            await self._server.stop(grace)

    def traffic(self) -> tuple[int, int]:
        """Bytes that came from clients over gRPC, and that went to them."""
        return (self._server.received, self._server.sent) if self._server is not None else (0, 0)

    def streams(self) -> dict[str, dict[str, Callable[[Duplex, Caller], Awaitable[None]]]]:
        """Service -> method -> handler of the methods that are a stream in either direction."""
        return {
            "etcdserverpb.Watch": {"Watch": self._watch},
            "etcdserverpb.Lease": {"LeaseKeepAlive": self._keep_alive},
            "etcdserverpb.Maintenance": {"Snapshot": self._snapshot},
            "v3electionpb.Election": {"Observe": self._observe},
        }

    async def unary_call(self, name: str, run: Callable[[Any], Any], request: Any, call: Caller) -> bytes:
        """One call of ``service/method``, by whatever wire it came."""
        count = self.calls[name]
        count.started += 1
        count.received += 1
        code = "Unknown"
        try:
            method = name.partition("/")[2]
            if self.member.state.auth.enabled and method != "Authenticate":
                self.identify(call)
                check_permission(self.member, method, request)
            reply: bytes = await run(request)
            code = "OK"
            count.sent += 1
        except StoreError as error:
            code = shown_code(error.code)
            raise
        except asyncio.CancelledError:
            code = "Canceled"
            raise
        finally:
            count.end(code)
        return reply

    def identify(self, call: Caller) -> None:
        """Note who is asking, for the rest of this task."""
        token = call.metadata.get("token") or call.metadata.get("authorization")
        identify(self.member, token, call.common_name)

    async def _watch(self, duplex: Duplex, call: Caller) -> None:
        self.identify(call)
        await self.watch.serve(duplex, call.metadata.get("hasleader") == "true")

    async def _keep_alive(self, duplex: Duplex, call: Caller) -> None:
        while (data := await duplex.receive()) is not None:
            await duplex.send(await self.leases.keep_alive(pb.LeaseKeepAliveRequest.FromString(data)))

    async def _snapshot(self, duplex: Duplex, call: Caller) -> None:
        request = pb.SnapshotRequest.FromString(await duplex.receive() or b"")
        if self.member.state.auth.enabled:
            self.identify(call)
            check_permission(self.member, "Snapshot", request)
        async for part in self.maintenance.snapshot():
            await duplex.send(part)

    async def _observe(self, duplex: Duplex, call: Caller) -> None:
        self.identify(call)
        await self.elections.observe(duplex)

    # ---- how gRPC carries them

    def _methods(self) -> dict[str, Unary | Streaming]:
        methods: dict[str, Unary | Streaming] = {
            f"/{service}/{method}": Unary(self._unary(f"{service}/{method}", request_type, run))
            for service, table in self.unary().items()
            for method, (request_type, run) in table.items()
        }
        for service, streams in self.streams().items():
            for method, handle in streams.items():
                methods[f"/{service}/{method}"] = Streaming(self._stream(f"{service}/{method}", handle))
        methods["/grpc.health.v1.Health/Check"] = Unary(self._health)
        return methods

    def _unary(self, name: str, request_type: Any, run: Callable[[Any], Any]) -> Callable[[bytes, Caller], Any]:
        decode, call = request_type.FromString, self.unary_call

        async def handle(data: bytes, caller: Caller) -> bytes:
            try:
                request = decode(data)
            except DecodeError as error:
                raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
            return await call(name, run, request, caller)

        return handle

    def _stream(self, name: str, handle: Callable[[Duplex, Caller], Awaitable[None]]) -> Callable[[Any], Any]:
        async def run(stream: Any) -> None:
            count = self.calls[name]
            count.started += 1
            code = "Unknown"
            try:
                await handle(stream, stream)
                code = "OK"
            except StoreError as error:
                code = shown_code(error.code)
                raise
            except asyncio.CancelledError:
                code = "Canceled"
                raise
            except DecodeError as error:
                code = "Internal"
                raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
            finally:
                count.end(code)

        return run

    async def _health(self, request: bytes, caller: Caller) -> bytes:
        """grpc.health.v1: the name of a service in, whether it serves out; only the whole server has a state, as in etcd."""
        if request not in (b"", b"\x0a\x00"):
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return b"\x08\x01" if self.member.node.leader else b"\x08\x02"  # SERVING, NOT_SERVING
