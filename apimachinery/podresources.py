"""What a pod asks for altogether, as exact quantities: what quotas and limit ranges count (upstream's ``PodRequests``).

The scheduler and the kubelet count the same in whole numbers, which is faster and rounds.
"""

from collections.abc import Mapping
from typing import Any

from apimachinery import quantity
from apimachinery.quantity import Quantity

Object = dict[str, Any]
Amounts = dict[str, Quantity]


def pod_requests(pod: Object, *, resized: bool = False) -> Amounts:
    """``resized``: a resize in flight counts as the larger of what is wanted and what the container still has."""
    total = _total(pod, "requests", resized)
    for name, amount in amounts(pod["spec"].get("overhead")).items():
        total[name] = total[name] + amount if name in total else amount
    return total


def pod_limits(pod: Object, *, resized: bool = False) -> Amounts:
    """Overhead only widens a limit that there is."""
    total = _total(pod, "limits", resized)
    for name, amount in amounts(pod["spec"].get("overhead")).items():
        if name in total and total[name].unscaled:
            total[name] += amount
    return total


def amounts(given: Mapping[str, str] | None) -> Amounts:
    return {name: quantity.parse(text) for name, text in (given or {}).items()}


def add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def raise_to(total: Amounts, least: Amounts) -> None:
    for name, amount in least.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def _total(pod: Object, which: str, resized: bool) -> Amounts:
    """The containers' sum, or the hungriest moment of initialization where that is more.

    Init containers run one after the other, each beside the sidecars (``restartPolicy: Always``) before it, which stay.
    """
    statuses = _statuses(pod) if resized else {}
    spec = pod["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add(total, _of_container(container, which, statuses))
    sidecars: Amounts = {}
    hungriest: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _of_container(container, which, statuses)
        if container.get("restartPolicy") == "Always":
            add(total, asked)
            add(sidecars, asked)
            asked = dict(sidecars)
        else:
            add(asked, sidecars)
        raise_to(hungriest, asked)
    raise_to(total, hungriest)
    return total


def _of_container(container: Object, which: str, statuses: dict[str, Object]) -> Amounts:
    asked = amounts((container.get("resources") or {}).get(which))
    status = statuses.get(container.get("name", ""))
    if status is not None:
        raise_to(asked, amounts((status.get("resources") or {}).get(which)))
        if which == "requests":
            raise_to(asked, amounts(status.get("allocatedResources")))
    return asked


def _statuses(pod: Object) -> dict[str, Object]:
    status = pod.get("status") or {}
    some = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return {s["name"]: s for s in some if s.get("resources") is not None}
