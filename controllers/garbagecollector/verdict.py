"""What becomes of one object, as a function of the graph. Upstream's rules, without its reads of what the graph knows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers.garbagecollector.graph import Entry, Graph

Object = dict[str, Any]

KEEP, DELETE, VERIFY = "keep", "delete", "verify"
ORPHAN_DEPENDENTS, RELEASE, DROP_OWNERS = "orphan dependents", "release", "drop owners"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``action`` and what it needs.

    ``keep``; ``look at`` also the ``others``. ``verify``: ask the server about ``owners`` first. ``delete`` with
    ``policy``; ``unblock`` says that its owner must not wait for it. ``drop owners``: remove these references.
    ``release``: nothing blocks it any more, remove the finalizer. ``orphan dependents``: take the reference off the
    ``others``, then remove the finalizer.
    """

    action: str
    policy: str = ""
    unblock: bool = False
    owners: list[Object] = field(default_factory=list)
    others: list[Entry] = field(default_factory=list)


def judge(entry: Entry, graph: Graph, is_absent: Callable[[Object], bool | None]) -> Verdict:
    """``is_absent`` tells of an owner that the graph does not have: it is absent, it is there, or nobody has asked yet (None)."""
    if entry.orphans_dependents:
        return Verdict(ORPHAN_DEPENDENTS, others=graph.dependents(entry.uid))
    if entry.waits_for_dependents:
        return _judge_waiting(entry, graph)
    if entry.deleting or not entry.owners:
        return Verdict(KEEP)
    unknown = [r for r in entry.owners if graph.get(r["uid"]) is None and is_absent(r) is None]
    if unknown:
        return Verdict(VERIFY, owners=unknown)
    solid: list[Object] = []
    waiting: list[Object] = []
    dangling: list[Object] = []
    for reference in entry.owners:
        owner = graph.get(reference["uid"])
        if owner is None:
            (dangling if is_absent(reference) else solid).append(reference)
        else:
            (waiting if owner.waits_for_dependents else solid).append(reference)
    if solid:
        lost = dangling + waiting
        return Verdict(DROP_OWNERS, owners=lost) if lost else Verdict(KEEP)
    if waiting and graph.dependents(entry.uid):
        # A circle of owners that wait for each other would wait for ever.
        circle = any(d.waits_for_dependents for d in graph.dependents(entry.uid))
        return Verdict(DELETE, policy="Foreground", unblock=circle)
    return Verdict(DELETE, policy=_policy(entry))


def _judge_waiting(entry: Entry, graph: Graph) -> Verdict:
    blocking = [d for d in graph.dependents(entry.uid) if d.blocks(entry.uid)]
    if not blocking:
        return Verdict(RELEASE)
    return Verdict(KEEP, others=[d for d in blocking if not d.waits_for_dependents])


def _policy(entry: Entry) -> str:
    """What an earlier, unfinished request asked for still holds."""
    if meta.ORPHAN_FINALIZER in entry.finalizers:
        return "Orphan"
    if meta.FOREGROUND_FINALIZER in entry.finalizers:
        return "Foreground"
    return "Background"
