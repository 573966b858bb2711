"""Rewrites the ``*_pb2.py`` modules from the ``.proto`` files: ``python -m etcd_raft.proto.generate``."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent


def main() -> int:
    from grpc_tools import protoc  # a development dependency: only whoever changes the wire needs the compiler

    sources = sorted(str(p.relative_to(ROOT)) for p in FOLDER.glob("*.proto"))
    return int(protoc.main(["protoc", f"-I{ROOT}", f"--python_out={ROOT}", f"--pyi_out={ROOT}", *sources]))


if __name__ == "__main__":
    sys.exit(main())
