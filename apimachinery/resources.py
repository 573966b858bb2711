"""The resource table: every kind the API serves is one row here.

Discovery, routes, storage keys, RBAC names and the command line's short names are all read from these rows, so a
kind exists for the whole project once it has a row. Storage prefixes are upstream's etcd layout below ``/registry``
(nodes are still "minions" there), so our API server and a real kube-apiserver can read one store.
"""

from dataclasses import dataclass
from typing import NamedTuple

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_VERBS = ("get", "patch", "update")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One served resource. Rows are singletons: compare and hash by identity, find them with ``lookup``."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: tuple[str, ...] = ()
    storage_prefix: str = ""
    """Below the store's prefix, without slashes at the ends; empty for what is never stored (reviews, bindings)."""
    storage_version: str = ""
    """``apiVersion`` in the store where it differs from this row's (two API versions, one storage)."""
    deprecation: str = ""
    """What every client that uses the resource is warned of."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def group_resource(self) -> str:
        """``deployments.apps``: how upstream names a resource in error messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, an object or a subresource."""
        parts = [self.api_root]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def storage_key(self, namespace: str | None = None, name: str | None = None) -> str:
        """The key below the store's prefix; ends with a slash when it names a collection."""
        parts = [self.storage_prefix]
        if namespace and self.namespaced:
            parts.append(namespace)
        parts.append(name or "")
        return "/".join(parts)

    @property
    def stored(self) -> bool:
        return bool(self.storage_prefix)

    @property
    def stored_api_version(self) -> str:
        return self.storage_version or self.api_version

    @property
    def storage_version_hash(self) -> str:
        """What discovery publishes so that clients notice a change of the stored version."""
        if not self.stored:
            return ""
        # Only discovery asks, and hashlib loads OpenSSL.
        import base64
        import hashlib

        api_version = self.stored_api_version
        if "/" not in api_version:
            api_version = "/" + api_version
        digest = hashlib.sha256(f"{api_version}/{self.kind}".encode()).digest()
        return base64.b64encode(digest[:8]).decode()


class Subresource(NamedTuple):
    """What discovery says of ``plural/name``. ``group``/``version`` are empty when they are the parent's."""

    name: str
    verbs: tuple[str, ...]
    kind: str
    group: str = ""
    version: str = ""


def _row(
    api_version: str,
    kind: str,
    plural: str,
    scope: str,
    *,
    short: str = "",
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = STANDARD_VERBS,
    sub: str = "",
    prefix: str | None = None,
    stored_as: str = "",
    deprecation: str = "",
) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=scope == "ns",
        short_names=tuple(short.split()),
        categories=categories,
        verbs=verbs,
        subresources=tuple(sub.split()),
        storage_prefix=plural if prefix is None else prefix,
        storage_version=stored_as,
        deprecation=deprecation,
    )


_ALL = ("all",)
_CREATE = ("create",)
_NOT_COLLECTION = tuple(v for v in STANDARD_VERBS if v != "deletecollection")
_EXTENSIONS = ("api-extensions",)
_ADMISSION = "admissionregistration.k8s.io/v1"
_FLOW = "flowcontrol.apiserver.k8s.io/v1"
_RBAC = "rbac.authorization.k8s.io/v1"
_STORAGE = "storage.k8s.io/v1"

RESOURCES: tuple[Resource, ...] = (
    # core
    _row("v1", "Binding", "bindings", "ns", verbs=_CREATE, prefix=""),
    _row("v1", "ConfigMap", "configmaps", "ns", short="cm"),
    _row("v1", "Endpoints", "endpoints", "ns", short="ep", prefix="services/endpoints",
         deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    _row("v1", "Event", "events", "ns", short="ev"),
    _row("v1", "LimitRange", "limitranges", "ns", short="limits"),
    _row("v1", "Namespace", "namespaces", "cluster", short="ns", verbs=_NOT_COLLECTION, sub="finalize status"),
    _row("v1", "Node", "nodes", "cluster", short="no", sub="proxy status", prefix="minions"),
    _row("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "ns", short="pvc", sub="status"),
    _row("v1", "PersistentVolume", "persistentvolumes", "cluster", short="pv", sub="status"),
    _row(
        "v1", "Pod", "pods", "ns", short="po", categories=_ALL,
        sub="attach binding ephemeralcontainers eviction exec log portforward proxy resize status",
    ),
    _row("v1", "PodTemplate", "podtemplates", "ns"),
    _row("v1", "ReplicationController", "replicationcontrollers", "ns", short="rc", categories=_ALL,
         sub="scale status", prefix="controllers"),
    _row("v1", "ResourceQuota", "resourcequotas", "ns", short="quota", sub="status"),
    _row("v1", "Secret", "secrets", "ns"),
    _row("v1", "ServiceAccount", "serviceaccounts", "ns", short="sa", sub="token"),
    _row("v1", "Service", "services", "ns", short="svc", categories=_ALL, sub="proxy status",
         prefix="services/specs"),
    # workloads
    _row("apps/v1", "ControllerRevision", "controllerrevisions", "ns"),
    _row("apps/v1", "DaemonSet", "daemonsets", "ns", short="ds", categories=_ALL, sub="status"),
    _row("apps/v1", "Deployment", "deployments", "ns", short="deploy", categories=_ALL, sub="scale status"),
    _row("apps/v1", "ReplicaSet", "replicasets", "ns", short="rs", categories=_ALL, sub="scale status"),
    _row("apps/v1", "StatefulSet", "statefulsets", "ns", short="sts", categories=_ALL, sub="scale status"),
    _row("batch/v1", "CronJob", "cronjobs", "ns", short="cj", categories=_ALL, sub="status"),
    _row("batch/v1", "Job", "jobs", "ns", categories=_ALL, sub="status"),
    # autoscaling/v2 is what is stored; v1 is a view of it
    _row("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "ns", short="hpa",
         categories=_ALL, sub="status"),
    _row("autoscaling/v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "ns", short="hpa",
         categories=_ALL, sub="status", stored_as="autoscaling/v2"),
    # network
    _row("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", "ns"),
    _row("networking.k8s.io/v1", "IngressClass", "ingressclasses", "cluster"),
    _row("networking.k8s.io/v1", "Ingress", "ingresses", "ns", short="ing", sub="status", prefix="ingress"),
    _row("networking.k8s.io/v1", "IPAddress", "ipaddresses", "cluster", short="ip"),
    _row("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "ns", short="netpol"),
    _row("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs", "cluster", sub="status"),
    # policy and scheduling
    _row("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "ns", short="pdb", sub="status"),
    _row("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", "cluster", short="pc"),
    _row("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", "cluster"),
    # rbac
    _row(_RBAC, "ClusterRoleBinding", "clusterrolebindings", "cluster"),
    _row(_RBAC, "ClusterRole", "clusterroles", "cluster"),
    _row(_RBAC, "RoleBinding", "rolebindings", "ns"),
    _row(_RBAC, "Role", "roles", "ns"),
    # storage
    _row(_STORAGE, "CSIDriver", "csidrivers", "cluster"),
    _row(_STORAGE, "CSINode", "csinodes", "cluster"),
    _row(_STORAGE, "CSIStorageCapacity", "csistoragecapacities", "ns"),
    _row(_STORAGE, "StorageClass", "storageclasses", "cluster", short="sc"),
    _row(_STORAGE, "VolumeAttachment", "volumeattachments", "cluster", sub="status"),
    # coordination, events, certificates
    _row("coordination.k8s.io/v1", "Lease", "leases", "ns"),
    _row("events.k8s.io/v1", "Event", "events", "ns", short="ev", stored_as="v1"),
    _row("certificates.k8s.io/v1", "CertificateSigningRequest", "certificatesigningrequests", "cluster",
         short="csr", sub="approval status"),
    # the API server's own configuration
    _row(_FLOW, "FlowSchema", "flowschemas", "cluster", sub="status"),
    _row(_FLOW, "PriorityLevelConfiguration", "prioritylevelconfigurations", "cluster", sub="status"),
    _row(_ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "cluster",
         categories=_EXTENSIONS),
    _row(_ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "cluster",
         categories=_EXTENSIONS, sub="status"),
    _row(_ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "cluster",
         categories=_EXTENSIONS),
    _row(_ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "cluster",
         categories=_EXTENSIONS),
    # reviews: answered, never stored
    _row("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", "cluster", verbs=_CREATE, prefix=""),
    _row("authentication.k8s.io/v1", "TokenReview", "tokenreviews", "cluster", verbs=_CREATE, prefix=""),
    _row("authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", "ns",
         verbs=_CREATE, prefix=""),
    _row("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "cluster",
         verbs=_CREATE, prefix=""),
    _row("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "cluster",
         verbs=_CREATE, prefix=""),
    _row("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", "cluster",
         verbs=_CREATE, prefix=""),
)  # fmt: skip

_BY_PLURAL = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND = {(r.api_version, r.kind): r for r in RESOURCES}

# Subresources whose discovery entry is not simply "the parent's kind, readable and writable".
_SUBRESOURCES: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "pods/attach": (("create", "get"), "PodAttachOptions", "", ""),
    "pods/binding": (_CREATE, "Binding", "", ""),
    "pods/eviction": (_CREATE, "Eviction", "policy", "v1"),
    "pods/exec": (("create", "get"), "PodExecOptions", "", ""),
    "pods/log": (("get",), "Pod", "", ""),
    "pods/portforward": (("create", "get"), "PodPortForwardOptions", "", ""),
    "pods/proxy": (_PROXY_VERBS, "PodProxyOptions", "", ""),
    "services/proxy": (_PROXY_VERBS, "ServiceProxyOptions", "", ""),
    "nodes/proxy": (_PROXY_VERBS, "NodeProxyOptions", "", ""),
    "namespaces/finalize": (("update",), "Namespace", "", ""),
    "serviceaccounts/token": (_CREATE, "TokenRequest", "authentication.k8s.io", "v1"),
}


def lookup(group: str, version: str, plural: str) -> Resource | None:
    """The row that serves ``/apis/GROUP/VERSION/PLURAL``."""
    return _BY_PLURAL.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The row for an object's ``apiVersion`` and ``kind``."""
    return _BY_KIND.get((api_version, kind))


def subresource(resource: Resource, name: str) -> Subresource | None:
    """What discovery publishes for one subresource, or None when the resource has none of that name."""
    if name not in resource.subresources:
        return None
    if name == "scale":
        return Subresource("scale", _STATUS_VERBS, "Scale", "autoscaling", "v1")
    verbs, kind, group, version = _SUBRESOURCES.get(f"{resource.plural}/{name}", (_STATUS_VERBS, resource.kind, "", ""))
    return Subresource(name, verbs, kind, group, version)
