"""What a scheduling plugin is.

A plugin turns a pod into a question about one node: ``filter`` gives a function that says why a node will not do,
``score`` one that says how well it does (0 to 100 after normalization). Both may return None: nothing to ask for this
pod. A *local* plugin's answers depend on the pod's shape and the one node alone, so they are kept until the node
changes; the others look at pods on other nodes too and are asked anew for every pod.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from scheduler.event import Event
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo
from scheduler.tally import ChangingCluster

MAX_SCORE = 100


class Rejection:
    """Why a node will not do. ``resolvable``: evicting other pods could help."""

    __slots__ = ("plugin", "reasons", "resolvable")

    def __init__(self, plugin: str, *reasons: str, resolvable: bool) -> None:
        self.plugin, self.reasons, self.resolvable = plugin, reasons, resolvable

    def __repr__(self) -> str:
        return f"Rejection({self.plugin}: {', '.join(self.reasons)})"


NodeFilter = Callable[[NodeInfo], Rejection | None]
NodeScore = Callable[[NodeInfo], float]


class ClusterView(Protocol):
    """What plugins may look at. The node table is one; a dry run makes another with a node replaced."""

    @property
    def nodes(self) -> Sequence[NodeInfo]: ...

    # How many nodes hold pods with (anti-)affinity: nobody need look for them when there are none.
    @property
    def affinity_nodes(self) -> int: ...
    @property
    def anti_affinity_nodes(self) -> int: ...

    @property
    def namespace_labels(self) -> Mapping[str, Mapping[str, str]]: ...

    def get(self, name: str) -> NodeInfo | None: ...

    @property
    def tallied(self) -> ChangingCluster | None:
        """Where tallies can be kept of this cluster; None when it is only imagined."""

    def image_nodes(self, image: str) -> int:
        """On how many nodes the image is."""


class Plugin:
    """``weight`` counts in the sum of the scores. ``events`` may make a pod schedulable that this plugin rejected."""

    name: ClassVar[str]
    local: ClassVar[bool] = True
    weight: ClassVar[int] = 1
    events: ClassVar[Event] = Event(0)

    def narrow(self, pod: PodInfo) -> "set[str] | Rejection | None":
        """The names of the only nodes worth asking, a reason why there can be none, or None for all."""
        return None

    def filter(self, pod: PodInfo, cluster: ClusterView) -> NodeFilter | None:
        return None

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        """``feasible`` is empty for local plugins."""
        return None

    #: Turns raw scores of all feasible nodes into 0 to 100; None when ``score`` already gives those.
    normalize: Callable[[Sequence[float]], list[int]] | None = None

    def hint(self, event: Event, pod: PodInfo, old: Any, new: Any) -> bool:
        """Could this event (one of ``events``) make the rejected pod fit? ``old`` and ``new`` are NodeInfo-like or PodInfo."""
        return True


def proportional(scores: Sequence[float]) -> list[int]:
    """The best gets 100, the others in proportion."""
    best = max(scores, default=0)
    return [int(MAX_SCORE * score // best) for score in scores] if best else [int(score) for score in scores]


def proportional_reversed(scores: Sequence[float]) -> list[int]:
    """The least gets the most."""
    best = max(scores, default=0)
    return [MAX_SCORE - int(MAX_SCORE * score // best) for score in scores] if best else [MAX_SCORE] * len(scores)


def first_rejection(filters: Iterable[NodeFilter], node: NodeInfo) -> Rejection | None:
    for node_filter in filters:
        rejection = node_filter(node)
        if rejection is not None:
            return rejection
    return None
