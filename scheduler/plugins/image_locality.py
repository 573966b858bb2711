"""Prefers nodes that already have the pod's images, the more so the bigger these are."""

from collections.abc import Sequence

from scheduler.framework import MAX_SCORE, ClusterView, NodeScore, Plugin
from scheduler.node import NodeInfo
from scheduler.pod import PodInfo

_MIB = 1024 * 1024
_MINIMUM = 23 * _MIB
_MAXIMUM_PER_CONTAINER = 1000 * _MIB


def normalized_image(name: str) -> str:
    """As the nodes report it: with a tag."""
    return name if name.rfind(":") > name.rfind("/") else f"{name}:latest"


class ImageLocality(Plugin):
    name = "ImageLocality"

    def score(self, pod: PodInfo, cluster: ClusterView, feasible: Sequence[NodeInfo]) -> NodeScore | None:
        containers = [*(pod.spec.get("initContainers") or ()), *(pod.spec.get("containers") or ())]
        names = [normalized_image(c["image"]) for c in containers if c.get("image")]
        total = len(cluster.nodes)
        # An image counts by the share of nodes that have it, or everything would go to the one node that has it.
        spread = [(name, count / total) for name in names if total and (count := cluster.image_nodes(name))]
        if not spread:
            return None
        maximum = _MAXIMUM_PER_CONTAINER * len(containers)

        def locality(node: NodeInfo) -> float:
            present = sum(int(node.images.get(name, 0) * share) for name, share in spread)
            present = min(max(present, _MINIMUM), maximum)
            return MAX_SCORE * (present - _MINIMUM) // (maximum - _MINIMUM)

        return locality
