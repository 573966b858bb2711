"""Brings the default roles and bindings into the cluster, and back when somebody took something from them.

What is there is only added to, never cut, and an object whose ``rbac.authorization.kubernetes.io/autoupdate`` is ``false`` is left
alone. Several API servers may do this at once: every write is guarded, and whoever comes second finds nothing to do.
"""

import asyncio
from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver.authorization import defaults
from apiserver.authorization.defaults import Bound, Role
from apiserver.authorization.rbac import GROUP
from apiserver.authorization.rules import Rule, missing
from apiserver.context import Context
from apiserver.handlers import commit
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.storage.store import Changed

Object = dict[str, Any]
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
#: So many writes at a time: enough to share the store's commits, not enough to be in the way of others.
_AT_ONCE = 16
_ATTEMPTS = 5


def role_object(role: Role) -> Object:
    obj = _object("Role" if role.namespace else "ClusterRole", role.name, role.namespace)
    obj["metadata"]["labels"].update(role.labels)
    if role.gathers:
        obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": role.selector}]}
    obj["rules"] = [rule.json() for rule in role.rules]
    return obj


def binding_object(bound: Bound) -> Object:
    kind = "RoleBinding" if bound.namespace else "ClusterRoleBinding"
    obj = _object(kind, bound.name or bound.role, bound.namespace)
    role_kind = "Role" if bound.namespace else "ClusterRole"
    obj["roleRef"] = {"apiGroup": GROUP, "kind": role_kind, "name": bound.role}
    subjects = [_subject(text) for text in bound.subjects]
    if subjects:
        obj["subjects"] = subjects
    return obj


def _object(kind: str, name: str, namespace: str) -> Object:
    metadata: Object = {"name": name, "annotations": {AUTOUPDATE: "true"}, "labels": dict(_LABELS)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata}


def _subject(text: str) -> Object:
    kind, colon, name = text.partition(":")
    if colon and kind in ("User", "Group"):
        return {"apiGroup": GROUP, "kind": kind, "name": name}
    namespace, _, name = text.partition("/")
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def reconciled_role(current: Object, wanted: Object) -> Object:
    """``current`` with what it lacks of ``wanted``: rules, labels, annotations and aggregation selectors."""
    new = _with_metadata(current, wanted)
    held = [Rule.of(r) for r in current.get("rules") or ()]
    lacking = missing(held, (Rule.of(r) for r in wanted["rules"]))
    if "aggregationRule" in wanted:
        rule = new.setdefault("aggregationRule", {})
        selectors = rule.setdefault("clusterRoleSelectors", [])
        selectors += [s for s in wanted["aggregationRule"]["clusterRoleSelectors"] if s not in selectors]
    elif lacking:
        whole = [r for r in wanted["rules"] if missing(held, [Rule.of(r)])]
        new["rules"] = [*(new.get("rules") or ()), *whole]
    return new


def reconciled_binding(current: Object, wanted: Object) -> Object:
    """``current`` with the subjects that it lacks; its role is the same, or the binding has to be made anew."""
    new = _with_metadata(current, wanted)
    subjects = new.get("subjects") or []
    lacking = [s for s in wanted.get("subjects") or () if s not in subjects]
    if lacking:
        new["subjects"] = [*subjects, *lacking]
    return new


def _with_metadata(current: Object, wanted: Object) -> Object:
    new = copy_of(current)
    for field in ("labels", "annotations"):
        for key, value in wanted["metadata"][field].items():
            new["metadata"].setdefault(field, {}).setdefault(key, value)
    return new


async def run(context: Context) -> None:
    """Returns when everything is there and this server's own cache has seen it."""
    await context.cacher.consistent()
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(obj: Object) -> None:
        async with limit:
            await _ensure(context.endpoint(GROUP, obj["kind"].lower() + "s"), obj)

    for objects in (map(role_object, defaults.roles()), map(binding_object, defaults.bindings())):
        await asyncio.gather(*(one(obj) for obj in objects))
    await context.cacher.consistent()


async def _ensure(endpoint: Endpoint, wanted: Object) -> None:
    metadata = wanted["metadata"]
    key = endpoint.key(metadata.get("namespace", ""), metadata["name"])

    async def modify(current: Object) -> Object:
        return reconciled(current, wanted)

    for _ in range(_ATTEMPTS):
        entry = endpoint.cache.get(key)
        if entry is None and await _created(endpoint, key, wanted):
            return
        if entry is not None:
            current = endpoint.decode_entry(entry)
            if reconciled(current, wanted) == current:
                return
        try:
            if not await _dropped(endpoint, key, wanted):
                await commit.update(endpoint, key, metadata["name"], modify)
                return
        except StatusError as error:
            if error.code != 404:
                raise
        await endpoint.cacher.consistent()  # it has just gone: the next attempt sees that
    raise errors.conflict(endpoint.resource, metadata["name"])


def reconciled(current: Object, wanted: Object) -> Object:
    """``current`` as it should be; the same when it lacks nothing or is not to be touched."""
    if (current["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
        return current
    return (reconciled_role if "rules" in wanted else reconciled_binding)(current, wanted)


async def _created(endpoint: Endpoint, key: str, wanted: Object) -> bool:
    """False when it was there."""
    obj = copy_of(wanted)
    endpoint.strategy.default(obj)
    endpoint.strategy.before_create(obj)
    try:
        await commit.create(endpoint, key, obj)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        return False
    return True


async def _dropped(endpoint: Endpoint, key: str, wanted: Object) -> bool:
    """A binding cannot change its role: one that has another is removed, to be made anew. Whether it is gone."""
    if "roleRef" not in wanted:
        return False
    found = await endpoint.live(key)
    if found is None:
        return True
    current, revision = found
    if current["roleRef"] == wanted["roleRef"] or reconciled(current, wanted) is current:
        return False
    try:
        await endpoint.store.delete(endpoint.storage_key(key), revision)
    except Changed:
        return False  # somebody else is at it; the update that follows leaves its role alone
    return True
