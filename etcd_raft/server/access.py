"""The Auth service, and who is asking: each request carries its user in a context variable, set where it comes in."""

import asyncio
import os
from contextvars import ContextVar
from typing import Any

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.auth import hash_password
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.proto.internal_pb2 import Request
from etcd_raft.server.services import Services

# What only an administrator may call once authentication is on; the methods of Auth are checked below.
ADMINISTRATION = frozenset({"MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote", "MoveLeader", "Downgrade"})
# The same, and refused in words that etcd has for these alone.
MAINTENANCE = frozenset({"Defragment", "Hash", "HashKV", "Snapshot"})
current_user: ContextVar[str] = ContextVar("current_user", default="")


class Auth(Services):
    async def _change(self, response: Any, **operation: Any) -> bytes:
        self.state.auth.require_admin(current_user.get())
        await self.agree(Request(**operation))
        return self._reply(response)

    def _reply(self, response: Any, **fields: Any) -> bytes:
        data: bytes = response(header=self.header_message(), **fields).SerializeToString()
        return data

    async def enable(self, request: Any) -> bytes:
        return await self._change(pb.AuthEnableResponse, auth_enable={"secret": os.urandom(32)})

    async def disable(self, request: Any) -> bytes:
        return await self._change(pb.AuthDisableResponse, auth_disable=request)

    async def status(self, request: Any) -> bytes:
        auth = self.state.auth
        auth.require_admin(current_user.get())
        return self._reply(pb.AuthStatusResponse, enabled=auth.enabled, authRevision=auth.revision)

    async def authenticate(self, request: Any) -> bytes:
        await self.node.linearizable()  # a password that was changed elsewhere must not do any more
        # Hashing is slow on purpose: not in the way of everybody else.
        token = await asyncio.to_thread(self.state.auth.token_for, request.name, request.password)
        return self._reply(pb.AuthenticateResponse, token=token)

    async def user_add(self, request: Any) -> bytes:
        await self._hash(request)
        return await self._change(pb.AuthUserAddResponse, user_add=request)

    async def user_change_password(self, request: Any) -> bytes:
        await self._hash(request)
        return await self._change(pb.AuthUserChangePasswordResponse, user_change_password=request)

    @staticmethod
    async def _hash(request: Any) -> None:
        if request.password:
            request.hashedPassword = await asyncio.to_thread(hash_password, request.password)
            request.ClearField("password")

    async def user_delete(self, request: Any) -> bytes:
        return await self._change(pb.AuthUserDeleteResponse, user_delete=request)

    async def user_grant_role(self, request: Any) -> bytes:
        return await self._change(pb.AuthUserGrantRoleResponse, user_grant_role=request)

    async def user_revoke_role(self, request: Any) -> bytes:
        return await self._change(pb.AuthUserRevokeRoleResponse, user_revoke_role=request)

    async def role_add(self, request: Any) -> bytes:
        return await self._change(pb.AuthRoleAddResponse, role_add=request)

    async def role_delete(self, request: Any) -> bytes:
        return await self._change(pb.AuthRoleDeleteResponse, role_delete=request)

    async def role_grant_permission(self, request: Any) -> bytes:
        return await self._change(pb.AuthRoleGrantPermissionResponse, role_grant_permission=request)

    async def role_revoke_permission(self, request: Any) -> bytes:
        return await self._change(pb.AuthRoleRevokePermissionResponse, role_revoke_permission=request)

    async def user_get(self, request: Any) -> bytes:
        user = current_user.get()
        if user != request.name:
            self.state.auth.require_admin(user)
        await self.node.linearizable()
        return self._reply(pb.AuthUserGetResponse, roles=list(self.state.auth.user(request.name).roles))

    async def user_list(self, request: Any) -> bytes:
        self.state.auth.require_admin(current_user.get())
        await self.node.linearizable()
        return self._reply(pb.AuthUserListResponse, users=sorted(self.state.auth.users))

    async def role_get(self, request: Any) -> bytes:
        auth, user = self.state.auth, current_user.get()
        if not (user in auth.users and request.role in auth.users[user].roles):
            auth.require_admin(user)
        await self.node.linearizable()
        return self._reply(pb.AuthRoleGetResponse, perm=list(auth.role(request.role).keyPermission))

    async def role_list(self, request: Any) -> bytes:
        self.state.auth.require_admin(current_user.get())
        await self.node.linearizable()
        return self._reply(pb.AuthRoleListResponse, roles=sorted(self.state.auth.roles))


def check_permission(member: Any, method: str, request: Any) -> None:
    """Refuse what the asking user may not do, before anything is done."""
    auth = member.state.auth
    if not auth.enabled:
        return
    user = current_user.get()
    match method:
        case "Range":
            auth.require(user, 1, request.key, request.range_end)
        case "Put":
            auth.require_put(user, request)
        case "DeleteRange":
            auth.require_delete(user, request)
        case "Txn":
            auth.require_request(user, request)
        case "LeaseRevoke" | "LeaseTimeToLive":
            lease = member.state.lessor.leases.get(request.ID)
            need = 2 if method == "LeaseRevoke" else 1
            if method == "LeaseRevoke" or request.keys:
                for key in lease.keys if lease is not None else ():
                    auth.require(user, need, key)
        case _ if method in ADMINISTRATION:
            auth.require_admin(user)
        case _ if method in MAINTENANCE:
            try:
                auth.require_admin(user)
            except errors.StoreError as error:
                text = error.text.replace("etcdserver:", "auth:").replace("user name not found", "user not found")
                raise errors.StoreError(text) from None
        case "Alarm" if request.action != pb.AlarmRequest.GET:
            auth.require_admin(user)


def identify(member: Any, token: str | None, certificate_name: str | None) -> None:
    """Note who is asking; raises ``INVALID_TOKEN``. Without authentication nobody is anybody."""
    auth = member.state.auth
    if not auth.enabled:
        return
    if token:
        current_user.set(auth.user_of(token))
    else:
        current_user.set(certificate_name or "")  # who is not known as a user is somebody without rights, not nobody
