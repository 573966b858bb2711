"""What each kind means to the API server: defaults, rules, printed columns, selectable fields.

``STRATEGIES`` has one ``Strategy`` for each row of the resource table. Read ``strategy.py`` for the questions that the
HTTP machine asks, then ``pod.py`` and ``workloads.py`` for the richest answers. Everything here is a pure function of
objects; allocation, storage and admission are elsewhere in ``apiserver``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from apimachinery.resources import RESOURCES, Resource
from apiserver.registry import (
    autoscaling,
    batch,
    coordination,
    core,
    discovery,
    event,
    extension,
    ingress,
    networking,
    node,
    pod,
    policy,
    quotas,
    rbac,
    service,
    storage,
    workloads,
)
from apiserver.registry.strategy import Strategy

# By kind where the kind's name is unique, which all are (the two Events and the two HorizontalPodAutoscalers are one).
_BY_KIND: dict[str, type[Strategy]] = {
    "CertificateSigningRequest": extension.CertificateRequestStrategy,
    "ClusterRole": rbac.RoleStrategy,
    "ClusterRoleBinding": rbac.BindingStrategy,
    "ConfigMap": core.ConfigMapStrategy,
    "ControllerRevision": workloads.ControllerRevisionStrategy,
    "CronJob": batch.CronJobStrategy,
    "CSIDriver": storage.CSIDriverStrategy,
    "CSINode": storage.CSINodeStrategy,
    "CSIStorageCapacity": storage.StorageCapacityStrategy,
    "DaemonSet": workloads.DaemonSetStrategy,
    "Deployment": workloads.DeploymentStrategy,
    "Endpoints": core.EndpointsStrategy,
    "EndpointSlice": discovery.EndpointSliceStrategy,
    "Event": event.EventStrategy,
    "FlowSchema": extension.FlowSchemaStrategy,
    "HorizontalPodAutoscaler": autoscaling.AutoscalerStrategy,
    "Ingress": ingress.IngressStrategy,
    "IngressClass": ingress.IngressClassStrategy,
    "IPAddress": networking.IPAddressStrategy,
    "Job": batch.JobStrategy,
    "Lease": coordination.LeaseStrategy,
    "LimitRange": quotas.LimitRangeStrategy,
    "MutatingWebhookConfiguration": extension.WebhooksStrategy,
    "Namespace": core.NamespaceStrategy,
    "NetworkPolicy": networking.NetworkPolicyStrategy,
    "Node": node.NodeStrategy,
    "PersistentVolume": storage.VolumeStrategy,
    "PersistentVolumeClaim": storage.ClaimStrategy,
    "Pod": pod.PodStrategy,
    "PodDisruptionBudget": policy.DisruptionBudgetStrategy,
    "PodTemplate": workloads.PodTemplateStrategy,
    "PriorityClass": policy.PriorityClassStrategy,
    "PriorityLevelConfiguration": extension.PriorityLevelStrategy,
    "ReplicaSet": workloads.ReplicaSetStrategy,
    "ReplicationController": workloads.ReplicationControllerStrategy,
    "ResourceQuota": quotas.ResourceQuotaStrategy,
    "Role": rbac.RoleStrategy,
    "RoleBinding": rbac.BindingStrategy,
    "RuntimeClass": policy.RuntimeClassStrategy,
    "Secret": core.SecretStrategy,
    "Service": service.ServiceStrategy,
    "ServiceAccount": core.ServiceAccountStrategy,
    "ServiceCIDR": networking.ServiceCIDRStrategy,
    "StatefulSet": workloads.StatefulSetStrategy,
    "StorageClass": storage.StorageClassStrategy,
    "ValidatingAdmissionPolicy": extension.AdmissionPolicyStrategy,
    "ValidatingAdmissionPolicyBinding": extension.AdmissionPolicyBindingStrategy,
    "ValidatingWebhookConfiguration": extension.WebhooksStrategy,
    "VolumeAttachment": storage.VolumeAttachmentStrategy,
}

# Every row of the resource table, so that a caller needs no default.
STRATEGIES: dict[Resource, Strategy] = {r: _BY_KIND.get(r.kind, Strategy)(r) for r in RESOURCES}


class Conversion(NamedTuple):
    """Between the stored form of a kind and another served one; loses nothing either way."""

    to_served: Callable[[dict[str, Any]], dict[str, Any]]
    to_stored: Callable[[dict[str, Any]], dict[str, Any]]


_CONVERSIONS = {
    ("autoscaling", "v1"): Conversion(autoscaling.to_v1, autoscaling.to_v2),
    ("events.k8s.io", "v1"): Conversion(event.to_events, event.to_core),
}
# Only rows whose objects are stored in another version.
CONVERSIONS: dict[Resource, Conversion] = {
    r: _CONVERSIONS[r.group, r.version] for r in RESOURCES if r.stored and r.stored_api_version != r.api_version
}

__all__ = ["CONVERSIONS", "STRATEGIES", "Conversion", "Strategy"]
