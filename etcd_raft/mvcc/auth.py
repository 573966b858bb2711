"""Users, roles and what they may do: changed through the log, asked before and when an entry is applied.

Passwords never enter the log: the member that is asked hashes them. Tokens carry the user and an end, signed with the cluster's
secret and the user's password hash, so every member can check every token, and a changed password ends the old ones.
"""

import base64
import hashlib
import hmac
import os
import time
from typing import Any

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.backend import Backend
from etcd_raft.proto.auth_pb2 import Permission, Role, User
from etcd_raft.proto.internal_pb2 import UserTable

ROOT = "root"
_TOKEN_SECONDS = 300
READ, WRITE = 1, 2
_NO_END = b"\0"


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    return base64.b64encode(salt + _scrypt(password, salt)).decode()


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 12, r=8, p=1)


class AuthStore:
    """``revision`` counts changes: an entry proposed under an older one is refused when it is applied."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.load()

    def load(self) -> None:
        table = UserTable.FromString(self._backend.get_meta(b"auth") or b"")
        self.users: dict[str, Any] = {user.name.decode(): user for user in table.users}
        self.roles: dict[str, Any] = {role.name.decode(): role for role in table.roles}
        self.enabled: bool = table.enabled
        self.revision: int = table.revision or 1
        self._secret: bytes = table.secret

    def _changed(self) -> None:
        self.revision += 1
        self._save()

    def _save(self) -> None:
        table = UserTable(
            users=[self.users[name] for name in sorted(self.users)],
            roles=[self.roles[name] for name in sorted(self.roles)],
            enabled=self.enabled,
            revision=self.revision,
            secret=self._secret,
        )
        self._backend.put_meta(b"auth", table.SerializeToString())

    # ---- who

    def token_for(self, name: str, password: str) -> str:
        """Raises ``AUTH_NOT_ENABLED`` or ``AUTH_FAILED``."""
        if not self.enabled:
            raise errors.AUTH_NOT_ENABLED
        user = self.users.get(name)
        if user is None:
            raise errors.AUTH_FAILED
        if user.options.no_password:
            raise errors.NO_PASSWORD_USER
        stored = base64.b64decode(user.password)
        if not hmac.compare_digest(_scrypt(password, stored[:16]), stored[16:]):
            raise errors.AUTH_FAILED
        claim = f"{base64.urlsafe_b64encode(name.encode()).decode()}.{int(time.time()) + _TOKEN_SECONDS}"
        return f"{claim}.{self._sign(user, claim)}"

    def user_of(self, token: str) -> str:
        """Who a token is for; raises ``INVALID_TOKEN``."""
        claim, _, signature = token.rpartition(".")
        encoded, _, end = claim.partition(".")
        try:
            name = base64.urlsafe_b64decode(encoded.encode()).decode()
            fresh = int(end) > time.time()
        except ValueError:
            raise errors.INVALID_TOKEN from None
        user = self.users.get(name)
        if user is None or not fresh or not hmac.compare_digest(self._sign(user, claim), signature):
            raise errors.INVALID_TOKEN
        return name

    def _sign(self, user: Any, claim: str) -> str:
        return hmac.new(self._secret + user.password, claim.encode(), "sha256").hexdigest()

    # ---- may they

    def is_admin(self, name: str) -> bool:
        user = self.users.get(name)
        return user is not None and ROOT in user.roles

    def require_admin(self, name: str) -> None:
        if not self.enabled:
            return
        if not name:
            raise errors.USER_EMPTY
        if name not in self.users:
            raise errors.USER_NOT_FOUND
        if not self.is_admin(name):
            raise errors.PERMISSION_DENIED

    def require(self, name: str, need: int, key: bytes, end: bytes = b"") -> None:
        """The user may read or write all of ``[key, end)``."""
        if not self.enabled:
            return
        if not name:
            raise errors.USER_EMPTY
        user = self.users.get(name)
        if user is None:
            raise errors.PERMISSION_DENIED
        if ROOT in user.roles:
            return
        granted = [
            permission
            for role in user.roles
            if role in self.roles
            for permission in self.roles[role].keyPermission
            if permission.permType == Permission.READWRITE or permission.permType == (0 if need == READ else 1)
        ]
        if not _covers(granted, key, end):
            raise errors.PERMISSION_DENIED

    def require_request(self, name: str, request: Any) -> None:
        """The user may do all that a transaction could do, in either branch."""
        if not self.enabled:
            return
        for compare in request.compare:
            self.require(name, READ, compare.key, compare.range_end)
        for op in (*request.success, *request.failure):
            match op.WhichOneof("request"):
                case "request_range":
                    self.require(name, READ, op.request_range.key, op.request_range.range_end)
                case "request_put":
                    self.require_put(name, op.request_put)
                case "request_delete_range":
                    self.require_delete(name, op.request_delete_range)
                case "request_txn":
                    self.require_request(name, op.request_txn)

    def require_put(self, name: str, request: Any) -> None:
        self.require(name, WRITE, request.key)
        if request.prev_kv:
            self.require(name, READ, request.key)

    def require_delete(self, name: str, request: Any) -> None:
        self.require(name, WRITE, request.key, request.range_end)
        if request.prev_kv:
            self.require(name, READ, request.key, request.range_end)

    # ---- changes, as applied

    def enable(self, request: Any) -> None:
        if self.enabled:
            return
        root = self.users.get(ROOT)
        if root is None:
            raise errors.ROOT_USER_MISSING
        if ROOT not in root.roles:
            raise errors.ROOT_ROLE_MISSING
        self.enabled, self._secret = True, request.secret
        self._save()  # nobody's rights are other than before: no new revision, as in etcd

    def disable(self, request: Any) -> None:
        if self.enabled:
            self.enabled = False
            self._changed()

    def user_add(self, request: Any) -> None:
        if not request.name:
            raise errors.USER_EMPTY
        if request.name in self.users:
            raise errors.USER_EXISTS
        user = User(name=request.name.encode(), password=request.hashedPassword.encode(), options=request.options)
        self.users[request.name] = user
        self._changed()

    def user_delete(self, request: Any) -> None:
        if self.enabled and request.name == ROOT:
            raise errors.INVALID_AUTH_MANAGEMENT
        self.user(request.name)
        del self.users[request.name]
        self._changed()

    def user_change_password(self, request: Any) -> None:
        self.user(request.name).password = request.hashedPassword.encode()
        self._changed()

    def user_grant_role(self, request: Any) -> None:
        user = self.user(request.user)
        if request.role != ROOT:
            self.role(request.role)
        if request.role in user.roles:
            return
        roles = sorted([*user.roles, request.role])
        del user.roles[:]
        user.roles.extend(roles)
        self._changed()

    def user_revoke_role(self, request: Any) -> None:
        if self.enabled and request.name == ROOT and request.role == ROOT:
            raise errors.INVALID_AUTH_MANAGEMENT
        user = self.user(request.name)
        if request.role not in user.roles:
            raise errors.ROLE_NOT_GRANTED
        user.roles.remove(request.role)
        self._changed()

    def role_add(self, request: Any) -> None:
        if not request.name:
            raise errors.ROLE_EMPTY
        if request.name in self.roles:
            raise errors.ROLE_EXISTS
        self.roles[request.name] = Role(name=request.name.encode())
        self._changed()

    def role_delete(self, request: Any) -> None:
        if self.enabled and request.role == ROOT:
            raise errors.INVALID_AUTH_MANAGEMENT
        self.role(request.role)
        del self.roles[request.role]
        for user in self.users.values():
            if request.role in user.roles:
                user.roles.remove(request.role)
        self._changed()

    def role_grant_permission(self, request: Any) -> None:
        if not request.HasField("perm"):
            raise errors.PERMISSION_NOT_GIVEN
        role = self.role(request.name)
        kept = [p for p in role.keyPermission if (p.key, p.range_end) != (request.perm.key, request.perm.range_end)]
        self._set_permissions(role, [*kept, request.perm])

    def role_revoke_permission(self, request: Any) -> None:
        role = self.role(request.role)
        kept = [p for p in role.keyPermission if (p.key, p.range_end) != (request.key, request.range_end)]
        if len(kept) == len(role.keyPermission):
            raise errors.PERMISSION_NOT_GRANTED
        self._set_permissions(role, kept)

    def _set_permissions(self, role: Any, permissions: list[Any]) -> None:
        copies = sorted(permissions, key=lambda p: (p.key, p.range_end))
        fresh = Role(name=role.name, keyPermission=copies)
        self.roles[role.name.decode()] = fresh
        self._changed()

    # ---- lookups

    def user(self, name: str) -> Any:
        if name not in self.users:
            raise errors.USER_NOT_FOUND
        return self.users[name]

    def role(self, name: str) -> Any:
        if name not in self.roles:
            raise errors.ROLE_NOT_FOUND
        return self.roles[name]


def _covers(granted: list[Any], key: bytes, end: bytes) -> bool:
    """Whether permissions, which may lie side by side, cover all of ``[key, end)``."""
    reached = key
    goal = end or key + b"\0"
    for permission in sorted(granted, key=lambda p: p.key):
        upto = permission.range_end or permission.key + b"\0"
        if permission.key > reached:
            break
        if upto == _NO_END:
            return True
        reached = max(reached, upto)
        if goal != _NO_END and reached >= goal:
            return True
    return False
