"""What a Deployment needs next, as a function of what is seen: no I/O, no clock.

    plan = reconcile(deployment, replica_sets, old_pods_running=..., now=...)

A plan is one step of the walk. It creates the new ReplicaSet, resizes some, forgets the oldest, and says what the status
then is; their events lead to the next step.
"""

from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers.deployment import revision, status, strategy, template
from controllers.deployment.strategy import replicas_of

Object = dict[str, Any]


@dataclass
class Plan:
    """Do it in this order: ``create``, ``update``, ``delete``, then write ``deployment`` (status and revision) if changed.

    ``events`` are ``(type, reason, message)``; each is told when the write it belongs to (by ReplicaSet name) succeeded.
    """

    deployment: Object
    create: Object | None = None
    update: dict[str, Object] = field(default_factory=dict)
    delete: list[Object] = field(default_factory=list)
    events: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    recheck_after: float | None = None


def reconcile(deployment: Object, replica_sets: list[Object], *, old_pods_running: bool, now: float) -> Plan:
    """``replica_sets`` are the Deployment's own. ``old_pods_running``: some pod of an old one has not ended yet, which
    only the Recreate strategy waits for."""
    rollout = _Rollout(deployment, replica_sets, now)
    if meta.is_deleting(deployment):
        rollout.new = rollout.current()
        return rollout.finish(judge=False)
    status.check_paused(deployment, rollout.status, now)
    if deployment["spec"].get("paused") or rollout.was_scaled():
        rollout.choose(create=False)
        rollout.scale()
        if deployment["spec"].get("paused"):
            rollout.clean_up()
        return rollout.finish(judge=False)
    if strategy.is_rolling(deployment):
        rollout.roll()
    else:
        rollout.recreate(old_pods_running)
    return rollout.finish(judge=True)


class _Rollout:
    """The step being planned: ``sets`` (by name, oldest first) are as they will be once the plan is carried out."""

    def __init__(self, deployment: Object, replica_sets: list[Object], now: float) -> None:
        self.now = now
        self.seen = deployment
        self.status: Object = dict(deployment.get("status") or {})
        self.status["conditions"] = list(self.status.get("conditions") or ())
        self.plan = Plan(deployment)
        self.revision: int | None = None
        self.sets = {meta.name(rs): rs for rs in sorted(replica_sets, key=_age)}
        self.sizes = {name: replicas_of(rs) for name, rs in self.sets.items()}
        self.new: Object | None = None

    # --- the ReplicaSets

    def everyone(self) -> list[Object]:
        return list(self.sets.values())

    def old(self) -> list[Object]:
        return [rs for rs in self.everyone() if self.new is None or meta.name(rs) != meta.name(self.new)]

    def current(self) -> Object | None:
        """The oldest ReplicaSet that has the Deployment's template."""
        wanted = self.seen["spec"]["template"]
        return next((rs for rs in self.everyone() if template.equal(rs["spec"]["template"], wanted)), None)

    def choose(self, *, create: bool) -> None:
        """Finds the new ReplicaSet and brings its revision up to date, or creates it."""
        self.new = self.current()
        number = max((revision.of(rs) for rs in self.old()), default=0) + 1
        if self.new is not None:
            annotations = revision.inherited(self.seen, self.new, number)
            min_ready = self.seen["spec"].get("minReadySeconds") or 0
            if annotations != meta.annotations(self.new):
                self._change(self.new, annotations=annotations)
            if (self.new["spec"].get("minReadySeconds") or 0) != min_ready:
                self._change(self.new, minReadySeconds=min_ready)
            self.revision = revision.of(self.new)
            if status.has_deadline(self.seen) and status.progressing(self.status) is None:
                self._progress(status.FOUND, f'Found new replica set "{meta.name(self.new)}"')
        elif create:
            fresh = template.replica_set(self.seen)
            self.new = fresh
            size = strategy.new_size(self.seen, fresh, [*self.everyone(), fresh])
            surge = strategy.max_surge(self.seen)
            fresh["metadata"]["annotations"] = {
                **revision.inherited(self.seen, fresh, number),
                **revision.size_annotations(replicas_of(self.seen), surge),
            }
            fresh["spec"]["replicas"] = size
            self.sets[meta.name(fresh)] = fresh
            self.plan.create = fresh
            self.revision = number
            if status.has_deadline(self.seen):
                self._progress(status.CREATED, f'Created new replica set "{meta.name(fresh)}"')

    def _progress(self, reason: str, message: str) -> None:
        status.put(self.status, status.condition("Progressing", "True", reason, message, self.now))

    def _change(self, rs: Object, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        name = meta.name(rs)
        changed = {**rs, "spec": {**rs["spec"], **spec}}
        if annotations is not None:
            changed["metadata"] = {**rs["metadata"], "annotations": annotations}
        self.sets[name] = changed
        if self.new is not None and meta.name(self.new) == name:
            self.new = changed
        if self.plan.create is not None and meta.name(self.plan.create) == name:
            self.plan.create = changed
        else:
            self.plan.update[name] = changed

    def _resize(self, rs: Object, size: int) -> bool:
        """Also notes the size that this was part of; whether the number of pods changes."""
        before = replicas_of(rs)
        surge = strategy.max_surge(self.seen)
        annotations = {**meta.annotations(rs), **revision.size_annotations(replicas_of(self.seen), surge)}
        if size == before and annotations == meta.annotations(rs):
            return False
        self._change(rs, annotations=annotations, replicas=size)
        return size != before

    # --- scaling

    def was_scaled(self) -> bool:
        """Somebody changed ``spec.replicas`` since the ReplicaSets were last sized."""
        wanted = replicas_of(self.seen)
        return any(
            replicas_of(rs) > 0 and revision.desired_replicas(rs) not in (None, wanted) for rs in self.everyone()
        )

    def scale(self) -> None:
        """Gives the one active (or latest) ReplicaSet all replicas; among several, mid-rollout, each gets its share."""
        active = [rs for rs in self.everyone() if replicas_of(rs) > 0]
        if len(active) <= 1:
            only = active[0] if active else self.new or (self.everyone()[-1] if self.sets else None)
            if only is not None and replicas_of(only) != replicas_of(self.seen):
                self._resize(only, replicas_of(self.seen))
            return
        if self._is_saturated():
            for rs in self.old():
                if replicas_of(rs) > 0:
                    self._resize(rs, 0)
        elif strategy.is_rolling(self.seen):
            sizes = strategy.proportional_sizes(self.seen, active)
            for rs in active:
                self._resize(rs, sizes[meta.name(rs)])

    def _is_saturated(self) -> bool:
        if self.new is None:
            return False
        wanted = replicas_of(self.seen)
        available = strategy.counted([self.new], "availableReplicas")
        return replicas_of(self.new) == wanted == revision.desired_replicas(self.new) and available == wanted

    # --- rolling

    def roll(self) -> None:
        self.choose(create=True)
        if self._grow_new() or self._shrink_old():
            return
        if status.is_complete(self.seen, self.seen.get("status") or {}):
            self.clean_up()

    def _grow_new(self) -> bool:
        assert self.new is not None
        wanted, size = replicas_of(self.seen), replicas_of(self.new)
        if self.plan.create is not None or size == wanted:
            return self.plan.create is not None and size > 0
        if size > wanted:
            return self._resize(self.new, wanted)
        return self._resize(self.new, strategy.new_size(self.seen, self.new, self.everyone()))

    def _shrink_old(self) -> bool:
        """As far as availability allows; pods that are not available cost nothing, so they go first."""
        old = [rs for rs in self.old() if replicas_of(rs) > 0]
        if not old:
            return False
        assert self.new is not None
        floor = replicas_of(self.seen) - strategy.max_unavailable(self.seen)
        new_unavailable = replicas_of(self.new) - strategy.counted([self.new], "availableReplicas")
        room = strategy.total(self.everyone()) - floor - new_unavailable
        if room <= 0:
            return False
        unhealthy = self._shrink_unhealthy(old, room)
        healthy = self._shrink_healthy(floor)
        return unhealthy + healthy > 0

    def _shrink_unhealthy(self, old: list[Object], room: int) -> int:
        cleaned = 0
        for rs in old:
            available = strategy.counted([rs], "availableReplicas")
            count = min(room - cleaned, replicas_of(rs) - available)
            if count > 0:
                self._resize(rs, replicas_of(rs) - count)
                cleaned += count
        return cleaned

    def _shrink_healthy(self, floor: int) -> int:
        # Available pods as last reported: those that unhealthy cleaning leaves alone.
        room = strategy.counted(self.everyone(), "availableReplicas") - floor
        shrunk = 0
        for rs in self.old():
            count = min(replicas_of(rs), room - shrunk)
            if count > 0:
                self._resize(rs, replicas_of(rs) - count)
                shrunk += count
        return shrunk

    # --- recreating

    def recreate(self, old_pods_running: bool) -> None:
        self.choose(create=False)
        active = [rs for rs in self.old() if replicas_of(rs) > 0]
        if active:
            for rs in active:
                self._resize(rs, 0)
            return
        if old_pods_running or strategy.counted(self.old(), "replicas"):
            return
        if self.new is None:
            self.choose(create=True)
        assert self.new is not None
        if self.plan.create is None:
            self._resize(self.new, replicas_of(self.seen))
        if status.is_complete(self.seen, self.seen.get("status") or {}):
            self.clean_up()

    # --- the end of a step

    def clean_up(self) -> None:
        """Forgets the oldest revisions beyond ``revisionHistoryLimit`` that run nothing any more."""
        limit = self.seen["spec"].get("revisionHistoryLimit")
        if limit is None or limit == 2**31 - 1:
            return
        old = [rs for rs in self.old() if not meta.is_deleting(rs)]
        excess = len(old) - limit
        if excess <= 0:
            return
        for rs in sorted(old, key=lambda rs: (revision.of(rs), _age(rs)))[:excess]:
            observed = (rs.get("status") or {}).get("observedGeneration") or 0
            idle = replicas_of(rs) == 0 and strategy.counted([rs], "replicas") == 0
            if idle and rs["metadata"].get("generation", 0) <= observed:
                self.plan.delete.append(rs)
                self.plan.update.pop(meta.name(rs), None)

    def finish(self, *, judge: bool) -> Plan:
        before = self.seen.get("status") or {}
        fresh = status.counts(self.seen, self.status, self.new, self.everyone(), self.now)
        if judge:
            status.judge_progress(self.seen, before, fresh, self.new, self.now)
            status.copy_failure(fresh, self.new, self.everyone())
        self.plan.recheck_after = status.recheck_after(self.seen, fresh, self.now)
        deployment = self.seen
        significant = {k: v for k, v in before.items() if v or k == "collisionCount"}
        if fresh != significant:
            deployment = {**deployment, "status": fresh}
        if self.revision and revision.of(self.seen) != self.revision:
            annotations = {**meta.annotations(self.seen), revision.REVISION: str(self.revision)}
            deployment = {**deployment, "metadata": {**deployment["metadata"], "annotations": annotations}}
        self.plan.deployment = deployment
        self._tell()
        return self.plan

    def _tell(self) -> None:
        for name, rs in self.sets.items():
            before, after = self.sizes.get(name, 0), replicas_of(rs)
            if before != after:
                direction = "up" if after > before else "down"
                message = f"Scaled {direction} replica set {name} from {before} to {after}"
                self.plan.events[name] = ("Normal", "ScalingReplicaSet", message)


def _age(rs: Object) -> tuple[str, str]:
    return rs["metadata"].get("creationTimestamp") or "~", meta.name(rs)
