"""Who owns what a selector chooses: adoption of orphans, release of what no longer matches.

An owner holds what carries its controller reference *and* its labels. Matching orphans are adopted, owned objects whose labels
were changed are let go (and may be adopted by another). Both are patches guarded by the object's uid.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from apimachinery import meta
from apimachinery.selectors import NOTHING, Selector
from kubeclient import ApiError, ResourceClient
from kubeclient.rest import STRATEGIC_MERGE_PATCH

Object = dict[str, Any]
T = TypeVar("T")


@dataclass
class Claims(Generic[T]):
    """``keep`` is owned and stays; ``adopt`` and ``release`` need a patch each."""

    keep: list[T] = field(default_factory=list)
    adopt: list[T] = field(default_factory=list)
    release: list[T] = field(default_factory=list)


def claim(
    selector: Selector,
    owned: Iterable[T],
    orphans: Iterable[T],
    *,
    owner_deleting: bool,
    labels: Callable[[T], Mapping[str, str]],
    deleting: Callable[[T], bool],
) -> Claims[T]:
    """An owner on its way out neither adopts nor releases; an object on its way out is not adopted."""
    if selector is NOTHING:
        # It would let go of whatever it creates, and create again, for ever.
        raise SelectsNothing("the selector selects nothing: left alone")
    claims: Claims[T] = Claims()
    for one in owned:
        if selector.matches(labels(one)):
            claims.keep.append(one)
        elif not owner_deleting:
            claims.release.append(one)
    if not owner_deleting:
        claims.adopt = [one for one in orphans if selector.matches(labels(one)) and not deleting(one)]
    return claims


class SelectsNothing(Exception):
    """An owner without a selector, which validation should have refused."""


class OwnerChanged(Exception):
    """The owner in the cache is not the living one: nothing may be adopted in its name."""


async def ensure_alive(owners: ResourceClient, owner: Object) -> None:
    """Asks the server, not the cache: adopting for a deleted owner would hand the object to the garbage collector."""
    try:
        live = await owners.get(meta.name(owner), meta.namespace(owner) or None)
    except ApiError as error:
        if not error.not_found:
            raise
        raise OwnerChanged(f"{owner['kind']} {meta.key(owner)} is gone") from None
    if meta.uid(live) != meta.uid(owner) or meta.is_deleting(live):
        raise OwnerChanged(f"{owner['kind']} {meta.key(owner)} is being deleted or was replaced")


async def settle(
    found: Claims[T],
    owner: Object,
    *,
    owners: ResourceClient,
    dependents: ResourceClient,
    object_of: Callable[[T], Object],
    claimant: Callable[[Object], T],
) -> list[T]:
    """Releases and adopts as ``found`` says; gives what the owner has then, the adopted ones as the server has them now."""
    for one in found.release:
        await release(dependents, owner, object_of(one))
    if found.adopt:
        await ensure_alive(owners, owner)
        adopted = [await adopt(dependents, owner, object_of(one)) for one in found.adopt]
        found.keep += [claimant(obj) for obj in adopted if obj is not None]
    return found.keep


async def claim_objects(
    owner: Object,
    selector: Selector,
    owned: Iterable[Object],
    orphans: Iterable[Object],
    *,
    owners: ResourceClient,
    dependents: ResourceClient,
) -> list[Object]:
    """`claim` and `settle` for plain objects."""
    found = claim(
        selector, owned, orphans, owner_deleting=meta.is_deleting(owner), labels=meta.labels, deleting=meta.is_deleting
    )
    return await settle(
        found, owner, owners=owners, dependents=dependents, object_of=lambda one: one, claimant=lambda one: one
    )


async def adopt(dependents: ResourceClient, owner: Object, obj: Object) -> Object | None:
    """The object now that it is ours; None if it has vanished meanwhile."""
    patch = {"metadata": {"ownerReferences": [meta.controller_reference(owner)], "uid": meta.uid(obj)}}
    return await _patch(dependents, obj, patch)


async def release(dependents: ResourceClient, owner: Object, obj: Object) -> None:
    gone = [{"$patch": "delete", "uid": meta.uid(owner)}]
    await _patch(dependents, obj, {"metadata": {"ownerReferences": gone, "uid": meta.uid(obj)}})


async def _patch(dependents: ResourceClient, obj: Object, patch: Object) -> Object | None:
    try:
        return await dependents.patch(
            meta.name(obj), patch, meta.namespace(obj) or None, content_type=STRATEGIC_MERGE_PATCH
        )
    except ApiError as error:
        # Gone, or replaced by another of the same name (the uid no longer fits): no longer our business.
        if error.not_found or error.code == 422:
            return None
        raise
