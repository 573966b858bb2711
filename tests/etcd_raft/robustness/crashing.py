"""A member that is killed at one exact point: ``python -m tests.etcd_raft.robustness.crashing POINT COUNT flags...``.

It ends, as by kill -9, when it comes to the point for the COUNT-th time after the file that ``CRASH_WHEN`` names is there. To
come to the points of its state's file often, it commits and compacts in small steps. All of it is patched from outside.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str, before: Callable[[], None] | None, after: Callable[[], None] | None) -> None:
    original = getattr(owner, name)

    def with_crash(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before()
        result = original(*arguments, **named)
        if after is not None:
            after()
        return result

    setattr(owner, name, with_crash)


def _places() -> dict[str, tuple[Any, str, bool]]:
    """Point -> (owner, method, whether before it)."""
    from etcd_raft.mvcc.backend import Backend
    from etcd_raft.mvcc.store import Store
    from etcd_raft.server.apply import Applier, State
    from etcd_raft.wal import WAL

    return {
        "before-log-write": (WAL, "write", True),
        "before-log-sync": (WAL, "sync", True),
        "after-log-sync": (WAL, "sync", False),
        "before-new-segment": (WAL, "_cut", True),
        "after-new-segment": (WAL, "_cut", False),
        "before-log-release": (WAL, "release", True),
        "after-log-release": (WAL, "release", False),
        "before-apply": (Applier, "apply_request", True),
        "after-apply": (Applier, "apply_request", False),
        "before-commit": (State, "commit", True),
        "within-commit": (Backend, "commit", True),
        "after-commit": (State, "commit", False),
        "before-compact": (Store, "compact", True),
        "after-compact": (Store, "compact", False),
        "within-compact-step": (Store, "_forget_before", False),
        "after-compact-step": (Store, "compact_step", False),
        "before-copy": (Backend, "copy_to", True),
        "after-copy": (Backend, "copy_to", False),
        "before-replace": (Backend, "replace_with", True),
        "within-replace": (Backend, "_open", True),
        "after-replace": (Backend, "replace_with", False),
    }


POINTS = [
    "before-log-write", "before-log-sync", "after-log-sync", "before-new-segment", "after-new-segment",
    "before-log-release", "after-log-release", "before-apply", "after-apply", "before-commit", "within-commit", "after-commit",
    "before-compact", "after-compact", "within-compact-step", "after-compact-step", "before-copy", "after-copy", "before-replace",
    "within-replace", "after-replace",
]  # fmt: skip


def main() -> int:
    from etcd_raft import wal
    from etcd_raft.__main__ import main as member
    from etcd_raft.mvcc import store
    from etcd_raft.server import node

    point, left, flag = sys.argv[1], int(sys.argv[2]), Path(os.environ["CRASH_WHEN"])
    store._COMPACT_STEP = 7
    node._COMMIT_BYTES = 4000
    wal.SEGMENT_BYTES = 1 << 13
    wal.WAL.create.__func__.__defaults__ = (None, 1 << 13)  # type: ignore[attr-defined]
    wal.WAL.open.__func__.__defaults__ = (1 << 13,)  # type: ignore[attr-defined]

    def come_to_the_point() -> None:
        nonlocal left
        if flag.exists():
            left -= 1
            if left <= 0:
                _die()

    owner, name, before = _places()[point]
    _around(owner, name, come_to_the_point if before else None, None if before else come_to_the_point)
    return member(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
