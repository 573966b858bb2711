"""Events against a server that keeps what it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from kubeclient.events import EventRecorder
from kubeclient.eventspam import Aggregator, SpamFilter
from tests.kubeclient.apiserver import answer, serving, status

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "1"}}


@contextlib.asynccontextmanager
async def recording() -> AsyncIterator[tuple[EventRecorder, dict[str, Any]]]:
    kept: dict[str, Any] = {}

    async def handler(request: Request) -> Response:
        body = orjson.loads(await request.body())
        if request.method == "POST":
            kept[body["metadata"]["name"]] = body
            return answer(body, 201)
        name = request.url.path.rpartition("/")[2]
        if name not in kept:
            return status(404, "NotFound")
        kept[name].update(body)
        return answer(kept[name])

    async with serving(handler) as client:
        recorder = EventRecorder(client, "tester")
        task = asyncio.create_task(recorder.run())
        try:
            yield recorder, kept
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_same_happening_again_raises_the_count() -> None:
    async with recording() as (recorder, kept):
        for _ in range(3):
            recorder.event(POD, "Normal", "Pulled", "image is here")
        await until(lambda: [e["count"] for e in kept.values()] == [3])


async def test_an_event_that_has_expired_is_told_anew() -> None:
    async with recording() as (recorder, kept):
        recorder.event(POD, "Normal", "Pulled", "image is here")
        await until(lambda: len(kept) == 1)
        kept.clear()
        recorder.event(POD, "Normal", "Pulled", "image is here")
        await until(lambda: [e["count"] for e in kept.values()] == [1])


async def test_many_similar_events_are_combined_and_bounded() -> None:
    async with recording() as (recorder, kept):
        for number in range(1000):
            recorder.event(POD, "Normal", "SuccessfulCreate", f"Created pod: web-{number}")
        other = {**POD, "metadata": {**POD["metadata"], "uid": "2", "name": "other"}}  # type: ignore[dict-item]
        recorder.event(other, "Normal", "Last", "the queue is worked off")
        await until(lambda: any(e["reason"] == "Last" for e in kept.values()))
        told = [e for e in kept.values() if e["reason"] == "SuccessfulCreate"]
        assert len(told) == 11
        (combined,) = [e for e in told if e["message"].startswith("(combined from similar events): ")]
        assert combined["count"] == 15


def test_a_bucket_of_tokens_fills_up_again_in_time() -> None:
    spam = SpamFilter()
    assert [spam.allows("a", 0.0) for _ in range(26)] == [True] * 25 + [False]
    assert spam.allows("b", 0.0), "another object has its own"
    assert not spam.allows("a", 299.0)
    assert spam.allows("a", 301.0)
    assert not spam.allows("a", 302.0)


def test_messages_are_combined_only_while_they_come_close_together() -> None:
    similar = Aggregator()
    assert [similar.combines(("g",), f"m{n}", 0.0) for n in range(12)] == [False] * 10 + [True] * 2
    assert not similar.combines(("g",), "m3", 0.0), "a message that was told by itself goes on being so"
    assert not similar.combines(("g",), "m99", 1000.0)
