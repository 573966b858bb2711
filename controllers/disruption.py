"""PodDisruptionBudgets: how many pods may be evicted now. The API server's eviction subresource reads and spends it."""

from collections.abc import Iterable
from typing import Any

from apimachinery import meta, selectors
from controllers import pods
from controllers.intorstr import scaled
from controllers.loop import Context, Loop
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]

#: How long an eviction that was allowed may take to show as a deleted pod.
_DISRUPTION_SECONDS = 120.0
#: What may own pods and say how many there should be.
_SCALES = {
    "ReplicaSet": ("apps/v1", "replicasets"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "ReplicationController": ("v1", "replicationcontrollers"),
    "Deployment": ("apps/v1", "deployments"),
}


def desired_healthy(budget: Object, count: int, scale: int) -> tuple[int, int]:
    """``(pods expected, pods that must stay healthy)``; ``count`` pods are there, their owners want ``scale``."""
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        unavailable = scaled(spec["maxUnavailable"], scale, round_up=True)
        return scale, max(0, scale - unavailable)
    least = spec.get("minAvailable")
    if isinstance(least, str):
        return scale, scaled(least, scale, round_up=True)
    return count, 1 if least is None else least


def status(budget: Object, own: Iterable[Object], scale: int, now: float) -> tuple[Object, float | None]:
    """The status, and in how many seconds the next disrupted pod is given up on."""
    own = [p for p in own if not pods.is_terminal(p)]
    before = budget.get("status") or {}
    names = {meta.name(p): p for p in own}
    disrupted: dict[str, str] = {}
    recheck: float | None = None
    for name, when in (before.get("disruptedPods") or {}).items():
        left = meta.parse_time(when) + _DISRUPTION_SECONDS - now
        if name in names and not meta.is_deleting(names[name]) and left > 0:
            disrupted[name] = when
            recheck = left if recheck is None else min(recheck, left)
    healthy = sum(pods.is_ready(p) and not meta.is_deleting(p) and meta.name(p) not in disrupted for p in own)
    expected, desired = desired_healthy(budget, len(own), scale)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    found: Object = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    if disrupted:
        found["disruptedPods"] = disrupted
    found["conditions"] = [dict(c) for c in before.get("conditions") or ()]
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    meta.set_condition(found, condition, meta.format_time(now))
    return found, recheck


class DisruptionLoop(Loop):
    name = "disruption-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.budgets = self.watch("policy/v1", "poddisruptionbudgets")
        self.budgets.add_index("namespace", lambda budget: [meta.namespace(budget)])
        self.pods = self.watch("v1", "pods")
        self.pods.add_index("namespace", lambda pod: [meta.namespace(pod)])
        there = {f"{r.api_version}/{r.plural}" for r in context.resources}
        self.scales = {kind: self.watch(*where) for kind, where in _SCALES.items() if "/".join(where) in there}
        self.api = self.client.resource("policy/v1", "poddisruptionbudgets")
        self.events = context.recorder("controllermanager")
        self.budgets.on(lambda b: self.queue.add(key_of(b)), lambda old, new: self.queue.add(key_of(new)))
        self.pods.on(self._pod_seen, self._pod_updated, self._pod_seen)

    def _pod_seen(self, pod: Object) -> None:
        for budget in self.budgets.by_index("namespace", meta.namespace(pod)):
            if _selector(budget).matches(meta.labels(pod)):
                self.queue.add(key_of(budget))

    def _pod_updated(self, old: Object, new: Object) -> None:
        if meta.labels(old) != meta.labels(new):
            self._pod_seen(old)
        elif _counts_as(old) == _counts_as(new):
            return
        self._pod_seen(new)

    async def reconcile(self, key: str) -> None:
        budget = self.budgets.get(key)
        if budget is None:
            return
        chosen = _selector(budget)
        own = [p for p in self.pods.by_index("namespace", meta.namespace(budget)) if chosen.matches(meta.labels(p))]
        if not own:
            self.events.event(budget, "Normal", "NoPods", "No matching pods found")
        fresh, recheck = status(budget, own, self._scale(own), self.clock())
        if recheck is not None:
            self.queue.add_after(key, recheck)
        if fresh != (budget.get("status") or {}):
            try:
                await self.api.update_status({**budget, "status": fresh})
            except ApiError as error:
                if not error.not_found:
                    raise

    def _scale(self, own: list[Object]) -> int:
        """The sum of what the pods' owners want; a Deployment speaks for its ReplicaSets."""
        owners: dict[str, Object] = {}
        for pod in own:
            reference = meta.controller_of(pod)
            owner = self._find(reference, meta.namespace(pod)) if reference else None
            above = meta.controller_of(owner) if owner is not None else None
            if owner is not None and above is not None:
                owner = self._find(above, meta.namespace(pod)) or owner
            if owner is not None:
                owners[meta.uid(owner)] = owner
        wanted = [o["spec"].get("replicas") for o in owners.values()]
        return sum(1 if replicas is None else replicas for replicas in wanted)

    def _find(self, reference: Object, namespace: str) -> Object | None:
        informer = self.scales.get(reference["kind"])
        owner = informer.get(f"{namespace}/{reference['name']}") if informer else None
        return owner if owner is not None and meta.uid(owner) == reference["uid"] else None


def _counts_as(pod: Object) -> tuple[bool, bool, bool]:
    return pods.is_ready(pod), pods.is_terminal(pod), meta.is_deleting(pod)


def _selector(budget: Object) -> selectors.Selector:
    return selectors.from_label_selector(budget["spec"].get("selector"))
