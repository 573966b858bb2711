"""What a loop has just done and its cache has not shown yet.

Between a create and the watch event that tells of it, the cache shows too few pods; a loop that acted on that would
create twice. So a loop notes what it expects to see and leaves the number of its pods alone until it has seen it (or five minutes
have passed: then the cache, which has been listed anew since, is right after all).
"""

import time
from collections.abc import Callable, Iterable

TIMEOUT = 300.0


class _Expected:
    __slots__ = ("creations", "deletions", "since")

    def __init__(self, creations: int, deletions: set[str], since: float) -> None:
        self.creations, self.deletions, self.since = creations, deletions, since


class Expectations:
    """By key of the owner. Creations are counted (their names are not known beforehand), deletions kept by uid,
    because one pod's deletion is seen several times."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: dict[str, _Expected] = {}

    def satisfied(self, key: str) -> bool:
        expected = self._expected.get(key)
        if expected is None:
            return True
        if expected.creations > 0 or expected.deletions:
            return self._clock() - expected.since > TIMEOUT
        return True

    def expect_creations(self, key: str, count: int) -> None:
        self._expected[key] = _Expected(count, set(), self._clock())

    def expect_deletions(self, key: str, uids: Iterable[str]) -> None:
        self._expected[key] = _Expected(0, set(uids), self._clock())

    def creation_observed(self, key: str, count: int = 1) -> None:
        """Also for a creation that failed: it will never be seen."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.creations -= count

    def deletion_observed(self, key: str, uid: str) -> None:
        expected = self._expected.get(key)
        if expected is not None:
            expected.deletions.discard(uid)

    def forget(self, key: str) -> None:
        self._expected.pop(key, None)
