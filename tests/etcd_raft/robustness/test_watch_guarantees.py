"""Each check of the watch promises passes a good history and finds its own kind of break in a doctored one."""

from collections.abc import Callable

import pytest

from tests.etcd_raft.robustness import watch_guarantees as promises
from tests.etcd_raft.robustness.history import Event, History, Response, StaleRead, Watch, Write
from tests.etcd_raft.robustness.model import State

_ALL = [
    Event(11, b"a", b"1", True, 1, None),
    Event(12, b"b", b"2", True, 1, None),
    Event(13, b"a", b"3", False, 2, (b"1", 11)),
    Event(13, b"b", b"3", False, 2, (b"2", 12)),
    Event(14, b"a", None, False, 0, (b"3", 13)),
    Event(15, b"a", b"4", True, 1, None),
]


def _good() -> History:
    """One watch of everything that broke and was resumed, with a notice; and one of a single key."""
    first = Watch(b"a", b"c", 11, True, [Response(11, _ALL[:1]), Response(13, _ALL[1:4])], 10)
    second = Watch(b"a", b"c", 14, True, [Response(14, _ALL[4:5]), Response(14, [], True), Response(15, _ALL[5:])], 13)
    single = Watch(b"a", b"", 0, True, [Response(15, [e for e in _ALL if e.key == b"a"])], 10)
    history = History(State(10), watchers=[[first, second], [single]])
    history.writes = [Write(13, {b"a": b"3", b"b": b"3"}), Write(14, {b"a": None})]
    history.stale_reads = [StaleRead(13, b"a", b"c", ((b"a", b"3", 13), (b"b", b"3", 13)))]
    return history


def test_a_good_history_is_found_good() -> None:
    events, broken = promises.violations(_good())
    assert [(e.revision, e.key) for e in events] == [(e.revision, e.key) for e in _ALL]
    assert not broken


def _swapped(h: History) -> None:
    h.watchers[0][0].responses.reverse()


def _repeated(h: History) -> None:
    h.watchers[0][1].responses[0].events = [_ALL[2], _ALL[4]]


def _split(h: History) -> None:
    h.watchers[0][0].responses = [Response(13, _ALL[:3]), Response(13, _ALL[3:4])]


def _dropped(h: History) -> None:
    h.watchers[0][0].responses[1].events = [_ALL[2], _ALL[3]]
    h.watchers.append([Watch(b"a", b"c", 12, False, [Response(12, _ALL[1:2])])])


def _dropped_half_a_transaction(h: History) -> None:
    h.watchers[0][0].responses[1].events = [_ALL[1], _ALL[3]]


def _of_another_key(h: History) -> None:
    h.watchers[1][0].responses[0].events = [_ALL[0], _ALL[1], *_ALL[4:]]


def _started_late(h: History) -> None:
    h.watchers[0][1].responses = h.watchers[0][1].responses[1:]
    h.watchers.append([Watch(b"a", b"c", 11, False, [Response(14, _ALL[:5])])])


def _noticed_early(h: History) -> None:
    h.watchers[0][1].responses.insert(0, Response(14, [], True))


def _told_from_before(h: History) -> None:
    h.watchers[0][1].start = 15


def _noticed_from_before(h: History) -> None:
    h.watchers.append([Watch(b"a", b"c", 30, False, [Response(15, [], True)])])


def _wrong_previous(h: History) -> None:
    h.watchers[1][0].responses[0].events[1] = Event(13, b"a", b"3", False, 2, (b"0", 9))


def _missing_previous(h: History) -> None:
    h.watchers[1][0].responses[0].events[1] = Event(13, b"a", b"3", False, 2, None)


def _nobody_told(h: History) -> None:
    for told in h.watchers:
        for watch in told:
            for response in watch.responses:
                response.events = [e for e in response.events if e.revision != 12]


def _two_truths(h: History) -> None:
    h.watchers[1][0].responses[0].events[0] = Event(11, b"a", b"other", True, 1, None)


def _lost_write(h: History) -> None:
    h.writes.append(Write(16, {b"b": b"lost"}))


def _no_such_past(h: History) -> None:
    h.stale_reads.append(StaleRead(14, b"a", b"", ((b"a", b"3", 13),)))


@pytest.mark.parametrize(
    ("doctor", "sentence"),
    [
        (_swapped, "Ordered broke"),
        (_repeated, "Unique broke"),
        (_split, "Atomic broke"),
        (_dropped, "Reliable broke: Event(revision=12"),
        (_dropped_half_a_transaction, "Reliable broke: Event(revision=13"),
        (_of_another_key, "was told to a watch of"),
        (_started_late, "Resumable broke: the watch from 14 starts with"),
        (_noticed_early, "Bookmarkable broke: revision 14 was told after"),
        (_noticed_early, "Bookmarkable broke: the notice at 14 came after 0 of 1"),
        (_told_from_before, "was told to a watch from revision 15"),
        (_noticed_from_before, "Bookmarkable broke: a notice at 15 for a watch from 30"),
        (_wrong_previous, "prev_kv broke"),
        (_missing_previous, "prev_kv broke"),
        (_nobody_told, "nobody was told of the revisions [12]"),
        (_two_truths, "Watches contradict each other"),
        (_lost_write, "A write was acknowledged at 16"),
        (_no_such_past, "A serializable read at revision 14"),
    ],
)
def test_a_doctored_history_is_found_out(doctor: Callable[[History], None], sentence: str) -> None:
    history = _good()
    doctor(history)
    _, broken = promises.violations(history)
    assert any(sentence in found for found in broken), broken


def test_fragments_are_one_list_when_put_together() -> None:
    history = _good()
    first = history.watchers[0][0]
    first.responses = [Response(13, _ALL[:3], fragment=True), Response(13, _ALL[3:4])]
    assert not promises.violations(history)[1]
