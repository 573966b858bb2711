"""Refusals, with etcd's gRPC codes and texts: clients compare these words."""


class StoreError(Exception):
    """The store refuses; ``code`` is a gRPC code's name. Each refusal is a class: raising it makes a fresh instance."""

    code = "UNKNOWN"
    text = ""

    def __init__(self, text: str | None = None) -> None:
        if text is not None:
            self.text = text
        super().__init__(self.text)


def _kind(code: str, text: str) -> type[StoreError]:
    return type("StoreError", (StoreError,), {"code": code, "text": f"etcdserver: {text}"})


def _invalid(text: str) -> type[StoreError]:
    return _kind("INVALID_ARGUMENT", text)


def _failed(text: str) -> type[StoreError]:
    return _kind("FAILED_PRECONDITION", text)


def _unavailable(text: str) -> type[StoreError]:
    return _kind("UNAVAILABLE", text)


def _plain(text: str) -> type[StoreError]:
    return type("StoreError", (StoreError,), {"code": "UNKNOWN", "text": text})


EMPTY_KEY = _invalid("key is not provided")
KEY_NOT_FOUND = _invalid("key not found")
VALUE_PROVIDED = _invalid("value is provided")
LEASE_PROVIDED = _invalid("lease is provided")
TOO_MANY_OPS = _invalid("too many operations in txn request")
DUPLICATE_KEY = _invalid("duplicate key given in txn request")
INVALID_SORT = _invalid("invalid sort option")
REQUEST_TOO_LARGE = _invalid("request is too large")
COMPACTED = _kind("OUT_OF_RANGE", "mvcc: required revision has been compacted")
FUTURE_REVISION = _kind("OUT_OF_RANGE", "mvcc: required revision is a future revision")
NO_SPACE = _kind("RESOURCE_EXHAUSTED", "mvcc: database space exceeded")
TOO_MANY_REQUESTS = _kind("RESOURCE_EXHAUSTED", "too many requests")
LEASE_NOT_FOUND = _kind("NOT_FOUND", "requested lease not found")
LEASE_EXISTS = _failed("lease already exists")
LEASE_TTL_TOO_LARGE = _kind("OUT_OF_RANGE", "too large lease TTL")
CORRUPT = _kind("DATA_LOSS", "corrupt cluster")

MEMBER_EXISTS = _failed("member ID already exist")
PEER_URL_EXISTS = _failed("Peer URLs already exists")
MEMBER_NOT_ENOUGH_STARTED = _failed("re-configuration failed due to not enough started members")
MEMBER_BAD_URLS = _invalid("given member URLs are invalid")
MEMBER_NOT_FOUND = _kind("NOT_FOUND", "member not found")
MEMBER_NOT_LEARNER = _failed("can only promote a learner member")
LEARNER_NOT_READY = _failed("can only promote a learner member which is in sync with leader")
TOO_MANY_LEARNERS = _failed("too many learner members in cluster")
UNHEALTHY = _unavailable("unhealthy cluster")

NO_LEADER = _unavailable("no leader")
NOT_LEADER = _failed("not leader")
LEADER_CHANGED = _unavailable("leader changed")
STOPPED = _unavailable("server stopped")
TIMEOUT = _unavailable("request timed out")
TIMEOUT_LEADER_FAILED = _unavailable("request timed out, possibly due to previous leader failure")
BAD_TRANSFEREE = _failed("bad leader transferee")
NOT_FOR_LEARNERS = _failed("rpc not supported for learner")

BAD_VERSION = _invalid("wrong downgrade target version format")
BAD_DOWNGRADE_TARGET = _invalid("invalid downgrade target version")
NO_DOWNGRADE = _failed("no inflight downgrade job")

ROOT_USER_MISSING = _failed("root user does not exist")
ROOT_ROLE_MISSING = _failed("root user does not have root role")
USER_EXISTS = _failed("user name already exists")
USER_EMPTY = _invalid("user name is empty")
USER_NOT_FOUND = _failed("user name not found")
ROLE_EXISTS = _failed("role name already exists")
ROLE_NOT_FOUND = _failed("role name not found")
ROLE_EMPTY = _invalid("role name is empty")
AUTH_FAILED = _invalid("authentication failed, invalid user ID or password")
# It has no gRPC code in etcd 3.5 and goes out as it is.
NO_PASSWORD_USER = _plain("auth: authentication failed, password was given for no password user")
PERMISSION_NOT_GIVEN = _invalid("permission not given")
PERMISSION_DENIED = _kind("PERMISSION_DENIED", "permission denied")
ROLE_NOT_GRANTED = _failed("role is not granted to the user")
PERMISSION_NOT_GRANTED = _failed("permission is not granted to the role")
AUTH_NOT_ENABLED = _failed("authentication is not enabled")
INVALID_TOKEN = _kind("UNAUTHENTICATED", "invalid auth token")
INVALID_AUTH_MANAGEMENT = _invalid("invalid auth management")
AUTH_OLD_REVISION = _invalid("revision of auth store is old")
