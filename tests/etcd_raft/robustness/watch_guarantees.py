"""What etcd promises of a watch, each promise a check of its own over what watchers were told.

Each check returns the sentences that say how the promise was broken: none is good. ``told`` are the watches of one client, one
after the other; ``events`` is everything that happened, in order (``merged``).

https://etcd.io/docs/v3.5/learning/api_guarantees/#watch-apis
"""

from itertools import pairwise

from tests.etcd_raft.robustness.history import Event, History, Response, Watch, states
from tests.etcd_raft.robustness.model import State


def merged(initial: State, watchers: list[list[Watch]]) -> tuple[list[Event], list[str]]:
    """Everything that anybody was told, in order; and how what they were told contradicts itself."""
    by_revision: dict[int, dict[bytes, Event]] = {}
    broken: list[str] = []
    for told in watchers:
        for watch in told:
            for event in watch.events():
                bare = _bare(event)
                known = by_revision.setdefault(event.revision, {}).setdefault(event.key, bare)
                if known != bare:
                    broken.append(f"Watches contradict each other: {known} and {bare}")
    found = sorted(by_revision)
    if found:
        missing = sorted(set(range(initial.revision + 1, found[-1] + 1)) - set(found))
        if missing:
            broken.append(f"Reliable broke: nobody was told of the revisions {missing[:10]}")
    return [by_revision[revision][key] for revision in found for key in sorted(by_revision[revision])], broken


def _bare(event: Event) -> Event:
    return Event(event.revision, event.key, event.value, event.created, event.version)


def _joined(watch: Watch) -> list[Response]:
    """Its messages, with fragments put together again."""
    whole: list[Response] = []
    open_ = False
    for response in watch.responses:
        if open_:
            whole[-1].events = [*whole[-1].events, *response.events]
            whole[-1].fragment = response.fragment
        else:
            whole.append(Response(response.revision, response.events, response.is_progress, response.fragment))
        open_ = response.fragment
    return whole


def ordered(told: list[Watch]) -> list[str]:
    """Events are ordered by revision."""
    seen = [event.revision for watch in told for event in watch.events()]
    return [f"Ordered broke: revision {b} came after {a}" for a, b in pairwise(seen) if b < a]


def unique(told: list[Watch]) -> list[str]:
    """An event never appears twice."""
    seen: set[tuple[int, bytes]] = set()
    broken: list[str] = []
    for watch in told:
        for event in watch.events():
            place = (event.revision, event.key)
            if place in seen:
                broken.append(f"Unique broke: {event.key!r} at revision {event.revision} was told twice")
            seen.add(place)
    return broken


def atomic(told: list[Watch]) -> list[str]:
    """The events of one revision come together."""
    broken: list[str] = []
    for watch in told:
        lists = [r.events for r in _joined(watch) if r.events]
        broken += [
            f"Atomic broke: revision {b[0].revision} is split over two lists of events"
            for a, b in pairwise(lists)
            if a[-1].revision == b[0].revision
        ]
    return broken


def _expected(watch: Watch, events: list[Event]) -> list[Event]:
    start = watch.start or watch.created_at + 1
    return [event for event in events if event.revision >= start and watch.wants(event)]


def reliable(told: list[Watch], events: list[Event]) -> list[str]:
    """Who is told of a and of c is told of b, if a < b < c; and of nothing that it did not ask for."""
    broken: list[str] = []
    for watch in told:
        got = [_bare(event) for event in watch.events()]
        expected = [event for event in events if watch.wants(event)]
        if not got:
            continue
        places = {(event.revision, event.key) for event in got}
        first, last = got[0].revision, max(event.revision for event in got)
        due = [event for event in expected if first <= event.revision <= last]
        missing = [e for e in due if (e.revision, e.key) not in places]
        if missing:
            broken.append(
                f"Reliable broke: {missing[0]} is missing between {first} and {last}, and {len(missing) - 1} more"
            )
        strange = [event for event in got if event not in due]
        if strange:
            broken.append(f"Reliable broke: {strange[0]} was told to a watch of {watch.key!r} to {watch.end!r}")
    return broken


def resumable(told: list[Watch], events: list[Event]) -> list[str]:
    """A watch from a revision on starts with the first event at or after it: so a broken one can be resumed."""
    broken: list[str] = []
    for watch in told:
        got, expected = watch.events(), _expected(watch, events)
        if got and expected and got[0].revision > expected[0].revision:
            start = watch.start or watch.created_at + 1
            broken.append(f"Resumable broke: the watch from {start} starts with {got[0]}, not with {expected[0]}")
    return broken


def bookmarkable(told: list[Watch], events: list[Event]) -> list[str]:
    """A progress notice at r says that everything up to r has been told."""
    broken: list[str] = []
    noticed = 0
    for watch in told:
        expected = _expected(watch, events)
        count = 0
        for response in watch.responses:
            for event in response.events:
                count += 1
                if event.revision <= noticed:
                    broken.append(f"Bookmarkable broke: revision {event.revision} was told after a notice at {noticed}")
            if response.is_progress:
                noticed = max(noticed, response.revision)
                due = sum(event.revision <= response.revision for event in expected)
                if count < due:
                    broken.append(
                        f"Bookmarkable broke: the notice at {response.revision} came after {count} of {due} events"
                    )
    return broken


def not_before_asked(told: list[Watch]) -> list[str]:
    """A watch from a revision on, be it in the future, is told nothing from before it: no event, no notice."""
    broken: list[str] = []
    for watch in told:
        for response in watch.responses:
            broken += [
                f"Resumable broke: {event} was told to a watch from revision {watch.start}"
                for event in response.events
                if event.revision < watch.start
            ]
            if response.is_progress and response.revision < watch.start - 1:
                broken.append(f"Bookmarkable broke: a notice at {response.revision} for a watch from {watch.start}")
    return broken


def previous(told: list[Watch], events: list[Event], initial: State, compacted: int = 0) -> list[str]:
    """``prev_kv`` is the key as it was before, unless that is compacted; ``create_revision`` says whether it was there."""
    known = states(initial, events)
    broken: list[str] = []
    for watch in told:
        for event in watch.events():
            before = known[event.revision - 1].get(event.key) if event.revision - 1 in known else None
            forgotten = event.previous is None and event.revision <= compacted
            if watch.prev_kv and event.previous != before and not forgotten:
                broken.append(f"prev_kv broke: {event} says that {event.previous} was there, it was {before}")
            if event.value is not None and event.created != (before is None):
                broken.append(f"create_revision broke: {event} when {before} was there")
    return broken


def agree_with_writes(history: History, events: list[Event]) -> list[str]:
    """Whoever was told that a write has happened: at that revision it is, all of it and nothing else, in every watch."""
    by_revision: dict[int, dict[bytes, bytes | None]] = {}
    for event in events:
        by_revision.setdefault(event.revision, {})[event.key] = event.value
    broken: list[str] = []
    for write in history.writes:
        told = by_revision.get(write.revision, {})
        if told != write.changes:
            broken.append(f"A write was acknowledged at {write.revision}: {write.changes}, watches tell {told}")
    return broken


def stale_reads(history: History, events: list[Event]) -> list[str]:
    """A read that may be of the past is of a real past: the state at the revision that it names."""
    known = states(history.initial, events)
    broken: list[str] = []
    for read in history.stale_reads:
        state = known.get(read.revision)
        if state is not None and state.range(read.key, read.end) != read.found:
            broken.append(
                f"A serializable read at revision {read.revision} found {read.found}, there was "
                f"{state.range(read.key, read.end)}"
            )
    return broken


def violations(history: History) -> tuple[list[Event], list[str]]:
    """All checks over a whole history; and everything that happened in it."""
    events, broken = merged(history.initial, history.watchers)
    for told in history.watchers:
        broken += ordered(told) + unique(told) + atomic(told) + reliable(told, events) + resumable(told, events)
        broken += (
            bookmarkable(told, events)
            + not_before_asked(told)
            + previous(told, events, history.initial, history.compacted)
        )
    return events, broken + agree_with_writes(history, events) + stale_reads(history, events)
