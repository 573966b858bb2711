"""How much of a quota an object uses: one evaluator for each kind that is counted in a way of its own, a plain count for the others.

The API server charges a quota with it when objects are made; the resource quota controller adds up with it what there is.
Names of resources are those of ``ResourceQuota.spec.hard``: ``requests.cpu``, ``services.nodeports``, ``count/deployments.apps``.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from apimachinery import meta, quantity
from apimachinery.podresources import Amounts, add, amounts, pod_limits, pod_requests
from apimachinery.quantity import Quantity

Object = dict[str, Any]
_ONE = Quantity(1)
_ZERO = Quantity(0)
_REQUESTS = "requests."
_HUGE_PAGES = "hugepages-"


class Evaluator:
    """Counts objects of one kind. ``alias`` is the name that some kinds had before ``count/...``."""

    def __init__(self, group: str, plural: str, alias: str = "") -> None:
        self.group, self.plural = group, plural
        self.count = f"count/{plural}.{group}" if group else f"count/{plural}"
        self._names = (self.count, alias) if alias else (self.count,)

    def handles(self, operation: str, subresource: str) -> bool:
        """Whether such an operation may change how much is used."""
        return operation == "CREATE" and not subresource

    def matching(self, names: Iterable[str]) -> list[str]:
        """Of the names in a quota those that this kind uses."""
        return sorted(name for name in names if self.tracks(name))

    def tracks(self, name: str) -> bool:
        return name in self._names

    def usage(self, obj: Object) -> Amounts:
        return dict.fromkeys(self._names, _ONE)

    def in_scope(self, selector: Object, obj: Object) -> bool:
        """Whether a scope of a quota takes the object in; most kinds are in none."""
        return False

    def missing(self, required: Iterable[str], obj: Object) -> str:
        """What the object has to say so that it can be counted, and does not; empty when it says everything."""
        return ""


# --- pods -------------------------------------------------------------------------------------------------------

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_POD_NAMES = frozenset(("pods", *_COMPUTE, *(f"{p}.{name}" for p in ("requests", "limits") for name in _COMPUTE)))
#: A quota on these makes every container say how much it wants. (Upstream calls that a mistake that has to stay.)
_MUST_SAY = frozenset(("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
_AFFINITY_LISTS = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


class PodEvaluator(Evaluator):
    """``clock`` gives seconds since the epoch: a pod that should be gone by now is no longer charged."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__("", "pods")
        self._clock = clock

    def handles(self, operation: str, subresource: str) -> bool:
        return (operation, subresource) in (("CREATE", ""), ("UPDATE", "resize"))

    def tracks(self, name: str) -> bool:
        if name == self.count or name in _POD_NAMES:
            return True
        return name.startswith((_HUGE_PAGES, _REQUESTS + _HUGE_PAGES)) or _is_extended_in_quota(name)

    def usage(self, obj: Object) -> Amounts:
        used = {self.count: _ONE}
        if self._counts(obj):
            add(used, _compute(pod_requests(obj, resized=True), pod_limits(obj, resized=True)))
        return used

    def _counts(self, pod: Object) -> bool:
        """Pods that are over, or stuck in their deletion, do not keep others from being made."""
        if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
            return False
        metadata = pod["metadata"]
        grace = metadata.get("deletionGracePeriodSeconds")
        if not metadata.get("deletionTimestamp") or grace is None:
            return True
        return self._clock() <= meta.parse_time(metadata["deletionTimestamp"]) + grace

    def missing(self, required: Iterable[str], obj: Object) -> str:
        needed = _MUST_SAY.intersection(required)
        if not needed:
            return ""
        lacking: dict[str, set[str]] = {}
        for field in ("containers", "initContainers"):
            for container in obj["spec"].get(field) or ():
                resources = container.get("resources") or {}
                said = _compute(amounts(resources.get("requests")), amounts(resources.get("limits")))
                for name in needed - said.keys():
                    lacking.setdefault(name, set()).add(container.get("name", ""))
        if not lacking:
            return ""
        return "must specify " + "; ".join(f"{name} for: {','.join(sorted(lacking[name]))}" for name in sorted(lacking))

    def in_scope(self, selector: Object, obj: Object) -> bool:
        scope, spec = selector.get("scopeName"), obj["spec"]
        if scope in ("Terminating", "NotTerminating"):
            return (spec.get("activeDeadlineSeconds") is not None) == (scope == "Terminating")
        if scope in ("BestEffort", "NotBestEffort"):
            return ((obj.get("status") or {}).get("qosClass") == "BestEffort") == (scope == "BestEffort")
        if scope == "PriorityClass":
            name = spec.get("priorityClassName")
            return selects(selector, [name] if name else [])
        return scope == "CrossNamespacePodAffinity" and _crosses_namespaces(spec.get("affinity") or {})


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    used = {"pods": _ONE}
    for name in _COMPUTE:
        if name in requests:
            used[name] = used[_REQUESTS + name] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if name.startswith(_HUGE_PAGES):
            used[name] = used[_REQUESTS + name] = amount
        elif is_extended(name):
            used[_REQUESTS + name] = amount
    return used


def is_native(name: str) -> bool:
    """A resource of Kubernetes' own, not one that a device plugin brings."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    return not is_native(name) and not name.startswith(_REQUESTS)


def _is_extended_in_quota(name: str) -> bool:
    return not is_native(name) and name.startswith(_REQUESTS)


def selects(selector: Object, present: list[str]) -> bool:
    """A scope's operator over the values that an object has."""
    operator, values = selector.get("operator"), selector.get("values") or ()
    if operator == "Exists":
        return bool(present)
    if operator == "DoesNotExist":
        return not present
    if operator == "In":
        return any(value in values for value in present)
    return not present or any(value not in values for value in present)


def _crosses_namespaces(affinity: Object) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        for field in _AFFINITY_LISTS:
            for item in (affinity.get(kind) or {}).get(field) or ():
                term = item.get("podAffinityTerm", item)
                if term.get("namespaces") or term.get("namespaceSelector") is not None:
                    return True
    return False


# --- services and claims ----------------------------------------------------------------------------------------


class ServiceEvaluator(Evaluator):
    def __init__(self) -> None:
        super().__init__("", "services", "services")

    def handles(self, operation: str, subresource: str) -> bool:
        return operation in ("CREATE", "UPDATE")  # its type may change

    def tracks(self, name: str) -> bool:
        return name in (self.count, "services", "services.nodeports", "services.loadbalancers")

    def usage(self, obj: Object) -> Amounts:
        spec = obj.get("spec") or {}
        ports, kind = spec.get("ports") or [], spec.get("type")
        node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            node_ports = sum(bool(port.get("nodePort")) for port in ports)
        return {
            **super().usage(obj),
            "services.nodeports": Quantity(node_ports),
            "services.loadbalancers": Quantity(int(kind == "LoadBalancer")),
        }


_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_OF_CLASS = ".storageclass.storage.k8s.io/"
_CLAIMS, _STORAGE = "persistentvolumeclaims", "requests.storage"


class ClaimEvaluator(Evaluator):
    """Claims count, and the storage they ask for: in all, and by storage class."""

    def __init__(self) -> None:
        super().__init__("", _CLAIMS, _CLAIMS)

    def handles(self, operation: str, subresource: str) -> bool:
        return operation in ("CREATE", "UPDATE") and subresource in ("", "status")

    def tracks(self, name: str) -> bool:
        return name in (self.count, _CLAIMS, _STORAGE) or name.endswith((_OF_CLASS + _CLAIMS, _OF_CLASS + _STORAGE))

    def usage(self, obj: Object) -> Amounts:
        used = super().usage(obj)
        storage = self._storage(obj)
        if storage is not None:
            used[_STORAGE] = storage
        name = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
        name = obj["spec"].get("storageClassName") if name is None else name
        if name:
            used[name + _OF_CLASS + _CLAIMS] = _ONE
            if storage is not None:
                used[name + _OF_CLASS + _STORAGE] = storage
        return used

    def _storage(self, claim: Object) -> Quantity | None:
        """What is asked for, or already allocated for an expansion that was taken back; in whole bytes."""
        asked = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
        if asked is None:
            return None
        allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage", "0")
        larger = max(quantity.parse(asked), quantity.parse(allocated))
        whole = Quantity(larger.value, 0, larger.format)
        return larger if whole == larger else whole


# --- all of them ------------------------------------------------------------------------------------------------

_ALIASES = ("configmaps", "resourcequotas", "replicationcontrollers", "secrets")
#: Never counted: they come and go too often to be charged, or are nothing that is stored.
IGNORED = frozenset((("", "events"), ("events.k8s.io", "events"), ("", "bindings")))


def evaluators(clock: Callable[[], float] = time.time) -> dict[tuple[str, str], Evaluator]:
    """By group and plural: the kinds with a way of their own. For any other, ``Evaluator(group, plural)``."""
    own: list[Evaluator] = [PodEvaluator(clock), ServiceEvaluator(), ClaimEvaluator()]
    own += [Evaluator("", plural, plural) for plural in _ALIASES]
    return {(e.group, e.plural): e for e in own}


def scope_selectors(quota: Object) -> list[Object]:
    """All scopes of a quota in the form of ``scopeSelector``."""
    spec = quota.get("spec") or {}
    plain = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    return plain + ((spec.get("scopeSelector") or {}).get("matchExpressions") or [])


def in_all_scopes(quota: Object, evaluator: Evaluator, obj: Object) -> bool:
    return all(evaluator.in_scope(selector, obj) for selector in scope_selectors(quota))


def total(quota: Object, evaluator: Evaluator, objects: Iterable[Object]) -> Amounts:
    """What objects of one kind use of a quota: every resource of ``spec.hard`` that the kind tracks, zero included."""
    names = evaluator.matching((quota.get("spec") or {}).get("hard") or ())
    used = dict.fromkeys(names, _ZERO)
    if names:
        for obj in objects:
            if in_all_scopes(quota, evaluator, obj):
                add(used, {name: amount for name, amount in evaluator.usage(obj).items() if name in used})
    return used
