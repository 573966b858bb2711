"""What each kind means to the API server: defaults, rules, printed columns, selectable fields.

``STRATEGIES`` has one ``Strategy`` for each row of the resource table. Read ``strategy.py`` for the questions that the
HTTP machine asks, then ``pod.py`` and ``workloads.py`` for the richest answers. Everything here is a pure function of
objects; allocation, storage and admission are elsewhere in ``apiserver``.
"""

from apimachinery.resources import RESOURCES, Resource
from apiserver.registry import coordination, core, discovery, event, node, pod, service, storage, workloads
from apiserver.registry.strategy import Strategy

# By kind where the kind's name is unique, which all are (the two Events and the two HorizontalPodAutoscalers are one).
_BY_KIND: dict[str, type[Strategy]] = {
    "ConfigMap": core.ConfigMapStrategy,
    "ControllerRevision": workloads.ControllerRevisionStrategy,
    "CSIDriver": storage.CSIDriverStrategy,
    "CSINode": storage.CSINodeStrategy,
    "CSIStorageCapacity": storage.StorageCapacityStrategy,
    "DaemonSet": workloads.DaemonSetStrategy,
    "Deployment": workloads.DeploymentStrategy,
    "Endpoints": core.EndpointsStrategy,
    "EndpointSlice": discovery.EndpointSliceStrategy,
    "Event": event.EventStrategy,
    "Lease": coordination.LeaseStrategy,
    "LimitRange": core.LimitRangeStrategy,
    "Namespace": core.NamespaceStrategy,
    "Node": node.NodeStrategy,
    "PersistentVolume": storage.VolumeStrategy,
    "PersistentVolumeClaim": storage.ClaimStrategy,
    "Pod": pod.PodStrategy,
    "PodTemplate": workloads.PodTemplateStrategy,
    "ReplicaSet": workloads.ReplicaSetStrategy,
    "ReplicationController": workloads.ReplicationControllerStrategy,
    "ResourceQuota": core.ResourceQuotaStrategy,
    "Secret": core.SecretStrategy,
    "Service": service.ServiceStrategy,
    "ServiceAccount": core.ServiceAccountStrategy,
    "StatefulSet": workloads.StatefulSetStrategy,
    "StorageClass": storage.StorageClassStrategy,
    "VolumeAttachment": storage.VolumeAttachmentStrategy,
}

STRATEGIES: dict[Resource, Strategy] = {r: _BY_KIND.get(r.kind, Strategy)(r) for r in RESOURCES}

__all__ = ["STRATEGIES", "Strategy"]
