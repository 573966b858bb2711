"""What the probes last found, by container id: read by the pod workers and by the status."""

from collections.abc import Callable
from enum import Enum


class Kind(Enum):
    LIVENESS = "Liveness"
    READINESS = "Readiness"
    STARTUP = "Startup"

    @property
    def field(self) -> str:
        """The container's field that describes the probe."""
        return self.value.lower() + "Probe"


class Results:
    """``get`` gives True, False, or None while nothing is known. ``on_change(uid)`` is called when a result turns."""

    def __init__(self, on_change: Callable[[str], None] = lambda uid: None) -> None:
        self._found: dict[tuple[Kind, str], bool] = {}
        self._on_change = on_change

    def get(self, kind: Kind, container_id: str) -> bool | None:
        return self._found.get((kind, container_id))

    def set(self, kind: Kind, container_id: str, good: bool, pod_uid: str) -> None:
        if self._found.get((kind, container_id)) is not good:
            self._found[kind, container_id] = good
            self._on_change(pod_uid)

    def forget(self, kind: Kind, container_id: str) -> None:
        self._found.pop((kind, container_id), None)
