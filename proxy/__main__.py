"""``python -m proxy``."""

import sys

from componentbase import logs, process
from componentbase.flags import FlagSet


def flags() -> FlagSet:
    flags = FlagSet("proxy", "Makes the addresses and ports of Services lead to their endpoints, on this node.")
    flags.flag("kubeconfig", "", "How to reach the API server; else $KUBECONFIG, ~/.kube/config, the pod's account.")
    flags.flag("hostname-override", "", "Name of this node; else the host's name.")
    flags.flag(
        "proxy-mode", "iptables", "iptables, or userspace where that is not allowed.", choices=("iptables", "userspace")
    )
    flags.flag("cluster-cidr", "", "Addresses of pods: whoever else calls a ClusterIP is masqueraded.")
    flags.boolean("masquerade-all", False, "Masquerade everybody who calls a ClusterIP.")
    flags.flag("nodeport-addresses", "", "Networks (userspace: addresses) on which NodePorts answer; empty for all.")
    flags.boolean("iptables-localhost-nodeports", True, "NodePorts answer on 127.0.0.1 too.")
    flags.flag("healthz-bind-address", "0.0.0.0:10256", "Where health is served.")
    flags.flag("metrics-bind-address", "127.0.0.1:10249", "Where metrics are served.")
    flags.boolean("cleanup", False, "Remove all our iptables rules and exit.")
    flags.add_argument("-v", "--v", type=int, default=0, metavar="LEVEL", help="Log verbosity; 4 and more debugs.")
    return flags


def main(argv: list[str] | None = None) -> int:
    options = flags().parse_args(argv)
    logs.setup(options.v)
    # The rest is imported once the flags are known to be right.
    from kubeclient import ConfigError
    from proxy.component import clean_up, run
    from proxy.iptables import IptablesError

    try:
        return process.run(clean_up() if options.cleanup else run(options))
    except (ConfigError, IptablesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
