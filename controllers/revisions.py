"""ControllerRevisions: the versions of a StatefulSet's or DaemonSet's template, for updates and ``kubectl rollout undo``."""

from typing import Any

from apimachinery import meta
from controllers.deployment import template as templates
from kubeclient import ApiError, Client, Informer

Object = dict[str, Any]

HASH_LABEL = "controller.kubernetes.io/hash"
#: On pods: which version they were made from.
POD_LABEL = "controller-revision-hash"


def data_of(owner: Object) -> Object:
    """A strategic merge patch that brings the template back: what ``kubectl rollout undo`` sends."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    return {k: v for k, v in revision["data"]["spec"]["template"].items() if k != "$patch"}


def make(owner: Object, number: int, collisions: int | None) -> Object:
    template = owner["spec"]["template"]
    suffix = templates.compute_hash(template, collisions)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: suffix}
    metadata: Object = {
        "name": f"{meta.name(owner)}-{suffix}",
        "namespace": meta.namespace(owner),
        "labels": labels,
        "ownerReferences": [meta.controller_reference(owner)],
    }
    if meta.annotations(owner):
        metadata["annotations"] = dict(meta.annotations(owner))
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": data_of(owner),
        "revision": number,
    }


def same(revision: Object, owner: Object) -> bool:
    return templates.equal(template_of(revision), owner["spec"]["template"])


def obsolete(history: list[Object], live: set[str], limit: int) -> list[Object]:
    """The oldest revisions beyond the limit that nothing uses; ``history`` is sorted by number."""
    idle = [r for r in history if meta.name(r) not in live]
    return idle[: max(0, len(idle) - limit)]


class Revisions:
    def __init__(self, client: Client, informer: Informer) -> None:
        self._api = client.resource("apps/v1", "controllerrevisions")
        self._informer = informer
        # Shared by the loops that keep revisions: whoever comes first adds the index.
        informer.add_index("controller", _controller_uid)
        # Just written and perhaps not in the cache yet, by owner's uid.
        self._fresh: dict[str, dict[str, Object]] = {}

    def history(self, owner: Object) -> list[Object]:
        """Oldest first."""
        found = {meta.name(r): r for r in self._informer.by_index("controller", meta.uid(owner))}
        fresh = self._fresh.get(meta.uid(owner), {})
        for name, revision in list(fresh.items()):
            seen = found.get(name)
            if seen is not None and seen["revision"] >= revision["revision"]:
                del fresh[name]
            else:
                found[name] = revision
        return sorted(found.values(), key=lambda r: (r["revision"], meta.name(r)))

    async def update_revision(self, owner: Object, history: list[Object]) -> Object:
        """The revision of the present template, newest by number: found, renumbered or created. Raises ApiError."""
        equal = [r for r in history if same(r, owner)]
        number = history[-1]["revision"] + 1 if history else 1
        if equal and equal[-1] is history[-1]:
            return equal[-1]
        if equal:
            renumbered = await self._api.update({**equal[-1], "revision": number})
            return self._remember(owner, renumbered)
        collisions = (owner.get("status") or {}).get("collisionCount")
        wanted = make(owner, number, collisions)
        try:
            return self._remember(owner, await self._api.create(wanted))
        except ApiError as error:
            if not error.already_exists:
                raise
        found = await self._api.get(meta.name(wanted), meta.namespace(wanted))
        if meta.is_controlled_by(found, owner) and same(found, owner):
            return self._remember(owner, found)
        raise HashCollision(meta.name(wanted))

    def _remember(self, owner: Object, revision: Object) -> Object:
        self._fresh.setdefault(meta.uid(owner), {})[meta.name(revision)] = revision
        return revision

    def forget(self, uid: str) -> None:
        self._fresh.pop(uid, None)

    async def truncate(self, owner: Object, history: list[Object], live: set[str]) -> None:
        limit = owner["spec"].get("revisionHistoryLimit")
        for revision in obsolete(history, live, 10 if limit is None else limit):
            try:
                await self._api.delete(meta.name(revision), meta.namespace(revision), uid=meta.uid(revision))
            except ApiError as error:
                if not error.not_found:
                    raise


class HashCollision(Exception):
    """The name that the hash gives is taken by another revision: the owner's collisionCount leads past it."""


def _controller_uid(revision: Object) -> list[str]:
    reference = meta.controller_of(revision)
    return [reference["uid"]] if reference else []
