"""What can happen in the cluster that may make an unschedulable pod schedulable."""

from enum import IntFlag, auto


class Event(IntFlag):
    NODE_ADD = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABELS = auto()
    NODE_TAINTS = auto()
    POD_ADD = auto()
    POD_LABELS = auto()
    POD_SCALED_DOWN = auto()
    POD_DELETE = auto()
    NAMESPACE_LABELS = auto()
    #: About the waiting pod itself.
    OWN_CHANGE = auto()

    NODE_ANY = NODE_ADD | NODE_ALLOCATABLE | NODE_LABELS | NODE_TAINTS
    FREED = POD_SCALED_DOWN | POD_DELETE

    @property
    def label(self) -> str:
        """As metrics call it; of several at once, the first."""
        return next(text for event, text in _LABELS.items() if event & self)


_LABELS = {
    Event.NODE_ADD: "NodeAdd",
    Event.NODE_TAINTS: "NodeTaintChange",
    Event.NODE_ALLOCATABLE: "NodeAllocatableChange",
    Event.NODE_LABELS: "NodeLabelChange",
    Event.POD_ADD: "AssignedPodAdd",
    Event.POD_LABELS: "AssignedPodUpdate",
    Event.POD_SCALED_DOWN: "AssignedPodUpdate",
    Event.POD_DELETE: "AssignedPodDelete",
    Event.NAMESPACE_LABELS: "NamespaceUpdate",
    Event.OWN_CHANGE: "PodUpdate",
}
