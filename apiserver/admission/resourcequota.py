"""ResourceQuota: an object is let in when every quota of its namespace has room for it, and is charged to them first.

The charge is a guarded write of the quota's status, so that however many writers and API servers there are, a quota is never
exceeded: a lost race is judged again by what is there now. Requests of one namespace that wait together are charged with one write.
A charge for an object that then fails for another reason is taken back by the resource quota controller.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from apimachinery import errors, quantity
from apimachinery.errors import StatusError
from apimachinery.podresources import Amounts
from apimachinery.quantity import Quantity
from apimachinery.resourcequota import IGNORED, Evaluator, evaluators, in_all_scopes
from apiserver.admission.chain import Attributes, Plugin
from apiserver.admission.lister import Lister
from apiserver.handlers.endpoint import Endpoint
from apiserver.storage.store import Changed

Object = dict[str, Any]
_ZERO = Quantity(0)
#: How often a charge that loses the race for a quota is tried again, and how long a request waits for its turn.
_RACES, _SECONDS = 16, 10.0


class Waiting:
    """A request that waits for its charge."""

    __slots__ = ("attributes", "done", "evaluator")

    def __init__(self, attributes: Attributes, evaluator: Evaluator) -> None:
        self.attributes = attributes
        self.evaluator = evaluator
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish(self, error: BaseException | None = None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class ResourceQuota(Plugin):
    """``limited`` are the ``limitedResources`` of the plugin's configuration: what nobody may use without a quota for it."""

    handles = frozenset({"CREATE", "UPDATE"})

    def __init__(self, endpoint: Endpoint, lister: Lister, limited: Iterable[Object] = ()) -> None:
        self._endpoint = endpoint
        self._lister = lister
        self._limited = tuple(limited)
        self._evaluators = evaluators()
        self._waiting: dict[str, list[Waiting]] = {}
        self._newest: dict[str, Object] = {}

    async def validate(self, attributes: Attributes) -> None:
        namespace, resource = attributes.namespace, attributes.resource
        if not namespace or not resource.namespaced or (not self._limited and not self._lister.list(namespace)):
            return
        key = (resource.group, resource.plural)
        if key in IGNORED or not resource.stored:
            return
        evaluator = self._evaluators.get(key)
        if evaluator is None:
            evaluator = self._evaluators[key] = Evaluator(*key)
        if not evaluator.handles(attributes.operation, attributes.subresource):
            return
        waiting = Waiting(attributes, evaluator)
        others = self._waiting.get(namespace)
        if others is not None:
            others.append(waiting)
            try:
                await asyncio.wait_for(waiting.done, _SECONDS)
            except TimeoutError:
                raise errors.internal("resource quota evaluation timed out") from None
            return
        self._waiting[namespace] = [waiting]
        await self._work(namespace)
        await waiting.done

    async def _work(self, namespace: str) -> None:
        """Serves everybody who waits in the namespace, the caller included."""
        try:
            while batch := self._waiting[namespace]:
                self._waiting[namespace] = []
                try:
                    await self._charge(self._quotas(namespace), batch)
                except StatusError as error:
                    _finish(batch, error)
        finally:
            left = self._waiting.pop(namespace)
            _finish(left, errors.internal("resource quota evaluation was broken off"))

    def _quotas(self, namespace: str) -> list[Object]:
        """The newest that is known of each: the watch cache may be behind our own writes."""
        return [
            self._newer(f"{namespace}/{quota['metadata']['name']}", quota) for quota in self._lister.list(namespace)
        ]

    def _newer(self, key: str, cached: Object) -> Object:
        written = self._newest.get(key)
        if written is None:
            return cached
        if _revision(cached) >= _revision(written) or cached["metadata"]["uid"] != written["metadata"]["uid"]:
            del self._newest[key]
            return cached
        return written

    async def _charge(self, quotas: list[Object], batch: list[Waiting]) -> None:
        """Judges the batch in order, then writes what it used; who lost a race is judged again by the quotas that changed."""
        for _ in range(_RACES):
            used = [parsed((quota.get("status") or {}).get("used")) for quota in quotas]
            before = list(used)
            for waiting in batch:
                if waiting.done.done():
                    continue
                try:
                    after = charged(quotas, used, waiting.evaluator, waiting.attributes, self._limited)
                except StatusError as error:
                    waiting.finish(error)
                    continue
                if waiting.attributes.dry_run or after == used:
                    waiting.finish()
                else:
                    used = after
            lost = []
            for quota, now, then in zip(quotas, used, before, strict=True):
                if now != then and (current := await self._write(quota, now)) is not None:
                    lost.append(current)
            if not lost:
                _finish(batch)
                return
            quotas = lost
        _finish(batch, errors.conflict(self._endpoint.resource, quotas[0]["metadata"]["name"]))

    async def _write(self, quota: Object, used: Amounts) -> Object | None:
        """None when it is written (or the quota is gone); what is there instead when it was changed meanwhile."""
        endpoint, metadata = self._endpoint, quota["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        status = {**(quota.get("status") or {}), "used": {name: str(amount) for name, amount in sorted(used.items())}}
        new = {**quota, "status": status}
        try:
            revision = await endpoint.store.replace(endpoint.storage_key(key), endpoint.encode(new), _revision(quota))
        except Changed as changed:
            if changed.current is None:
                return None
            return endpoint.decode_value(changed.current.value, changed.current.revision)
        self._newest[key] = {**new, "metadata": {**metadata, "resourceVersion": str(revision)}}
        return None


def _finish(batch: list[Waiting], error: StatusError | None = None) -> None:
    for waiting in batch:
        waiting.finish(error)


def _revision(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def parsed(amounts: dict[str, str] | None) -> Amounts:
    return {name: quantity.parse(text) for name, text in (amounts or {}).items()}


# --- the judgement ----------------------------------------------------------------------------------------------


def charged(
    quotas: list[Object],
    used: list[Amounts],
    evaluator: Evaluator,
    attributes: Attributes,
    limited: Iterable[Object] = (),
) -> list[Amounts]:
    """What is used of each quota with the object; raises 403 when one has no room for it. ``used`` stays as it is."""
    obj = attributes.obj
    assert obj is not None, "an object is created or updated"
    relevant, covered = _relevant(quotas, used, evaluator, attributes)
    delta = _delta(evaluator, attributes)
    if not any(delta.values()):
        return used
    _require_cover(evaluator, attributes, limited, delta, covered)
    after = list(used)
    for index in relevant:
        quota, hard = quotas[index], parsed((quotas[index].get("status") or {}).get("hard"))
        wanted = {name: amount for name, amount in delta.items() if name in hard}
        total = {name: used[index].get(name, _ZERO) + amount for name, amount in wanted.items()}
        exceeded = sorted(name for name, amount in total.items() if amount > hard[name])
        if exceeded and attributes.subresource != "status":
            raise attributes.forbidden(
                f"exceeded quota: {quota['metadata']['name']}, requested: {_shown(wanted, exceeded)}, "
                f"used: {_shown(used[index], exceeded)}, limited: {_shown(hard, exceeded)}"
            )
        after[index] = {**used[index], **total}
    return after


def _relevant(
    quotas: list[Object], used: list[Amounts], evaluator: Evaluator, attributes: Attributes
) -> tuple[list[int], set[str]]:
    """The quotas that the object counts against, and the resources that they limit."""
    obj = attributes.obj
    assert obj is not None, "an object is created or updated"
    relevant: list[int] = []
    covered: set[str] = set()
    for index, quota in enumerate(quotas):
        names = evaluator.matching((quota.get("status") or {}).get("hard") or ())
        if not names or not in_all_scopes(quota, evaluator, obj):
            continue
        name = quota["metadata"]["name"]
        if missing := evaluator.missing(names, obj):
            raise attributes.forbidden(f"failed quota: {name}: {missing}")
        if any(n not in used[index] for n in names):
            raise attributes.forbidden(f"status unknown for quota: {name}, resources: {','.join(names)}")
        relevant.append(index)
        covered.update(names)
    return relevant, covered


def _delta(evaluator: Evaluator, attributes: Attributes) -> Amounts:
    """What the operation adds to the usage; an update that uses less gives nothing back here (the controller does)."""
    assert attributes.obj is not None, "an object is created or updated"
    usage = evaluator.usage(attributes.obj)
    negative = sorted(name for name, amount in usage.items() if amount.sign < 0)
    if negative:
        raise attributes.forbidden(f"quota usage is negative for resource(s): {','.join(negative)}")
    if attributes.operation != "UPDATE":
        return {name: amount for name, amount in usage.items() if amount.unscaled}
    assert attributes.old is not None, "an update has something before it"
    before = evaluator.usage(attributes.old)
    delta = {name: amount - before.get(name, _ZERO) for name, amount in usage.items()}
    return {name: amount for name, amount in delta.items() if amount.sign > 0}


def _require_cover(
    evaluator: Evaluator, attributes: Attributes, limited: Iterable[Object], delta: Amounts, covered: set[str]
) -> None:
    """What the configuration limits may only be used under a quota for it."""
    uncovered: set[str] = set()
    for rule in limited:
        if (rule.get("apiGroup") or "", rule.get("resource")) != (evaluator.group, evaluator.plural):
            continue
        parts = rule.get("matchContains") or ()
        uncovered.update(name for name in delta if any(part in name for part in parts) and name not in covered)
    if uncovered:
        raise attributes.forbidden(f"insufficient quota to consume: {','.join(sorted(uncovered))}")


def _shown(amounts: Amounts, names: list[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names if name in amounts)
