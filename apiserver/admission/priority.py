"""Priority: a pod's ``priority`` is what its priority class says, or the default class, or zero."""

from typing import Any

from apiserver.admission.chain import Attributes, Plugin

Object = dict[str, Any]
#: Classes that every cluster has, whether or not their objects exist yet.
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class Priority(Plugin):
    def __init__(self, context: Any) -> None:
        self._context = context

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        if attributes.operation == "UPDATE":
            before = (attributes.old or {}).get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if field in before:
                    spec.setdefault(field, before[field])
            return
        name, value, policy = self._chosen(attributes, spec.get("priorityClassName") or "")
        text = (
            "the {} ({}) must not be provided in pod spec; priority admission controller computed {} from the given "
            "PriorityClass name"
        )
        if spec.get("priority", value) != value:
            raise attributes.forbidden(text.format("integer value of priority", spec["priority"], value))
        if spec.get("preemptionPolicy", policy) != policy:
            given = spec["preemptionPolicy"]
            raise attributes.forbidden(text.format("string value of PreemptionPolicy", given, policy))
        if name:
            spec["priorityClassName"] = name
        spec["priority"] = value
        spec["preemptionPolicy"] = policy

    async def validate(self, attributes: Attributes) -> None:
        """There is one default."""
        if attributes.what != "priorityclasses" or attributes.obj is None or not attributes.obj.get("globalDefault"):
            return
        default = self._default()
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.operation == "CREATE" or name != attributes.name:
            why = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise attributes.forbidden(why)

    def _default(self) -> Object | None:
        classes = self._context.endpoint("scheduling.k8s.io", "priorityclasses")
        found = [c for c in map(classes.decode_entry, classes.cache.entries()) if c.get("globalDefault")]
        return min(found, key=lambda c: c.get("value", 0), default=None)

    def _chosen(self, attributes: Attributes, name: str) -> tuple[str, int, str]:
        classes = self._context.endpoint("scheduling.k8s.io", "priorityclasses")
        if not name:
            best = self._default()
            if best is None:
                return "", 0, "PreemptLowerPriority"
            return best["metadata"]["name"], best.get("value", 0), best.get("preemptionPolicy", "PreemptLowerPriority")
        entry = classes.cache.get(name)
        if entry is not None:
            found = classes.decode_entry(entry)
            return name, found.get("value", 0), found.get("preemptionPolicy", "PreemptLowerPriority")
        if name in SYSTEM:
            return name, SYSTEM[name], "PreemptLowerPriority"
        raise attributes.forbidden(f"no PriorityClass with name {name} was found")
