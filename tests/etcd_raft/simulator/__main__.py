"""``python -m tests.etcd_raft.simulator [--seeds N] [--from SEED] [--seed SEED] [--steps N]``: more lives, or one again."""

import argparse
import sys
import time

from tests.etcd_raft.simulator.world import Violation, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulator")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int, default=600)
    flags = parser.parse_args()
    seeds = [flags.seed] if flags.seed is not None else range(flags.first, flags.first + flags.seeds)
    started, broken, entries, reads = time.monotonic(), 0, 0, 0
    for seed in seeds:
        try:
            world = run(seed, flags.steps)
            entries += world.acknowledged
            reads += world.reads_confirmed
        except (Violation, AssertionError) as error:
            broken += 1
            print(f"seed {seed}: {type(error).__name__}: {error}")
            if flags.seed is not None:
                raise
    print(f"{len(seeds)} lives, {broken} broken, {entries} entries, {reads} reads, {time.monotonic() - started:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
