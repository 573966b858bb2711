"""Why a pod found no node, counted and worded as users know it from ``kubectl describe pod``."""

from collections import Counter
from collections.abc import Mapping

from scheduler.framework import Rejection

#: Events and conditions carry no more than this.
_LIMIT = 1024


def reason_counts(rejections: Mapping[str, Rejection]) -> Counter[str]:
    return Counter(reason for rejection in rejections.values() for reason in rejection.reasons)


def availability(total: int, counts: Mapping[str, int]) -> str:
    """``0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.``"""
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items() if count))
    return f"0/{total} nodes are available: {told}." if told else f"0/{total} nodes are available:"


class Unschedulable(Exception):
    """No node will do. ``rejections`` by node name; nodes left out of the search are told of in ``left_out``."""

    def __init__(
        self,
        total: int,
        rejections: Mapping[str, Rejection],
        *,
        left_out: tuple[str, int] = ("", 0),
        conflict: Rejection | None = None,
        narrowed_by: frozenset[str] = frozenset(),
    ) -> None:
        self.total, self.rejections = total, rejections
        self._left_out, self._conflict = left_out, conflict
        #: The plugins whose minds an event has to change.
        self.plugins = frozenset(r.plugin for r in rejections.values()) | narrowed_by
        if conflict is not None:
            self.plugins |= {conflict.plugin}
        #: What came of the attempt to preempt other pods.
        self.post_filter = ""
        super().__init__()

    def __str__(self) -> str:
        if not self.total:
            return "no nodes available to schedule pods"
        if self._conflict is not None:
            text = f"0/{self.total} nodes are available: {', '.join(self._conflict.reasons)}."
        else:
            counts = reason_counts(self.rejections)
            reason, count = self._left_out
            if count:
                counts[reason] += count
            text = availability(self.total, counts)
        if self.post_filter:
            text += f" {self.post_filter}"
        return text if len(text) <= _LIMIT else text[: _LIMIT - 4] + " ..."
