"""How much a pod asks for and a node can give, in whole numbers, so that deciding is adding and comparing.

CPU counts in millicores, everything else in units (bytes, pieces).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from apimachinery import quantity

Object = dict[str, Any]

#: What a container that names no request is taken to use when nodes are *compared* (never when they are filtered),
#: so that a hundred pods without requests do not all land on one node.
DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024

_CORE = ("cpu", "memory", "ephemeral-storage")


@lru_cache(maxsize=4096)
def amount(resource: str, text: str) -> int:
    """A quantity as the number that this module counts in, rounded up."""
    return quantity.milli(text) if resource == "cpu" else quantity.value(text)


def amounts(quantities: Mapping[str, Any] | None) -> dict[str, int]:
    return {name: amount(name, str(value)) for name, value in quantities.items()} if quantities else {}


class Requests:
    """What one pod asks of its node. ``nonzero_*`` count the defaults for containers that ask for nothing."""

    __slots__ = ("cpu", "ephemeral", "extended", "memory", "nonzero_cpu", "nonzero_memory")

    def __init__(self, spec: Object, statuses: Mapping[str, Object] | None = None) -> None:
        asked = _pod_requests(spec, {}, statuses)
        assumed = _pod_requests(spec, {"cpu": DEFAULT_MILLI_CPU, "memory": DEFAULT_MEMORY}, statuses)
        self.cpu = asked.pop("cpu", 0)
        self.memory = asked.pop("memory", 0)
        self.ephemeral = asked.pop("ephemeral-storage", 0)
        self.extended: dict[str, int] = {name: value for name, value in asked.items() if value}
        self.nonzero_cpu = assumed["cpu"]
        self.nonzero_memory = assumed["memory"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requests) and all(getattr(self, f) == getattr(other, f) for f in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    @property
    def best_effort(self) -> bool:
        """Asks for neither CPU nor memory."""
        return not self.cpu and not self.memory


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: dict[str, int], least: Mapping[str, int]) -> None:
    for name, value in least.items():
        if value > total.get(name, 0):
            total[name] = value


def _container_requests(
    container: Object, defaults: Mapping[str, int], statuses: Mapping[str, Object] | None
) -> dict[str, int]:
    asked = amounts((container.get("resources") or {}).get("requests"))
    if statuses and (status := statuses.get(container["name"])) is not None:
        # A resize in flight: until the kubelet has done it, the larger of wanted, allocated and actual counts.
        _raise_to(asked, amounts(status.get("allocatedResources")))
        _raise_to(asked, amounts((status.get("resources") or {}).get("requests")))
    for name, value in defaults.items():
        asked.setdefault(name, value)
    return asked


def _pod_requests(spec: Object, defaults: Mapping[str, int], statuses: Mapping[str, Object] | None) -> dict[str, int]:
    """The containers' sum or the hungriest moment of initialization, whichever is more, plus the runtime's overhead.

    Init containers run one after the other, each beside the sidecars (init containers with restartPolicy Always)
    started before it; sidecars stay and count with the containers.
    """
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(total, _container_requests(container, defaults, statuses))
    sidecars: dict[str, int] = {}
    hungriest: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        asked = _container_requests(container, defaults, statuses)
        if container.get("restartPolicy") == "Always":
            _add(total, asked)
            _add(sidecars, asked)
            moment = sidecars
        else:
            _add(asked, sidecars)
            moment = asked
        _raise_to(hungriest, moment)
    _raise_to(total, hungriest)
    _add(total, amounts(spec.get("overhead")))
    return total


def container_statuses(pod: Object) -> dict[str, Object] | None:
    """The containers' statuses by name, when one of them says what its container was given."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    if any("resources" in status or "allocatedResources" in status for status in statuses):
        return {status["name"]: status for status in statuses}
    return None


class Allocatable:
    """What a node can give to pods."""

    __slots__ = ("cpu", "ephemeral", "extended", "memory", "pods")

    def __init__(self, node: Object | None) -> None:
        status = (node or {}).get("status") or {}
        given = amounts(status.get("allocatable") or status.get("capacity"))
        self.cpu = given.pop("cpu", 0)
        self.memory = given.pop("memory", 0)
        self.ephemeral = given.pop("ephemeral-storage", 0)
        self.pods = given.pop("pods", 0)
        self.extended = given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Allocatable) and all(getattr(self, f) == getattr(other, f) for f in self.__slots__)

    __hash__ = None  # type: ignore[assignment]
