"""Priority: a pod's ``priority`` is what its priority class says, or the default class, or zero."""

from typing import Any

from apimachinery import errors
from apiserver.admission.chain import Attributes, Plugin

Object = dict[str, Any]
#: Classes that every cluster has, whether or not their objects exist yet.
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class Priority(Plugin):
    handles = frozenset({"CREATE"})

    def __init__(self, context: Any) -> None:
        self._context = context

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        name, value, policy = self._chosen(attributes, spec.get("priorityClassName") or "")
        given = spec.get("priority")
        if given is not None and given != value:
            text = (
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise errors.forbidden(attributes.resource, attributes.name, text)
        if name:
            spec["priorityClassName"] = name
        spec["priority"] = value
        spec.setdefault("preemptionPolicy", policy)

    def _chosen(self, attributes: Attributes, name: str) -> tuple[str, int, str]:
        classes = self._context.endpoint("scheduling.k8s.io", "priorityclasses")
        if not name:
            best: Object | None = None
            for entry in classes.cache.entries():
                found = classes.decode_entry(entry)
                if found.get("globalDefault") and (best is None or found.get("value", 0) < best.get("value", 0)):
                    best = found
            if best is None:
                return "", 0, "PreemptLowerPriority"
            return best["metadata"]["name"], best.get("value", 0), best.get("preemptionPolicy", "PreemptLowerPriority")
        entry = classes.cache.get(name)
        if entry is not None:
            found = classes.decode_entry(entry)
            return name, found.get("value", 0), found.get("preemptionPolicy", "PreemptLowerPriority")
        if name in SYSTEM:
            return name, SYSTEM[name], "PreemptLowerPriority"
        raise errors.forbidden(attributes.resource, attributes.name, f"no PriorityClass with name {name} was found")
