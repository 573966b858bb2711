"""``python -m kubelet --flags``."""

import logging
import sys


def main(argv: list[str] | None = None) -> int:
    from componentbase import logs, process
    from kubeclient import ConfigError
    from kubelet import agent
    from kubelet.options import parse

    options = parse(argv)
    logs.setup(options.verbosity)
    if options.runtime_endpoint.startswith("native"):
        # Named here for whoever imports a component's modules before it is time to run it.
        import kubelet.cri.native.runtime  # noqa: F401
    try:
        return process.run(agent.run(options))
    except (ConfigError, ValueError) as error:
        logging.getLogger("kubelet").error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
