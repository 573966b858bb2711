"""``python -m tests.etcd_raft.robustness [--fault NAME ...] [--rounds N] [--repeat N] [--seed N]``: longer than the suite has time for.

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


def main() -> int:
    parser = argparse.ArgumentParser(prog="robustness")
    names = {fault.__name__: fault for fault in faults.ALL}
    parser.add_argument("--fault", action="append", choices=sorted(names))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="robustness-"))
    broken = asyncio.run(_repeat(folder, [names[name] for name in flags.fault or names], flags))
    if broken:
        print(f"members' logs and data: {folder}", *broken[:30], sep="\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
