"""The five verbs on the store, each one call: get, list, create, replace and delete, plus the one watch.

Writes are transactions guarded by ``mod_revision``: a caller says at which revision it saw the object (0: not there)
and learns what is there now when somebody was faster. Other keys may ride in the same transaction (``also``): that
is how a Service and its ClusterIP come into being together or not at all.

Keys are upstream's: ``/registry/pods/default/web-0``. Failures of the store surface as ``StatusError`` with upstream's
code and text (``store_error``), so that a request fails clearly and the process lives on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from apimachinery.errors import StatusError
from etcd_raft.client import (
    Compacted,
    Compare,
    DeadlineExceeded,
    EtcdClient,
    EtcdError,
    FutureRevision,
    RequestTooLarge,
    Unavailable,
    Watcher,
    op_delete,
    op_get,
    op_put,
    prefix_end,
)

#: What the store says to a value beyond its limit.
REQUEST_TOO_LARGE = "etcdserver: request is too large"
_LARGER_THAN_MAX = "message larger than max"


class KeyValue(NamedTuple):
    """A value and the revision of its last change."""

    key: str
    value: bytes
    revision: int


class Page(NamedTuple):
    items: list[KeyValue]
    more: bool
    total: int
    """How many keys the whole range holds from the asked start on."""
    revision: int


class KeyExists(Exception):
    """A create found the key taken. ``key`` may be one that rode along."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Changed(Exception):
    """A guarded write found another revision; ``current`` is what is there now, None when it is gone."""

    def __init__(self, current: KeyValue | None) -> None:
        super().__init__()
        self.current = current


@dataclass(slots=True)
class Also:
    """Keys that change together with the object: each of ``take`` must be free, ``free`` are given up."""

    take: dict[str, bytes] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.take or self.free)


def store_error(error: EtcdError) -> StatusError:
    """What a client of the API is told when the store fails."""
    if isinstance(error, Compacted):
        text = "The provided resource version is too old. Please start a new list"
        return StatusError(410, "Expired", text)
    if isinstance(error, RequestTooLarge):
        # Upstream's object limit is the store's: its error passes through to the client.
        return StatusError(500, "", REQUEST_TOO_LARGE)
    if _LARGER_THAN_MAX in error.details:
        # Upstream's client does not even send what the store's server would not take.
        sizes = error.details.partition(_LARGER_THAN_MAX)[2]
        text = f"rpc error: code = ResourceExhausted desc = trying to send {_LARGER_THAN_MAX}{sizes}"
        return StatusError(500, "", text)
    if isinstance(error, DeadlineExceeded):
        text = "Timeout: request did not complete within requested timeout - context deadline exceeded"
        return StatusError(504, "Timeout", text, {})
    if isinstance(error, Unavailable):
        return StatusError(500, "", "etcdserver: request timed out" if error.maybe_applied else error.details)
    return StatusError(500, "", error.details)


def is_too_large(error: StatusError) -> bool:
    """Whether the store refused a value for its size."""
    return error.message == REQUEST_TOO_LARGE or _LARGER_THAN_MAX in error.message


class Store:
    """One client to the store, below one prefix. Keys given and returned are relative to that prefix."""

    def __init__(self, client: EtcdClient, prefix: str = "/registry") -> None:
        self.client = client
        self.prefix = "/" + prefix.strip("/") + "/"
        self._encoded = self.prefix.encode()

    def full(self, key: str) -> bytes:
        return self._encoded + key.encode()

    def relative(self, key: bytes) -> str:
        return key[len(self._encoded) :].decode()

    async def get(self, key: str) -> KeyValue | None:
        """The newest committed value (linearizable)."""
        try:
            result = await self.client.get(self.full(key))
        except EtcdError as error:
            raise store_error(error) from error
        return self._pair(result.kvs[0]) if result.kvs else None

    async def revision(self, *, timeout: float | None = None) -> int:
        """The store's revision, agreed on by a quorum after this call began."""
        try:
            result = await self.client.get(self._encoded, limit=1, keys_only=True, timeout=timeout)
        except EtcdError as error:
            raise store_error(error) from error
        return result.revision

    async def range(self, prefix: str, *, start: str = "", revision: int = 0, limit: int = 0) -> Page:
        """Keys that begin with ``prefix``, from ``start`` on, as they were at ``revision`` (0: now).

        Raises the 410 of ``store_error`` when that revision has been compacted.
        """
        first = self.full(start or prefix)
        end = prefix_end(self.full(prefix))
        try:
            result = await self.client.get(first, range_end=end, limit=limit, revision=revision)
        except FutureRevision as error:
            raise StatusError(500, "", error.details) from error
        except EtcdError as error:
            raise store_error(error) from error
        items = [self._pair(kv) for kv in result.kvs]
        return Page(items, result.more, result.count, result.revision)

    async def create(self, key: str, value: bytes, *, lease: int = 0, also: Also | None = None) -> int:
        """The revision of the new key. Raises ``KeyExists``."""
        taken = {key: value, **(also.take if also else {})}
        keys = [self.full(k) for k in taken]
        puts = [
            op_put(full, data, lease=lease if i == 0 else 0)
            for i, (full, data) in enumerate(zip(keys, taken.values(), strict=True))
        ]
        checks = [op_get(full, keys_only=True) for full in keys] if len(keys) > 1 else []
        result = await self._txn([Compare.mod_revision(k, "=", 0) for k in keys], puts, checks)
        if result.succeeded:
            return int(result.revision)
        raise KeyExists(self._first_taken(result.responses, list(taken)))

    async def replace(self, key: str, value: bytes, revision: int, *, lease: int = 0, also: Also | None = None) -> int:
        """Change what was seen at ``revision``. Raises ``Changed``, or ``KeyExists`` for a key that was to be taken."""
        full = self.full(key)
        compare = [Compare.mod_revision(full, "=", revision)]
        puts = [op_put(full, value, lease=lease)]
        checks = [op_get(full)]
        taken = list(also.take) if also else []
        if also:
            compare += [Compare.mod_revision(self.full(k), "=", 0) for k in taken]
            puts += [op_put(self.full(k), v) for k, v in also.take.items()]
            puts += [op_delete(self.full(k)) for k in also.free]
            checks += [op_get(self.full(k), keys_only=True) for k in taken]
        result = await self._txn(compare, puts, checks)
        if result.succeeded:
            return int(result.revision)
        current = result.responses[0].kvs
        if not current or current[0].mod_revision != revision:
            raise Changed(self._pair(current[0]) if current else None)
        raise KeyExists(self._first_taken(result.responses[1:], taken))

    async def delete(self, key: str, revision: int, *, also: Sequence[str] = ()) -> int:
        """Remove what was seen at ``revision``; the revision of the deletion. Raises ``Changed``."""
        full = self.full(key)
        deletes = [op_delete(full), *(op_delete(self.full(k)) for k in also)]
        result = await self._txn([Compare.mod_revision(full, "=", revision)], deletes, [op_get(full)])
        if result.succeeded:
            return int(result.revision)
        current = result.responses[0].kvs
        raise Changed(self._pair(current[0]) if current else None)

    async def lease(self, seconds: int) -> int:
        """A lease that ends after about ``seconds``; keys written with it go with it."""
        try:
            return (await self.client.lease_grant(seconds)).id
        except EtcdError as error:
            raise store_error(error) from error

    def watch(self, start_revision: int) -> Watcher:
        """Every change below the prefix from ``start_revision`` on, with notices of progress."""
        return self.client.watch(
            self._encoded, prefix_end(self._encoded), start_revision=start_revision, progress_notify=True
        )

    async def _txn(self, compare: list[Any], success: list[Any], failure: list[Any]) -> Any:
        try:
            return await self.client.txn(compare, success, failure)
        except EtcdError as error:
            raise store_error(error) from error

    def _pair(self, kv: Any) -> KeyValue:
        return KeyValue(self.relative(kv.key), kv.value, kv.mod_revision)

    @staticmethod
    def _first_taken(responses: Sequence[Any], keys: Sequence[str]) -> str:
        for key, response in zip(keys, responses, strict=False):
            if response.kvs:
                return key
        return keys[0]
