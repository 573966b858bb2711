"""How a change reaches the store: create, guarded update with retry, delete.

An update starts from the cached object, which may be a little old. The guard finds that out: the store then hands
back what is there, and the change is computed again from that. A refusal computed from the cache (a conflict, a rule)
is only believed once the store has confirmed that the cached object is the current one.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from apimachinery import errors
from apimachinery.apply import same_but_times
from apimachinery.errors import StatusError
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.storage.store import Also, Changed, KeyExists, is_too_large

Object = dict[str, Any]
#: Computes the new object from the current one (which it must leave as it is).
Modify = Callable[[Object], Awaitable[Object]]

#: A change that loses this many races in a row is given up with 409.
MAX_RACES = 100
#: An allocation that finds its address or port taken meanwhile is tried again with another.
MAX_ALLOCATIONS = 16


async def create(endpoint: Endpoint, key: str, obj: Object, *, lease: int = 0, dry_run: bool = False) -> Object:
    """Write a new object; returns it with its resourceVersion. Raises 409 AlreadyExists."""
    name = obj["metadata"]["name"]
    storage_key = endpoint.storage_key(key)
    also: Also | None = None
    asked = copy_of(obj) if endpoint.allocate is not None else obj
    for _ in range(MAX_ALLOCATIONS):
        if endpoint.allocate is not None:
            obj = copy_of(asked)  # without what an earlier attempt chose and somebody else took
            also = await endpoint.allocate(obj, None)
        if dry_run:
            if endpoint.cache.get(key) is not None or await endpoint.live(key) is not None:
                raise errors.already_exists(endpoint.resource, name)
            return obj
        try:
            revision = await _create(endpoint, storage_key, obj, lease, also)
        except KeyExists as taken:
            if taken.key == storage_key:
                raise errors.already_exists(endpoint.resource, name) from None
            continue
        obj["metadata"]["resourceVersion"] = str(revision)
        return obj
    raise errors.server_timeout(endpoint.resource, "create", 1)


async def _create(endpoint: Endpoint, key: str, obj: Object, lease: int, also: Also | None) -> int:
    try:
        return await endpoint.store.create(key, endpoint.encode(obj), lease=lease, also=also)
    except StatusError as error:
        if not _shed(obj, error):
            raise
    return await endpoint.store.create(key, endpoint.encode(obj), lease=lease, also=also)


def _shed(obj: Object, error: StatusError) -> bool:
    """Drops the owners of an object that is too large with them, as upstream; whether that is worth another try."""
    return is_too_large(error) and obj["metadata"].pop("managedFields", None) is not None


async def update(
    endpoint: Endpoint,
    key: str,
    name: str,
    modify: Modify,
    *,
    dry_run: bool = False,
    lease: int = 0,
    shed: bool = True,
) -> Object:
    """Change an object; returns it as it is afterwards. Raises 404 when it is not there.

    ``modify`` may run several times. When it changes nothing, nothing is written and the revision stays. An object
    that is being deleted and has lost its last finalizer is removed instead of written. ``shed``: an object that is too
    large may lose its owners.
    """
    entry = endpoint.cache.get(key)
    if entry is not None:
        current, revision, fresh = endpoint.decode_entry(entry), entry.revision, False
    else:
        current, revision = await _live(endpoint, key, name)
        fresh = True
    for _ in range(MAX_RACES):
        try:
            new = await modify(current)
            same = _same(new, current)
        except StatusError:
            if fresh:
                raise
            same = True
            new = None
        if same and not fresh:
            seen = revision
            current, revision = await _live(endpoint, key, name)
            fresh = True
            if new is None or revision != seen:
                continue
        if new is None:
            raise AssertionError("a refusal computed from a fresh object is raised above")
        if same:
            return new
        try:
            return await _write(endpoint, key, new, current, revision, dry_run=dry_run, lease=lease, shed=shed)
        except Changed as changed:
            if changed.current is None:
                raise endpoint.not_found(name) from None
            revision = changed.current.revision
            current = endpoint.decode_value(changed.current.value, revision)
            fresh = True
        except KeyExists:
            continue
    raise errors.conflict(endpoint.resource, name)


async def _write(
    endpoint: Endpoint,
    key: str,
    new: Object,
    old: Object,
    revision: int,
    *,
    dry_run: bool,
    lease: int,
    shed: bool,
) -> Object:
    if may_remove(endpoint, new, old):
        if not dry_run:
            also = endpoint.release(new) if endpoint.release is not None else ()
            revision = await endpoint.store.delete(endpoint.storage_key(key), revision, also=also)
            new["metadata"]["resourceVersion"] = str(revision)
        return new
    also_set: Also | None = None
    if endpoint.allocate is not None:
        also_set = await endpoint.allocate(new, old)
    if dry_run:
        return new
    storage_key = endpoint.storage_key(key)
    try:
        written = await endpoint.store.replace(storage_key, endpoint.encode(new), revision, lease=lease, also=also_set)
    except StatusError as error:
        if not shed or not _shed(new, error):
            raise
        written = await endpoint.store.replace(storage_key, endpoint.encode(new), revision, lease=lease, also=also_set)
    new["metadata"]["resourceVersion"] = str(written)
    return new


def may_remove(endpoint: Endpoint, new: Object, old: Object) -> bool:
    """Whether an update takes the last thing away that kept a deleted object alive (upstream's ShouldDeleteDuringUpdate)."""
    if not old["metadata"].get("deletionTimestamp") or new["metadata"].get("finalizers"):
        return False
    if endpoint.resource.kind == "Namespace" and (new.get("spec") or {}).get("finalizers"):
        return False
    return not old["metadata"].get("deletionGracePeriodSeconds")


async def _live(endpoint: Endpoint, key: str, name: str) -> tuple[Object, int]:
    found = await endpoint.live(key)
    if found is None:
        raise endpoint.not_found(name)
    return found


def _same(new: Object, current: Object) -> bool:
    """Equal but for a resourceVersion that the client may have left out, and for the times at which owners wrote."""
    metadata, now = new["metadata"], current["metadata"]
    if metadata.get("resourceVersion") != now.get("resourceVersion"):
        metadata["resourceVersion"] = now["resourceVersion"]
    if any(new.get(k) != v for k, v in current.items() if k != "metadata") or len(new) != len(current):
        return False
    if metadata == now:
        return True
    if "managedFields" not in now or not same_but_times(current, new):
        return False
    metadata["managedFields"] = now["managedFields"]
    return True
