"""What this cluster's own components need beyond upstream's roles, and why.

Upstream's controller manager runs each controller under a service account of its own; ours runs all of them as
``system:kube-controller-manager``, which therefore holds the sum of the roles of the controllers that it has. Upstream's
kubelet leaves the pod network to a plugin with an account of its own; ours keeps the routes to the other nodes itself.
"""

from apiserver.authorization.controllerroles import ROLES as CONTROLLERS
from apiserver.authorization.defaults import Bound, Role, may
from apiserver.authorization.rules import Rule

#: The controllers that the controller manager has, by the last part of their role's name.
_RUNNING = (
    "clusterrole-aggregation-controller", "cronjob-controller", "daemon-set-controller", "deployment-controller",
    "disruption-controller", "endpoint-controller", "endpointslice-controller", "generic-garbage-collector", "job-controller",
    "namespace-controller", "node-controller", "pod-garbage-collector", "replicaset-controller", "replication-controller",
    "root-ca-cert-publisher", "service-account-controller", "statefulset-controller", "ttl-after-finished-controller",
)  # fmt: skip


def _sum() -> tuple[Rule, ...]:
    """The rules of the running controllers; those about one resource are put together."""
    verbs: dict[Rule, set[str]] = {}
    for role in CONTROLLERS:
        if role.name.removeprefix("system:controller:") in _RUNNING:
            for rule in role.rules:
                verbs.setdefault(rule._replace(verbs=()), set()).update(rule.verbs)
    return tuple(rule._replace(verbs=tuple(sorted(some))) for rule, some in verbs.items())


ROLES: tuple[Role, ...] = (
    Role("minik8s:controllers", _sum()),
    Role("minik8s:node-routes", (may("get list watch", "nodes"),)),
)
BINDINGS: tuple[Bound, ...] = (
    Bound("minik8s:controllers", ("User:system:kube-controller-manager",)),
    Bound("minik8s:node-routes", ("Group:system:nodes",)),
    # The API server's own name at the kubelets: it passes on logs, exec and the proxy, and does nothing else there.
    Bound(
        "system:kubelet-api-admin",
        ("User:kube-apiserver-kubelet-client",),
        name="minik8s:kube-apiserver-kubelet-client",
    ),
)
