"""The quality of service class of a pod: who is killed last when memory runs out."""

from typing import Any

from apimachinery import quantity

_COMPUTE = ("cpu", "memory")


def qos_class(spec: dict[str, Any]) -> str:
    """Guaranteed when every container's limits equal its requests, BestEffort when there are none, else Burstable."""
    guaranteed, anything = True, False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            resources = container.get("resources") or {}
            limits, requests = _amounts(resources.get("limits")), _amounts(resources.get("requests"))
            anything = anything or bool(limits or requests)
            if set(limits) != set(_COMPUTE) or {**limits, **requests} != limits:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(resources: dict[str, str] | None) -> dict[str, int]:
    """What counts: CPU and memory above zero, in thousandths."""
    amounts = {name: quantity.milli((resources or {}).get(name, "0")) for name in _COMPUTE}
    return {name: amount for name, amount in amounts.items() if amount > 0}
