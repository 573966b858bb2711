"""``python -m scheduler``."""

import sys

from componentbase import logs, process
from componentbase.flags import FlagSet


def flags() -> FlagSet:
    flags = FlagSet("scheduler", "Gives every pod that has none a node.")
    flags.flag("kubeconfig", "", "How to reach the API server; else $KUBECONFIG, ~/.kube/config, the pod's account.")
    flags.boolean("leader-elect", True, "Schedule only while holding the Lease, so that several may run.")
    flags.duration("leader-elect-lease-duration", "15s", "How long others wait for a leader that does not renew.")
    flags.duration("leader-elect-renew-deadline", "10s", "A leader that could not renew for so long gives up.")
    flags.duration("leader-elect-retry-period", "2s", "Time between tries to acquire or renew.")
    flags.flag("leader-elect-resource-name", "kube-scheduler", "The Lease's name.")
    flags.flag("leader-elect-resource-namespace", "kube-system", "The Lease's namespace.")
    flags.flag("bind-address", "127.0.0.1", "Where /healthz, /livez, /readyz and /metrics are served.")
    flags.flag("secure-port", 10259, "Port of the same; HTTPS when a certificate is given.")
    flags.flag("tls-cert-file", "", "Serving certificate.")
    flags.flag("tls-private-key-file", "", "Its key.")
    flags.add_argument("-v", "--v", type=int, default=0, metavar="LEVEL", help="Log verbosity; 4 and more debugs.")
    return flags


def main(argv: list[str] | None = None) -> int:
    options = flags().parse_args(argv)
    logs.setup(options.v)
    # The rest is imported once the flags are known to be right.
    from kubeclient import ConfigError
    from scheduler.component import run

    try:
        return process.run(run(options))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
