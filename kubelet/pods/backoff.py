"""Back-off with memory, as upstream's flowcontrol.Backoff: CrashLoopBackOff and ImagePullBackOff.

Ten seconds at first, doubled by every further failure up to five minutes, forgotten after ten quiet minutes. Times are
seconds and come from outside.
"""

from dataclasses import dataclass

INITIAL, MAXIMUM = 10.0, 300.0


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class Backoff:
    def __init__(self, initial: float = INITIAL, maximum: float = MAXIMUM) -> None:
        self._initial, self._maximum = initial, maximum
        self._entries: dict[str, _Entry] = {}

    def get(self, key: str) -> float:
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def remaining(self, key: str, failed_at: float, now: float) -> float:
        """How long to wait still after the failure at ``failed_at``; 0 when there is nothing to wait for."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, failed_at):
            return 0.0
        return max(0.0, failed_at + entry.delay - now)

    def next(self, key: str, failed_at: float, now: float) -> None:
        """Another attempt is made now: the wait after its failure will be longer."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, failed_at):
            self._entries[key] = _Entry(self._initial, now)
        else:
            entry.delay, entry.updated = min(entry.delay * 2, self._maximum), now

    def forget(self, prefix: str) -> None:
        for key in [k for k in self._entries if k.startswith(prefix)]:
            del self._entries[key]

    def _expired(self, entry: _Entry, at: float) -> bool:
        return at - entry.updated > 2 * self._maximum
