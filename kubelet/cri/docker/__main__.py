"""``python -m kubelet.cri.docker --root-dir DIR --purge``: what ``mk8s down`` calls for each node that drives Docker."""

import argparse
import sys

from kubelet.cri.docker.purge import purge


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kubelet.cri.docker", description=__doc__)
    parser.add_argument("--root-dir", required=True, help="the kubelet's --root-dir")
    parser.add_argument("--endpoint", default="unix:///var/run/docker.sock", help="as --container-runtime-endpoint")
    parser.add_argument("--purge", action="store_true", required=True, help="remove all of the node's containers")
    options = parser.parse_args(argv)
    problems = purge(options.endpoint, options.root_dir)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
