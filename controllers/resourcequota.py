"""Resource quotas: ``status.hard`` is what ``spec.hard`` says, ``status.used`` what there is.

The API server charges a quota before it lets an object in; this loop counts anew when something goes away or shrinks, when a quota is
made or changed, and every few minutes. A charge comes before its object, so a count below what is charged is only believed once
the quota has not been charged for a moment: else it would take back the charge of an object that is about to appear.
"""

import asyncio
import logging
from typing import Any

from apimachinery import meta, quantity
from apimachinery.podresources import Amounts
from apimachinery.resourcequota import IGNORED, Evaluator, evaluators, total
from controllers.loop import Context, Loop
from kubeclient import ApiError, Informer
from kubeclient.informer import key_of

log = logging.getLogger(__name__)

Object = dict[str, Any]
_SETTLE_SECONDS = 1.0
_COUNT = "count/"
#: What every process that runs this loop watches anyway; other kinds are watched once a quota names them.
_WATCHED = (("", "pods"), ("", "services"), ("", "persistentvolumeclaims"), ("", "resourcequotas"))
_ALIASES = ("configmaps", "secrets", "replicationcontrollers")


def named_kinds(hard: dict[str, str]) -> set[tuple[str, str]]:
    """The kinds, as group and plural, that a quota counts as a whole."""
    found = {("", name) for name in hard if name in _ALIASES}
    for name in hard:
        if name.startswith(_COUNT):
            plural, _, group = name.removeprefix(_COUNT).partition(".")
            found.add((group, plural))
    return found - IGNORED


def status(quota: Object, used: Amounts) -> Object:
    """The status with what was counted; a resource that nobody could count keeps its old amount."""
    hard: dict[str, str] = dict((quota.get("spec") or {}).get("hard") or {})
    before = (quota.get("status") or {}).get("used") or {}
    counted = {**{k: v for k, v in before.items() if k in hard}, **{k: str(v) for k, v in used.items() if k in hard}}
    return {"hard": hard, "used": counted}


def is_lower(new: dict[str, str], old: dict[str, str]) -> bool:
    """Whether something would be given back."""
    return any(quantity.compare(amount, old[name]) < 0 for name, amount in new.items() if name in old)


def same(new: Object, old: Object) -> bool:
    return all(_equal(new[field], old.get(field) or {}) for field in ("hard", "used"))


def _equal(new: dict[str, str], old: dict[str, str]) -> bool:
    return new.keys() == old.keys() and all(quantity.compare(amount, old[name]) == 0 for name, amount in new.items())


class ResourceQuotaLoop(Loop):
    name = "resourcequota-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.quotas = self.watch("v1", "resourcequotas")
        self.quotas.add_index("namespace", lambda quota: [meta.namespace(quota)])
        self.api = self.client.resource("v1", "resourcequotas")
        self._evaluators = evaluators(self.clock)
        self._counted: dict[tuple[str, str], Informer] = {}
        self._group: asyncio.TaskGroup | None = None
        self._changed_at: dict[str, float] = {}
        for group, plural in _WATCHED:
            self._count((group, plural), self.watch("v1", plural))
        self.quotas.on(self._quota_seen, self._quota_updated, self._quota_gone)

    # --- what changes

    def _quota_seen(self, quota: Object) -> None:
        self.queue.add(key_of(quota))

    def _quota_updated(self, old: Object, new: Object) -> None:
        before, after = old.get("status") or {}, new.get("status") or {}
        if before.get("used") != after.get("used"):
            self._changed_at[key_of(new)] = asyncio.get_running_loop().time()
        if (new.get("spec") or {}).get("hard") != after.get("hard") or old.get("spec") != new.get("spec"):
            self.queue.add(key_of(new))

    def _quota_gone(self, quota: Object) -> None:
        self._changed_at.pop(key_of(quota), None)

    def _count(self, kind: tuple[str, str], informer: Informer) -> None:
        evaluator = self._evaluators.setdefault(kind, Evaluator(*kind))
        self._counted[kind] = informer

        def gone(obj: Object) -> None:
            self._replenish(meta.namespace(obj), evaluator)

        def updated(old: Object, new: Object) -> None:
            # What is dear is only done where there is a quota.
            concerned = kind in _WATCHED and self.quotas.by_index("namespace", meta.namespace(new))
            if concerned and evaluator.usage(old) != evaluator.usage(new):
                self._replenish(meta.namespace(new), evaluator)

        informer.add_index("namespace", lambda obj: [meta.namespace(obj)])
        informer.on(update=updated, delete=gone)

    def _replenish(self, namespace: str, evaluator: Evaluator) -> None:
        for quota in self.quotas.by_index("namespace", namespace):
            if evaluator.matching((quota.get("spec") or {}).get("hard") or ()):
                self.queue.add(key_of(quota))

    # --- what to do about it

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            await super().run()

    async def reconcile(self, key: str) -> None:
        quota = self.quotas.get(key)
        if quota is None:
            return
        self.queue.add_after(key, self.context.options.resource_quota_sync_period)
        hard = (quota.get("spec") or {}).get("hard") or {}
        for kind in sorted(named_kinds(hard)):
            await self._ensure_counted(kind)
        fresh = status(quota, self._used(quota))
        before = quota.get("status") or {}
        if same(fresh, before):
            return
        if is_lower(fresh["used"], before.get("used") or {}):
            quiet = asyncio.get_running_loop().time() - self._changed_at.get(key, float("-inf"))
            if quiet < _SETTLE_SECONDS:
                self.queue.add_after(key, _SETTLE_SECONDS - quiet)
                return
        try:
            await self.api.update_status({**quota, "status": fresh})
        except ApiError as error:
            if not error.not_found:
                raise

    def _used(self, quota: Object) -> Amounts:
        used: Amounts = {}
        for kind, informer in self._counted.items():
            evaluator = self._evaluators[kind]
            if evaluator.matching((quota.get("spec") or {}).get("hard") or ()):
                used.update(total(quota, evaluator, informer.by_index("namespace", meta.namespace(quota))))
        return used

    async def _ensure_counted(self, kind: tuple[str, str]) -> None:
        """Starts to watch a kind that a quota names, in metadata only: more is not needed to count."""
        informer = self._counted.get(kind)
        if informer is None:
            found = next((r for r in self.context.resources if (r.group, r.plural) == kind and r.namespaced), None)
            if found is None or not found.verbs >= {"list", "watch"}:
                log.info("no resource %s.%s to count", kind[1], kind[0])
                return
            shared = self.context.informers.existing(found.api_version, found.plural)
            resource = self.client.resource(found.api_version, found.plural, metadata_only=True)
            informer = shared or Informer(resource, transform=_name_only)
            self._count(kind, informer)
            if shared is None:
                assert self._group is not None, "the loop runs"
                self._group.create_task(informer.run(), name=f"quota monitor {found.plural}")
        await informer.wait_synced()


def _name_only(obj: Object) -> Object:
    kept = ("name", "namespace", "uid", "resourceVersion")
    return {"metadata": {field: obj["metadata"][field] for field in kept if field in obj["metadata"]}}
