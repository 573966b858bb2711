"""How watchers are written to: together, in turn, and never at the cost of everything else."""

import asyncio
import time
from collections.abc import Callable

import pytest

from apiserver.cacher import watcher as module
from apiserver.cacher.watcher import Outbox, Watcher

Written = list[tuple[int, bytes]]


class Form:
    key = "raw"

    @property
    def following(self) -> "Form":
        return self

    def event(self, event_type: str, body: bytes) -> bytes:
        return body

    def bookmark(self, revision: int, initial_events_end: bool) -> bytes:
        return b"%d" % revision


def watchers(count: int, written: Written, seconds: float = 0.0) -> list[Watcher]:
    """Watchers of one outbox; to write to one takes ``seconds``."""
    outbox = Outbox()

    def pusher(number: int) -> Callable[[bytes], bool]:
        def push(data: bytes) -> bool:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
            written.append((number, data))
            return True

        return push

    made = [Watcher("", None, Form(), lambda _: None, outbox) for _ in range(count)]
    for number, one in enumerate(made):
        one.push_to(pusher(number))
    return made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_what_arrives_in_one_turn_is_written_once() -> None:
    written: Written = []
    one, two = watchers(2, written)
    for data in (b"a", b"b", b"c"):
        one.put(data)
    two.put(b"a")
    assert written == [], "nothing is written before the turn ends"
    await until(lambda: len(written) == 2)
    assert written == [(0, b"abc"), (1, b"a")]


async def test_a_long_round_lets_others_run_and_takes_up_what_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BURST_SECONDS", 0.0)
    written: Written = []
    made = watchers(12, written, seconds=0.001)
    for one in made:
        one.put(b"a")
    await until(lambda: bool(written))
    assert len(written) < 12, "one turn is not the whole round"
    for one in made:
        one.put(b"b")
    await until(lambda: sum(len(data) for _, data in written) == 24)
    assert len(written) < 24, "those who had not been written to yet get both at once"
    assert {number: b"".join(d for n, d in written if n == number) for number in range(12)} == dict.fromkeys(
        range(12), b"ab"
    )


async def test_a_client_that_takes_nothing_is_closed_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 10)
    stuck = Watcher("", None, Form(), lambda _: None, Outbox())
    stuck.push_to(lambda _: False)
    for _ in range(4):
        stuck.put(b"abc")
    assert stuck.closed
    assert stuck.waiting
