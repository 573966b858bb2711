"""``python -m kubelet.cri.native --root-dir DIR --purge``: what ``mk8s down`` calls for each node."""

import argparse
import sys

from kubelet.cri.native.purge import purge


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kubelet.cri.native", description=__doc__)
    parser.add_argument("--root-dir", required=True, help="the kubelet's --root-dir")
    parser.add_argument("--purge", action="store_true", required=True, help="remove all that the node left here")
    parser.add_argument("--keep-data", action="store_true", help="leave the runtime's directory itself")
    options = parser.parse_args(argv)
    problems = purge(options.root_dir, keep_data=options.keep_data)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
