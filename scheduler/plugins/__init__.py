"""The default profile: upstream's plugins, in upstream's order, with upstream's weights."""

from scheduler.framework import Plugin
from scheduler.plugins.image_locality import ImageLocality
from scheduler.plugins.interpod_affinity import InterPodAffinity
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_unschedulable import NodeUnschedulable
from scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from scheduler.plugins.resources_fit import NodeResourcesFit
from scheduler.plugins.taints import TaintToleration
from scheduler.plugins.topology_spread import DefaultSelectors, PodTopologySpread


def default_plugins(selectors: DefaultSelectors | None = None, added_affinity: dict | None = None) -> list[Plugin]:
    """``selectors`` finds the workload a pod belongs to, for spreading pods that ask for no spreading.

    ``added_affinity`` is a node affinity that every pod of the profile must also satisfy.
    """
    return [
        NodeUnschedulable(),
        NodeName(),
        TaintToleration(),
        NodeAffinity(added_affinity),
        NodePorts(),
        NodeResourcesFit(),
        NodeResourcesBalancedAllocation(),
        ImageLocality(),
        PodTopologySpread(selectors),
        InterPodAffinity(),
    ]
