"""Who owns which field of an object: kept up to date by every write, and decided on by server-side apply.

The order of steps is upstream's (``managedfields`` and ``structured-merge-diff``'s ``merge.Updater``). An update owns what it
changes and takes it from everybody else. An apply owns what its configuration says, together with whoever owns the same
with the same value; it conflicts where another manager owns a field with another value, and what it said last
time and says no longer goes away unless somebody else owns it.
"""

from collections.abc import Callable
from typing import Any

import orjson

from apimachinery import errors
from apimachinery.apply import fieldset, lastapplied, managed, validate
from apimachinery.apply.compare import compare, same
from apimachinery.apply.conflict import Conflicts
from apimachinery.apply.element import ElementError
from apimachinery.apply.fieldset import FieldSet
from apimachinery.apply.managed import APPLY, UPDATE, Managed, ManagedFieldsError, Manager, Owned
from apimachinery.apply.merge import fields_of, merge, reconciled, remove, with_named
from apimachinery.apply.shape import Shape, shape_of
from apimachinery.meta import now_rfc3339
from apimachinery.schema import decode
from apimachinery.schema.definitions import Schema

Object = dict[str, Any]

#: An object at another version of its API, and that version's schema; None for a version that is not served (any more).
Converter = Callable[[Object, str], tuple[Object, Schema | None] | None]

_NEVER_OWNED = frozenset({"apiVersion", "kind"})
_NEVER_OWNED_METADATA = frozenset(
    {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields"}
    | {"resourceVersion"}
)
_METADATA = "f:metadata"


class FieldManager:
    """Ownership for one resource, or one subresource of it, at one version of the API.

    ``schema`` is None for kinds without one. ``reset``: the fields that this endpoint does not write (status, or on the
    status subresource everything else), where they differ by API version. ``only``: the pattern of those that it does write,
    for subresources that are about a few fields. ``zero`` is what an object holds that nobody has written to. Nothing here
    changes its arguments, and what it returns shares parts with them.
    """

    def __init__(
        self,
        schema: Schema | None,
        group: str,
        version: str,
        kind: str,
        *,
        subresource: str = "",
        reset: FieldSet | dict[str, FieldSet] | None = None,
        only: FieldSet | None = None,
        convert: Converter | None = None,
    ) -> None:
        self.api_version = f"{group}/{version}" if group else version
        self.gvk = f"{group}/{version}, Kind={kind}"
        self.kind = kind
        self.schema = schema
        self.shape = shape_of(schema)
        self.subresource = subresource
        per_version = reset is not None and not any(step.startswith("f:") for step in reset)
        self.reset: dict[str, FieldSet] = (reset or {}) if per_version else {self.api_version: reset or {}}
        self.only = only or {}
        self.convert = convert
        self.zero: Object = decode(schema, {})[0] if schema is not None else {}

    def written(self, fields: FieldSet, version: str) -> FieldSet:
        """Those fields of a set that this endpoint writes."""
        return fieldset.recursive_difference(fieldset.matching(fields, self.only), self.reset.get(version, {}))

    # --- create, update, patch ------------------------------------------------------------------------------------

    def update(self, live: Object | None, new: Object, manager: str, *, now: str | None = None) -> Object:
        """``new`` with the managedFields that follow from its difference to ``live`` (None: it is being created).

        A client may send managedFields: changed ones are taken if they can be understood, an empty list forgets all owners,
        and none at all, or wrong ones, mean those of the live object.
        """
        entries, trusted = self._entries(live, new)
        if not entries and (live or {}).get("metadata", {}).get("uid"):
            return _with_entries(new, [])  # without owners, and so it stays until somebody applies
        try:
            owners = managed.decode(entries, trusted=trusted)
            owners = self._updated(live or self.zero, new, owners, manager, now)
        except (ElementError, ManagedFieldsError):
            # An object whose lists cannot be walked is still written; its owners stay as they were.
            return _with_entries(new, (live or {}).get("metadata", {}).get("managedFields") or [])
        return _with_entries(new, managed.encode(owners))

    def _entries(self, live: Object | None, new: Object) -> tuple[list[Object], bool]:
        """The managedFields to start from, and whether they are our own."""
        ours = (live or {}).get("metadata", {}).get("managedFields") or []
        theirs = new.get("metadata", {}).get("managedFields")
        if self.subresource or theirs is None or theirs == ours:
            return ours, True
        if managed.is_reset(theirs):
            return [], True
        try:
            managed.decode(theirs)
        except ManagedFieldsError:
            return ours, True
        return theirs, False

    def _updated(self, live: Object, new: Object, owners: Managed, manager: str, now: str | None) -> Managed:
        changes = _Changes(self, live, new)
        changed, removed = changes.at(self.api_version)
        if not changed and not removed:
            return owners
        identity = managed.manager_of(manager, UPDATE, self.api_version, self.subresource)
        owners = self._taken(owners, changes, fieldset.union(changed, removed) if removed else changed, identity)
        mine = fieldset.difference(changed, _STRIPPED)
        fields = fieldset.difference(owners[identity].fields, removed) if identity in owners else {}
        if not fieldset.covers(fields, mine):
            fields = fieldset.union(fields, mine)
        if fields:
            # Whoever writes the same fields time and again still owns them, and no new set is needed.
            owners[identity] = Owned(fields, self.api_version, now or now_rfc3339())
        else:
            owners.pop(identity, None)
        return managed.capped(owners)

    def _taken(self, owners: Managed, changes: "_Changes", touched: FieldSet, spared: Manager | None) -> Managed:
        """What is left to the owners but ``spared`` after a change."""
        left: Managed = {}
        for manager, owned in owners.items():
            if manager != spared:
                if owned.api_version == self.api_version:
                    taken = touched
                elif changes.known(owned.api_version):
                    taken = fieldset.union(*changes.at(owned.api_version))
                else:
                    continue  # of a version that nobody serves any more
                owned = managed.with_fields(owned, fieldset.difference(owned.fields, taken))
            if owned.fields:
                left[manager] = owned
        return left

    # --- apply ----------------------------------------------------------------------------------------------------

    def apply(
        self, live: Object | None, config: Object, manager: str, *, force: bool = False, now: str | None = None
    ) -> Object:
        """The object after an apply; not decoded, defaulted or validated yet, with nulls where something was emptied.

        ``live`` is None for an object that does not exist. Raises ``StatusError``: 409 for conflicts, 400 for a
        configuration of another kind or with managedFields, 500 (as upstream does) for one that does not fit the schema.
        """
        self._check(config)
        start = live or self.zero
        try:
            owners = managed.decode(start.get("metadata", {}).get("managedFields") or [], trusted=True)
        except ManagedFieldsError as e:
            raise errors.StatusError(500, "", f"failed to decode managed fields: {e}") from None
        try:
            if not owners and live is not None:
                owners = self._updated(self.zero, live, {}, managed.BEFORE_FIRST_APPLY, now)
            merged, owners = self._applied(start, config, owners, manager, force, now)
        except Conflicts as conflicts:
            raise conflicts.status() from None
        except ElementError as e:
            self._fit(start, "live", duplicates=True)
            raise errors.StatusError(500, "", f"failed to merge config: {e}") from None
        if manager == lastapplied.KUBECTL:
            merged = lastapplied.refreshed(merged, config)
        return _with_entries(merged, managed.encode(owners))

    def _check(self, config: Object) -> None:
        given_version, given_kind = str(config.get("apiVersion") or ""), str(config.get("kind") or "")
        if (given_version, given_kind) != (self.api_version, self.kind):
            gvk = f"{given_version if '/' in given_version else '/' + given_version}, Kind={given_kind}"
            raise errors.bad_request(f"invalid object type: {gvk}")
        metadata = config.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
            raise errors.bad_request("metadata.managedFields must be nil")
        self._fit(config, "patch")

    def _fit(self, obj: Object, which: str, *, duplicates: bool = False) -> None:
        try:
            validate.check(obj, self.schema, duplicates=duplicates)
        except validate.TypedError as e:
            metadata = obj.get("metadata")
            names = metadata if isinstance(metadata, dict) else {}
            where = f"{names.get('namespace') or ''}/{names.get('name') or ''}; {self.gvk}"
            raise errors.StatusError(500, "", f"failed to create typed {which} object ({where}): {e}") from None

    def _applied(
        self, live: Object, config: Object, owners: Managed, manager: str, force: bool, now: str | None
    ) -> tuple[Object, Managed]:
        try:
            return self._apply_once(live, config, owners, manager, force, now)
        except Conflicts as conflicts:
            # Upgrade from client-side apply: kubectl does not conflict about what it had set itself.
            if manager != lastapplied.KUBECTL:
                raise
            allowed = lastapplied.owned_by_client(live, self.api_version, self.shape)
            if allowed is None:
                raise
            left = conflicts.without(allowed)
            if left is not None:
                raise left from None
        return self._apply_once(live, config, owners, manager, True, now)

    def _apply_once(
        self, live: Object, config: Object, owners: Managed, manager: str, force: bool, now: str | None
    ) -> tuple[Object, Managed]:
        owners = {m: self._reconciled(owned) for m, owned in owners.items()}
        identity = managed.manager_of(manager, APPLY, self.api_version, self.subresource)
        last = owners.get(identity)
        mine = self.written(fields_of(_ownable(config), self.shape), self.api_version)
        owners[identity] = Owned(mine, self.api_version, last.time if last else None)
        merged = merge(live, config, self.shape)
        if last is not None and not self._still_said(last, mine):
            merged = self._pruned(merged, owners, identity, last)
        changes = _Changes(self, live, merged)
        changed, removed = changes.at(self.api_version)
        if not force:
            self._conflicts(owners, changes, identity)
        owners = self._taken(owners, changes, fieldset.union(changed, removed), identity)
        left = owners.pop(identity, None)
        fields = fieldset.difference(left.fields, _STRIPPED) if left else {}
        noop = _same_content(live, merged)
        if fields:
            unchanged = last is not None and fields == last.fields and last.api_version == self.api_version
            if noop and unchanged and last is not None:
                owners[identity] = last
            else:
                time = last.time if noop and last else None if noop else now or now_rfc3339()
                owners[identity] = Owned(fields, self.api_version, time)
        return (live if noop else merged), owners

    def _still_said(self, last: Owned, mine: FieldSet) -> bool:
        """Whether a configuration says all that the last one said: then nothing goes away."""
        return not last.fields or (last.api_version == self.api_version and not fieldset.difference(last.fields, mine))

    def _reconciled(self, owned: Owned) -> Owned:
        if owned.api_version != self.api_version:
            return owned
        return managed.with_fields(owned, reconciled(owned.fields, self.shape))

    def _conflicts(self, owners: Managed, changes: "_Changes", spared: Manager) -> None:
        """Raises Conflicts where a change is about fields of others."""
        found: dict[Manager, FieldSet] = {}
        for manager, owned in owners.items():
            if manager != spared and changes.known(owned.api_version):
                fields = fieldset.intersection(owned.fields, changes.at(owned.api_version)[0])
                if fields:
                    found[manager] = fields
        if found:
            raise Conflicts(found)

    # --- what an applier no longer says ---------------------------------------------------------------------------

    def _pruned(self, merged: Object, owners: Managed, identity: Manager, last: Owned) -> Object:
        """The merged object without the fields of the last configuration that nobody owns now."""
        found = self._at(merged, last.api_version)
        if found is None:
            return merged
        there, shape = found
        named = with_named(last.fields, shape)
        pruned = self._with_owned(there, remove(there, named, shape) or {}, last.api_version, owners)
        kept = _named_fields(pruned, shape)
        gone = fieldset.intersection(fieldset.difference(_named_fields(there, shape), kept), named)
        if not gone:
            return merged
        back = self._back(remove(there, gone, shape) or {}, last.api_version)
        return back if back is not None else merged

    def _with_owned(self, merged: Object, pruned: Object, version: str, owners: Managed) -> Object:
        """What was taken out with its parent, although somebody owns it, is put back."""
        by_version: dict[str, FieldSet] = {version: {}}
        for owned in owners.values():
            by_version[owned.api_version] = fieldset.union(by_version.get(owned.api_version, {}), owned.fields)
        for at, fields in by_version.items():
            there, rest = self._between(merged, version, at), self._between(pruned, version, at)
            if there is None or rest is None:
                continue
            shape = there[1]
            wanted = fieldset.union(_named_fields(rest[0], shape), with_named(fields, shape))
            wanted = fieldset.union(
                wanted, {_METADATA: {}}
            )  # it holds the name, which the applier says but does not own
            surplus = fieldset.difference(_named_fields(there[0], shape), wanted)
            restored = remove(there[0], surplus, shape) or {}
            converted = self._between(restored, at, version)
            pruned = converted[0] if converted is not None else pruned
        return pruned

    def _at(self, obj: Object, version: str) -> tuple[Object, Shape] | None:
        """An object of our version at another one."""
        return self._between(obj, self.api_version, version)

    def _back(self, obj: Object, version: str) -> Object | None:
        found = self._between(obj, version, self.api_version)
        return found[0] if found is not None else None

    def _between(self, obj: Object, version: str, wanted: str) -> tuple[Object, Shape] | None:
        if version == wanted == self.api_version:
            return obj, self.shape
        if self.convert is None:
            return None
        converted = self.convert({**obj, "apiVersion": version}, wanted)
        return None if converted is None else (converted[0], shape_of(converted[1]))


class _Changes:
    """What differs between two objects, at every version of the API at which somebody asks."""

    def __init__(self, fields: FieldManager, old: Object, new: Object) -> None:
        self._manager = fields
        self._old, self._new = old, new
        self._found: dict[str, tuple[FieldSet, FieldSet] | None] = {}

    def known(self, version: str) -> bool:
        if version not in self._found:
            self._found[version] = self._compare(version)
        return self._found[version] is not None

    def at(self, version: str) -> tuple[FieldSet, FieldSet]:
        """Changed and removed fields."""
        assert self.known(version), f"asked for {version}, which is not served"
        found = self._found[version]
        assert found is not None
        return found

    def _compare(self, version: str) -> tuple[FieldSet, FieldSet] | None:
        old, new = self._manager._at(self._old, version), self._manager._at(self._new, version)
        if old is None or new is None:
            return None
        changed, removed = compare(_ownable(old[0]), _ownable(new[0]), old[1])
        return self._manager.written(changed, version), self._manager.written(removed, version)


_STRIPPED: FieldSet = {_METADATA: {fieldset.SELF: {}, **{"f:" + name: {} for name in sorted(_NEVER_OWNED_METADATA)}}}


def _ownable(obj: Object) -> Object:
    """The object without what is never owned: its type, its identity and what the server writes into its metadata."""
    out = {k: v for k, v in obj.items() if k not in _NEVER_OWNED}
    metadata = out.get("metadata")
    if metadata is not None:
        out["metadata"] = {k: v for k, v in metadata.items() if k not in _NEVER_OWNED_METADATA}
    return out


def _named_fields(obj: Object, shape: Shape) -> FieldSet:
    return with_named(fields_of(_ownable(obj), shape), shape)


def _without_owners(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}


def _same_content(old: Object, new: Object) -> bool:
    """Equal but for managedFields; a 1 that becomes true is a change that Python's equality does not see."""
    old, new = _without_owners(old), _without_owners(new)
    return old == new and (orjson.dumps(old) == orjson.dumps(new) or same(old, new))


def _with_entries(obj: Object, entries: list[Object]) -> Object:
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def same_but_times(old: Object, new: Object) -> bool:
    """Whether two objects differ in nothing but the times of their owners: such a write must not happen at all."""
    ours, theirs = ((o.get("metadata") or {}).get("managedFields") or [] for o in (old, new))
    if len(ours) != len(theirs):
        return False
    pairs = zip(ours, theirs, strict=True)
    if any(a != b and {**a, "time": None} != {**b, "time": None} for a, b in pairs):
        return False
    return _same_content(old, new)
