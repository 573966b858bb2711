"""How long something takes, counted in buckets as Prometheus wants them."""

from bisect import bisect_left
from collections.abc import Sequence

# etcd's for whatever waits for a disk: 1 ms to 8 s, each twice the one before.
DISK = tuple(0.001 * 2**power for power in range(14))
# And for a round trip between members: 0.1 ms to 3 s.
NETWORK = tuple(0.0001 * 2**power for power in range(16))


class Histogram:
    def __init__(self, bounds: Sequence[float] = DISK) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.count = 0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds
        self.count += 1

    def buckets(self) -> list[tuple[str, int]]:
        """Upper bound and how many are in this bucket alone."""
        return [*((f"{b:g}", c) for b, c in zip(self._bounds, self._counts, strict=False)), ("+Inf", self._counts[-1])]
