"""What can go wrong between a client and the store, as exceptions that a caller can tell apart.

The store answers with a gRPC code and a text; both stay on the exception. Whether a failed write may nevertheless
have happened is the one thing a caller has to know, so it has a name of its own: ``maybe_applied``.
"""


class EtcdError(Exception):
    """The store (or the way to it) said no. ``code`` is the gRPC code's name, such as ``OUT_OF_RANGE``."""

    def __init__(self, code: str, details: str, *, maybe_applied: bool = False) -> None:
        super().__init__(f"{details} ({code})")
        self.code = code
        self.details = details
        self.maybe_applied = maybe_applied


class Compacted(EtcdError):
    """The asked revision is gone. ``compact_revision`` is the oldest one still there, 0 when the store did not say."""

    def __init__(self, code: str, details: str, *, compact_revision: int = 0) -> None:
        super().__init__(code, details)
        self.compact_revision = compact_revision


class FutureRevision(EtcdError):
    """The asked revision has not happened yet (or this member has not seen it)."""


class LeaseNotFound(EtcdError):
    """The lease is not there: expired, revoked or never granted."""


class RequestTooLarge(EtcdError):
    """The request is larger than the store takes (1.5 MiB by default)."""


class NoSpace(EtcdError):
    """The store's space quota is exhausted: it takes reads and deletes only until an operator makes room."""


class Unavailable(EtcdError):
    """No endpoint served the call. ``maybe_applied`` says whether a write may have happened all the same."""


class NoLeader(Unavailable):
    """The members that answer have no leader, so nothing can be agreed on right now."""


class DeadlineExceeded(EtcdError):
    """The answer did not come in time; a write may have happened all the same."""


class PermissionDenied(EtcdError):
    """The user that this client speaks for may not do this."""


BY_TEXT: dict[str, type[EtcdError]] = {
    "etcdserver: mvcc: required revision has been compacted": Compacted,
    "etcdserver: mvcc: required revision is a future revision": FutureRevision,
    "etcdserver: requested lease not found": LeaseNotFound,
    "etcdserver: request is too large": RequestTooLarge,
    "etcdserver: mvcc: database space exceeded": NoSpace,
    "etcdserver: no leader": NoLeader,
    "etcdserver: permission denied": PermissionDenied,
}
BY_CODE: dict[str, type[EtcdError]] = {"UNAVAILABLE": Unavailable, "DEADLINE_EXCEEDED": DeadlineExceeded}

# Answers that etcd gives before a proposal is made: a write that got one of them has surely not happened.
NEVER_PROPOSED = frozenset({"etcdserver: no leader", "etcdserver: too many requests", "etcdserver: not capable"})


def surely_not_applied(code: str, details: str) -> bool:
    """Whether a write that failed like this cannot have happened."""
    if code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL"):
        return True  # the store refused it and said so
    return details in NEVER_PROPOSED


def error_from(code: str, details: str) -> EtcdError:
    """The exception for a gRPC code and text."""
    kind = BY_TEXT.get(details) or BY_CODE.get(code, EtcdError)
    if kind is Compacted:
        return Compacted(code, details)
    return kind(code, details, maybe_applied=not surely_not_applied(code, details))
