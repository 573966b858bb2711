"""The roles and bindings that a cluster starts with: upstream's, by upstream's names, as a table.

``components.py`` adds what this cluster's own components need beyond that, ``controllerroles.py`` has one role for each
controller. ``reconcile.py`` brings them into the cluster.
"""

from collections.abc import Iterable
from typing import NamedTuple

from apiserver.authorization.rules import Rule

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
READ_WRITE = f"{READ} {WRITE}"
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


class Role(NamedTuple):
    """A ClusterRole, or the Role of a namespace. ``joins`` and ``gathers`` are the aggregation labels, by their last word."""

    name: str
    rules: tuple[Rule, ...] = ()
    namespace: str = ""
    joins: str = ""
    gathers: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return {_AGGREGATE + self.joins: "true"} if self.joins else {}

    @property
    def selector(self) -> dict[str, str]:
        return {_AGGREGATE + self.gathers: "true"} if self.gathers else {}


class Bound(NamedTuple):
    """A ClusterRoleBinding, or the RoleBinding of a namespace. Subjects read ``User:name``, ``Group:name`` or ``account/name``."""

    role: str
    subjects: tuple[str, ...] = ()
    namespace: str = ""
    name: str = ""


def may(verbs: str, resources: str, groups: str = "core", names: str = "") -> Rule:
    """Words separated by spaces, sorted as upstream's builder does; ``core`` is the group without a name."""
    known = tuple("" if group == "core" else group for group in groups.split())
    return Rule(_sorted(verbs), tuple(sorted(known)), _sorted(resources), _sorted(names))


def sees(urls: str) -> Rule:
    return Rule(("get",), urls=_sorted(urls))


def _sorted(words: str) -> tuple[str, ...]:
    return tuple(sorted(words.split()))


EVENTS = may("create patch update", "events", "core events.k8s.io")
_DELEGATED = (
    may("create", "tokenreviews", "authentication.k8s.io"),
    may("create", "subjectaccessreviews", "authorization.k8s.io"),
)
_PUBLIC = "/healthz /livez /readyz /version /version/"
_SIGNERS = "kube-apiserver-client kube-apiserver-client-kubelet kubelet-serving legacy-unknown"

_VIEW = (
    may(
        READ,
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
    ),
    may(
        READ,
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
    ),
    may(READ, "namespaces"),
    may(READ, "endpointslices", "discovery.k8s.io"),
    may(
        READ,
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        "apps",
    ),
    may(READ, "horizontalpodautoscalers horizontalpodautoscalers/status", "autoscaling"),
    may(READ, "cronjobs cronjobs/status jobs jobs/status", "batch"),
    may(
        READ,
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status "
        "networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
        "extensions",
    ),
    may(READ, "poddisruptionbudgets poddisruptionbudgets/status", "policy"),
    may(READ, "ingresses ingresses/status networkpolicies", "networking.k8s.io"),
)
_EDIT = (
    may(READ, "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    may("impersonate", "serviceaccounts"),
    may(WRITE, "pods pods/attach pods/exec pods/portforward pods/proxy"),
    may("create", "pods/eviction"),
    may(
        WRITE,
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
    ),
    may("create", "serviceaccounts/token"),
    may(
        WRITE,
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
        "statefulsets/scale",
        "apps",
    ),
    may(WRITE, "horizontalpodautoscalers", "autoscaling"),
    may(WRITE, "cronjobs jobs", "batch"),
    may(
        WRITE,
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
        "replicasets/scale replicationcontrollers/scale",
        "extensions",
    ),
    may(WRITE, "poddisruptionbudgets", "policy"),
    may(WRITE, "ingresses networkpolicies", "networking.k8s.io"),
    may(READ_WRITE, "leases", "coordination.k8s.io"),
)
_ADMIN = (
    may("create", "localsubjectaccessreviews", "authorization.k8s.io"),
    may(READ_WRITE, "rolebindings roles", "rbac.authorization.k8s.io"),
)
_NODE = (
    may("create", "tokenreviews", "authentication.k8s.io"),
    may("create", "localsubjectaccessreviews subjectaccessreviews", "authorization.k8s.io"),
    may(READ, "services"),
    may("create get list watch", "nodes"),
    may("patch update", "nodes/status"),
    may("patch update", "nodes"),
    may("create patch update", "events"),
    may(READ, "pods"),
    may("create delete", "pods"),
    may("patch update", "pods/status"),
    may("create", "pods/eviction"),
    may(READ, "configmaps secrets"),
    may("get", "persistentvolumeclaims persistentvolumes"),
    may("get", "endpoints"),
    may("create get list watch", "certificatesigningrequests", "certificates.k8s.io"),
    may("create delete get patch update", "leases", "coordination.k8s.io"),
    may("get", "volumeattachments", "storage.k8s.io"),
    may("create", "serviceaccounts/token"),
    may("get patch update", "persistentvolumeclaims/status"),
    may(READ, "csidrivers", "storage.k8s.io"),
    may("create delete get patch update", "csinodes", "storage.k8s.io"),
    may(READ, "runtimeclasses", "node.k8s.io"),
)
_SCHEDULER = (
    EVENTS,
    may("create", "leases", "coordination.k8s.io"),
    may("get update", "leases", "coordination.k8s.io", "kube-scheduler"),
    may(READ, "nodes"),
    may("delete get list watch", "pods"),
    may("create", "bindings pods/binding"),
    may("patch update", "pods/status"),
    may(READ, "replicationcontrollers services"),
    may(READ, "replicasets", "apps extensions"),
    may(READ, "statefulsets", "apps"),
    may(READ, "poddisruptionbudgets", "policy"),
    may(READ, "persistentvolumeclaims persistentvolumes"),
    *_DELEGATED,
    may(READ, "csinodes", "storage.k8s.io"),
    may(READ, "namespaces"),
    may(READ, "csidrivers", "storage.k8s.io"),
    may(READ, "csistoragecapacities", "storage.k8s.io"),
)
_CONTROLLER_MANAGER = (
    EVENTS,
    may("create", "leases", "coordination.k8s.io"),
    may("get update", "leases", "coordination.k8s.io", "kube-controller-manager"),
    may("create", "secrets serviceaccounts"),
    may("delete", "secrets"),
    may("get", "configmaps namespaces secrets serviceaccounts"),
    may("update", "secrets serviceaccounts"),
    *_DELEGATED,
    may("list watch", "*", "*"),
    may("create", "serviceaccounts/token"),
)

CLUSTER_ROLES: tuple[Role, ...] = (
    Role("cluster-admin", (may("*", "*", "*"), Rule(("*",), urls=("*",)))),
    Role("system:discovery", (sees(f"/api /api/* /apis /apis/* /openapi /openapi/* {_PUBLIC}"),)),
    Role(
        "system:monitoring",
        (sees("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),),
    ),
    Role(
        "system:basic-user",
        (
            may("create", "selfsubjectaccessreviews selfsubjectrulesreviews", "authorization.k8s.io"),
            may("create", "selfsubjectreviews", "authentication.k8s.io"),
        ),
    ),
    Role("system:public-info-viewer", (sees(_PUBLIC),)),
    Role("admin", gathers="admin"),
    Role("edit", gathers="edit", joins="admin"),
    Role("view", gathers="view", joins="edit"),
    Role("system:aggregate-to-admin", _ADMIN, joins="admin"),
    Role("system:aggregate-to-edit", _EDIT, joins="edit"),
    Role("system:aggregate-to-view", _VIEW, joins="view"),
    Role("system:heapster", (may(READ, "events namespaces nodes pods"), may(READ, "deployments", "extensions"))),
    Role("system:node", _NODE),
    Role("system:node-problem-detector", (may("get", "nodes"), may("patch", "nodes/status"), EVENTS)),
    Role(
        "system:kubelet-api-admin",
        (
            may(READ, "nodes"),
            may("proxy", "nodes"),
            may(
                "*",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
            ),
        ),
    ),
    Role(
        "system:node-bootstrapper", (may("create get list watch", "certificatesigningrequests", "certificates.k8s.io"),)
    ),
    Role("system:auth-delegator", _DELEGATED),
    Role("system:kube-aggregator", (may(READ, "endpoints services"),)),
    Role("system:kube-controller-manager", _CONTROLLER_MANAGER),
    Role("system:kube-dns", (may("list watch", "endpoints services"),)),
    Role(
        "system:persistent-volume-provisioner",
        (
            may("create delete get list watch", "persistentvolumes"),
            may("get list update watch", "persistentvolumeclaims"),
            may(READ, "storageclasses", "storage.k8s.io"),
            may("watch", "events"),
            EVENTS,
        ),
    ),
    Role(
        "system:volume-scheduler",
        (
            may("get list patch update watch", "persistentvolumes"),
            may(READ, "storageclasses", "storage.k8s.io"),
            may("get list patch update watch", "persistentvolumeclaims"),
        ),
    ),
    Role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        (may("create", "certificatesigningrequests/nodeclient", "certificates.k8s.io"),),
    ),
    Role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        (may("create", "certificatesigningrequests/selfnodeclient", "certificates.k8s.io"),),
    ),
    *(
        Role(
            f"system:certificates.k8s.io:{signer}-approver",
            (may("approve", "signers", "certificates.k8s.io", f"kubernetes.io/{signer}"),),
        )
        for signer in _SIGNERS.split()
    ),
    Role("system:service-account-issuer-discovery", (sees("/.well-known/openid-configuration /openid/v1/jwks"),)),
    Role("system:kube-scheduler", _SCHEDULER),
    Role(
        "system:node-proxier",
        (
            may("list watch", "endpoints services"),
            may(READ, "nodes"),
            EVENTS,
            may("list watch", "endpointslices", "discovery.k8s.io"),
            may("list watch", "servicecidrs", "networking.k8s.io"),
        ),
    ),
)

CLUSTER_BINDINGS: tuple[Bound, ...] = (
    Bound("cluster-admin", ("Group:system:masters",)),
    Bound("system:monitoring", ("Group:system:monitoring",)),
    Bound("system:discovery", ("Group:system:authenticated",)),
    Bound("system:basic-user", ("Group:system:authenticated",)),
    Bound("system:public-info-viewer", ("Group:system:authenticated", "Group:system:unauthenticated")),
    Bound("system:node-proxier", ("User:system:kube-proxy",)),
    Bound("system:kube-controller-manager", ("User:system:kube-controller-manager",)),
    Bound("system:kube-dns", ("kube-system/kube-dns",)),
    Bound("system:kube-scheduler", ("User:system:kube-scheduler",)),
    Bound("system:volume-scheduler", ("User:system:kube-scheduler",)),
    Bound("system:service-account-issuer-discovery", ("Group:system:serviceaccounts",)),
    # The node authorizer speaks for nodes; the binding stays for those who want to add to it.
    Bound("system:node"),
)

_SYSTEM, _SHARED = "kube-system", "kube-public"
_LOCK_CONTROLLERS = "system::leader-locking-kube-controller-manager"
_LOCK_SCHEDULER = "system::leader-locking-kube-scheduler"
_SIGNER = "system:controller:bootstrap-signer"
_READER = "extension-apiserver-authentication-reader"

NAMESPACE_ROLES: tuple[Role, ...] = (
    Role(_READER, (may(READ, "configmaps", names="extension-apiserver-authentication"),), _SYSTEM),
    Role(_SIGNER, (may(READ, "secrets"),), _SYSTEM),
    Role("system:controller:cloud-provider", (may("create get list watch", "configmaps"),), _SYSTEM),
    Role("system:controller:token-cleaner", (may("delete get list watch", "secrets"), EVENTS), _SYSTEM),
    Role(
        _LOCK_CONTROLLERS,
        (may("watch", "configmaps"), may("get update", "configmaps", names="kube-controller-manager")),
        _SYSTEM,
    ),
    Role(
        _LOCK_SCHEDULER,
        (may("watch", "configmaps"), may("get update", "configmaps", names="kube-scheduler")),
        _SYSTEM,
    ),
    Role(_SIGNER, (may(READ, "configmaps"), may("update", "configmaps", names="cluster-info"), EVENTS), _SHARED),
)
NAMESPACE_BINDINGS: tuple[Bound, ...] = (
    Bound(
        _READER,
        ("User:system:kube-controller-manager", "User:system:kube-scheduler"),
        _SYSTEM,
        "system::extension-apiserver-authentication-reader",
    ),
    Bound(_LOCK_CONTROLLERS, ("User:system:kube-controller-manager", "kube-system/kube-controller-manager"), _SYSTEM),
    Bound(_LOCK_SCHEDULER, ("User:system:kube-scheduler", "kube-system/kube-scheduler"), _SYSTEM),
    Bound(_SIGNER, ("kube-system/bootstrap-signer",), _SYSTEM),
    Bound("system:controller:cloud-provider", ("kube-system/cloud-provider",), _SYSTEM),
    Bound("system:controller:token-cleaner", ("kube-system/token-cleaner",), _SYSTEM),
    Bound(_SIGNER, ("kube-system/bootstrap-signer",), _SHARED),
)


def node_rules() -> tuple[Rule, ...]:
    """What the node authorizer allows uniformly, where no closer rule applies."""
    return _NODE


def roles() -> Iterable[Role]:
    from apiserver.authorization import components, controllerroles

    yield from CLUSTER_ROLES
    yield from controllerroles.ROLES
    yield from components.ROLES
    yield from NAMESPACE_ROLES


def bindings() -> Iterable[Bound]:
    from apiserver.authorization import components, controllerroles

    yield from CLUSTER_BINDINGS
    yield from controllerroles.BINDINGS
    yield from components.BINDINGS
    yield from NAMESPACE_BINDINGS
