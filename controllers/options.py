"""The flags of the controller manager, with upstream's names."""

import argparse

from componentbase.flags import FlagSet


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    flags = FlagSet("controllers", "The controller manager: the loops that make the cluster what its objects say.")
    flags.flag("kubeconfig", "", "how to reach the API server")
    flags.flag("controllers", "*", "which loops run: names, '*' for the default ones, '-name' to leave one out")
    flags.boolean("leader-elect", True, "only work while holding the Lease")
    flags.duration("leader-elect-lease-duration", "15s", "how long others wait for a leader that is silent")
    flags.duration("leader-elect-renew-deadline", "10s", "how long a leader tries to renew before it gives up")
    flags.duration("leader-elect-retry-period", "2s", "how long to wait between two tries")
    flags.flag("leader-elect-resource-name", "kube-controller-manager", "name of the Lease")
    flags.flag("leader-elect-resource-namespace", "kube-system", "namespace of the Lease")
    flags.flag("bind-address", "127.0.0.1", "where /healthz, /livez, /readyz and /metrics listen")
    flags.flag("secure-port", 10257, "port of the same; 0 picks a free one")
    flags.flag("tls-cert-file", "", "certificate of the health server; plain HTTP without")
    flags.flag("tls-private-key-file", "", "its key")
    flags.boolean("allocate-node-cidrs", True, "give each Node a piece of --cluster-cidr")
    flags.flag("cluster-cidr", "", "the network of all pods, comma-separated for two IP families")
    flags.flag("node-cidr-mask-size", 24, "prefix length of a Node's piece")
    flags.flag("service-cluster-ip-range", "", "the network of Services, never given to a Node")
    flags.flag("root-ca-file", "", "published to every namespace as kube-root-ca.crt; the kubeconfig's CA by default")
    flags.flag("service-account-private-key-file", "", "signs the tokens of Secret-based service account tokens")
    flags.flag("cluster-signing-cert-file", "", "CA that signs approved CertificateSigningRequests")
    flags.flag("cluster-signing-key-file", "", "its key")
    flags.duration("cluster-signing-duration", "8760h", "the life of a certificate that asks for none, and the most")
    flags.boolean("use-service-account-credentials", False, "run each loop under a service account of its own")
    flags.duration("node-monitor-period", "5s", "how often Nodes are checked for silence")
    flags.duration("node-monitor-grace-period", "40s", "how long a Node may be silent")
    flags.flag("node-eviction-rate", 0.1, "Nodes a second that may lose their pods when they are unhealthy")
    flags.flag("secondary-node-eviction-rate", 0.01, "the same while many Nodes of a zone are unhealthy")
    flags.flag("large-cluster-size-threshold", 50, "zones of up to so many Nodes are not evicted at the secondary rate")
    flags.flag("unhealthy-zone-threshold", 0.55, "the fraction of unhealthy Nodes that makes a zone unhealthy")
    flags.duration("resource-quota-sync-period", "5m", "how often the usage of quotas is counted anew")
    flags.flag("terminated-pod-gc-threshold", 12500, "how many ended pods are kept")
    flags.add_argument("-v", "--v", type=int, default=0, help="log verbosity; 4 and more for debugging")
    return flags.parse_args(argv)
