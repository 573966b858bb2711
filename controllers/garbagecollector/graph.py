"""Who owns whom. Pure bookkeeping: each observation says which objects deserve another look."""

from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from kubeclient.discovery import ApiResource

Object = dict[str, Any]


@dataclass(slots=True, eq=False)
class Entry:
    """One object, cut down to what a verdict needs."""

    resource: ApiResource
    namespace: str
    name: str
    uid: str
    version: str
    owners: list[Object] = field(default_factory=list)
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    @property
    def waits_for_dependents(self) -> bool:
        """Deleted in the foreground: it goes when those that block it have gone."""
        return self.deleting and meta.FOREGROUND_FINALIZER in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        return self.deleting and meta.ORPHAN_FINALIZER in self.finalizers

    def blocks(self, owner: str) -> bool:
        return any(r["uid"] == owner and r.get("blockOwnerDeletion") for r in self.owners)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {where}{self.name}"


class Graph:
    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        # By the owner's uid, also for owners that were never seen.
        self._dependents: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, uid: str) -> Entry | None:
        return self._entries.get(uid)

    def dependents(self, uid: str) -> list[Entry]:
        return [self._entries[d] for d in self._dependents.get(uid, ())]

    def observe(self, resource: ApiResource, obj: Object) -> set[str]:
        """Added or changed: the uids to look at."""
        metadata = obj["metadata"]
        uid = metadata["uid"]
        before = self._entries.get(uid)
        owners = metadata.get("ownerReferences") or []
        entry = Entry(
            resource,
            metadata.get("namespace") or "",
            metadata["name"],
            uid,
            metadata["resourceVersion"],
            owners,
            tuple(metadata.get("finalizers") or ()),
            bool(metadata.get("deletionTimestamp")),
        )
        self._entries[uid] = entry
        old_owners = before.owners if before else []
        look: set[str] = set()
        if owners != old_owners:
            look |= self._relate(uid, old_owners, owners)
        if entry.orphans_dependents or entry.waits_for_dependents:
            look.add(uid)
            if entry.waits_for_dependents and not (before and before.waits_for_dependents):
                look.update(self._dependents.get(uid, ()))
                look.update(r["uid"] for r in owners)
        return look

    def forget(self, uid: str) -> set[str]:
        """Gone: its dependents have one owner less, and owners that waited for it may go themselves."""
        entry = self._entries.pop(uid, None)
        if entry is None:
            return set()
        look = set(self._dependents.get(uid, ()))
        look |= self._relate(uid, entry.owners, [])
        look.discard(uid)
        return look

    def _relate(self, uid: str, before: list[Object], after: list[Object]) -> set[str]:
        look = set()
        kept = {r["uid"] for r in after}
        for reference in before:
            owner = reference["uid"]
            if owner not in kept:
                dependents = self._dependents.get(owner, {})
                dependents.pop(uid, None)
                if not dependents:
                    self._dependents.pop(owner, None)
            look.add(owner)
        for owner in kept:
            self._dependents.setdefault(owner, {})[uid] = None
            present = self._entries.get(owner)
            if present is None or present.waits_for_dependents:
                look.add(uid)
        # Owners only care when they wait for their dependents.
        return {o for o in look if o == uid or ((e := self._entries.get(o)) and e.waits_for_dependents)}
