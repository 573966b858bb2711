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
