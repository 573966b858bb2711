"""What keeps events few, with client-go's rules: similar ones are combined, and one object gets only so many.

A Deployment of a thousand pods tells of a thousand creations. The first ten are told one by one; the others become one
event that counts. And whatever is told of one object, after 25 in a row it is one in five minutes.
"""

from collections import OrderedDict

_BURST = 25
_REFILL_SECONDS = 300.0
_DISTINCT = 10
_SIMILAR_SECONDS = 600.0
_LIMIT = 4096

COMBINED = "(combined from similar events): "


class SpamFilter:
    """A bucket of tokens for each key (an event's source and object)."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, key: str, now: float) -> bool:
        tokens, since = self._buckets.pop(key, (float(_BURST), now))
        tokens = min(_BURST, tokens + (now - since) / _REFILL_SECONDS)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _LIMIT:
            self._buckets.popitem(last=False)
        return allowed


class Aggregator:
    """Counts the different messages of events that are otherwise alike."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[str, ...], tuple[set[str], float]] = OrderedDict()

    def combines(self, group: tuple[str, ...], message: str, now: float) -> bool:
        """Whether this message is one too many of its group."""
        messages, since = self._groups.pop(group, (set[str](), now))
        if now - since > _SIMILAR_SECONDS:
            messages = set()
        messages.add(message)
        combined = len(messages) > _DISTINCT
        if combined:
            messages.discard(message)  # enough are remembered to know that there are many
        self._groups[group] = (messages, now)
        if len(self._groups) > _LIMIT:
            self._groups.popitem(last=False)
        return combined
