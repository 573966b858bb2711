"""Longer than the suite has time for: faults over and over, or one member killed at every point of its writing.

``python -m tests.etcd_raft.robustness [--fault NAME ...] [--rounds N] [--repeat N] [--seed N]``
``python -m tests.etcd_raft.robustness --crash-points``

Ends with 1 at the first broken promise, and leaves that cluster's folder, logs and all, where it says.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.etcd_raft.robustness import faults
from tests.etcd_raft.robustness.cluster import Fault, linked, run, violations


async def _repeat(folder: Path, chosen: list[Fault], flags: argparse.Namespace) -> list[str]:
    with linked(folder) as cluster:
        for turn in range(flags.repeat):
            for fault in chosen:
                await cluster.whole()
                history = await run(cluster, fault, rounds=flags.rounds, seed=flags.seed + turn)
                broken = violations(history)
                print(
                    f"{fault.__name__}: {len(history.operations)} operations, {len(history.writes)} writes, {len(broken)} broken"
                )
                if broken:
                    return broken
    return []


async def _crash_points(folder: Path) -> list[str]:
    from tests.etcd_raft.robustness.crashing import POINTS
    from tests.etcd_raft.robustness.test_crash_points import FLAGS, crash_at

    with linked(folder, 1, FLAGS) as cluster:
        await cluster.ready()
        for point in POINTS:
            history = await run(cluster, crash_at([point]), calm=0.1)
            broken = violations(history)
            print(f"{point}: {len(history.operations)} operations, {len(broken)} broken")
            if broken:
                return broken
    return []


def main() -> int:
    parser = argparse.ArgumentParser(prog="robustness")
    names = {fault.__name__: fault for fault in faults.ALL}
    parser.add_argument("--fault", action="append", choices=sorted(names))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--crash-points", action="store_true", help="kill one member at every point of its writing instead"
    )
    flags = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="robustness-"))
    if flags.crash_points:
        broken = asyncio.run(_crash_points(folder))
    else:
        broken = asyncio.run(_repeat(folder, [names[name] for name in flags.fault or names], flags))
    if broken:
        print(f"members' logs and data: {folder}", *broken[:30], sep="\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
