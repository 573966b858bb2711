"""What this cluster's own components need beyond upstream's roles, and why.

Upstream's kubelet leaves the pod network to a plugin with an account of its own; ours keeps the routes to the other nodes itself.
"""

from apiserver.authorization.defaults import Bound, Role, may

ROLES: tuple[Role, ...] = (Role("minik8s:node-routes", (may("get list watch", "nodes"),)),)
BINDINGS: tuple[Bound, ...] = (
    Bound("minik8s:node-routes", ("Group:system:nodes",)),
    # The API server's own name at the kubelets: it passes on logs, exec and the proxy, and does nothing else there.
    Bound(
        "system:kubelet-api-admin",
        ("User:kube-apiserver-kubelet-client",),
        name="minik8s:kube-apiserver-kubelet-client",
    ),
)
