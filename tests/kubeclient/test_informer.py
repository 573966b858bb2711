import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kubeclient.informer import Informer, key_of, split_key
from tests.kubeclient.apiserver import answer, serving, status, stream


def pod(name: str, version: int, uid: str = "", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "d", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def pod_list(version: int, *items: dict[str, Any]) -> Response:
    bare = [{"metadata": o["metadata"], "spec": o["spec"]} for o in items]  # as servers send them in a list
    return answer({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": str(version)}, "items": bare})


class Script:
    """Answers lists and watches in the order given."""

    def __init__(self, lists: list[Response], watches: list[Response]) -> None:
        self.lists, self.watches = lists, watches
        self.watched_from: list[str] = []

    async def handle(self, request: Request) -> Response:
        if "watch" not in request.query_params:
            return self.lists.pop(0)
        self.watched_from.append(request.query_params["resourceVersion"])
        return self.watches.pop(0) if self.watches else stream(then_hang=True)


@contextlib.asynccontextmanager
async def informing(script: Script) -> AsyncIterator[tuple[Informer, list[tuple[str, str]]]]:
    seen: list[tuple[str, str]] = []
    async with serving(script.handle) as client:
        informer = Informer(client.resource("v1", "pods"))
        informer.on(
            lambda o: seen.append(("add", o["metadata"]["name"])),
            lambda old, new: seen.append(("update", new["metadata"]["name"])),
            lambda o: seen.append(("delete", o["metadata"]["name"])),
        )
        task = asyncio.create_task(informer.run())
        try:
            yield informer, seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_handlers_see_the_list_and_then_every_change() -> None:
    script = Script(
        [pod_list(5, pod("a", 1), pod("b", 2))],
        [stream(("MODIFIED", pod("a", 6)), ("DELETED", pod("b", 7)), ("ADDED", pod("c", 8)), then_hang=True)],
    )
    async with informing(script) as (informer, seen):
        await until(lambda: len(seen) == 5)
        assert seen == [("add", "a"), ("add", "b"), ("update", "a"), ("delete", "b"), ("add", "c")]
        assert set(informer.keys()) == {"d/a", "d/c"}
        assert informer.get("d/a")["kind"] == "Pod", "items of a list get their kind"  # type: ignore[index]


async def test_a_watch_that_ends_is_resumed_where_it_stopped() -> None:
    script = Script([pod_list(5)], [stream(("ADDED", pod("a", 9))), stream(then_hang=True)])
    async with informing(script) as (_, seen):
        await until(lambda: len(script.watched_from) == 2)
        assert script.watched_from == ["5", "9"]
        assert seen == [("add", "a")]


async def test_a_bookmark_moves_the_resume_point_without_an_event() -> None:
    script = Script([pod_list(5)], [stream(("BOOKMARK", {"metadata": {"resourceVersion": "42"}}))])
    async with informing(script) as (_, seen):
        await until(lambda: len(script.watched_from) == 2)
        assert script.watched_from[1] == "42"
        assert seen == []


async def test_after_410_it_lists_again_and_tells_the_difference() -> None:
    script = Script(
        [
            pod_list(5, pod("a", 1), pod("b", 2), pod("same", 3)),
            pod_list(20, pod("b", 15), pod("new", 16), pod("same", 3)),
        ],
        [status(410, "Expired")],
    )
    async with informing(script) as (_, seen):
        await until(lambda: ("add", "new") in seen)
        assert seen[3:] == [("delete", "a"), ("update", "b"), ("add", "new")]


async def test_an_object_replaced_unseen_is_deleted_and_added() -> None:
    script = Script(
        [pod_list(5, pod("a", 1, uid="one")), pod_list(20, pod("a", 15, uid="two"))], [status(410, "Expired")]
    )
    async with informing(script) as (_, seen):
        await until(lambda: len(seen) == 3)
        assert seen == [("add", "a"), ("delete", "a"), ("add", "a")]


async def test_trouble_is_retried() -> None:
    script = Script([status(500, "InternalError"), pod_list(5, pod("a", 1))], [])
    async with informing(script) as (informer, seen):
        await until(lambda: informer.has_synced)
        assert seen == [("add", "a")]


async def test_indexes_follow_changes() -> None:
    script = Script(
        [pod_list(5, pod("a", 1, node="n1"))], [stream(("MODIFIED", pod("a", 6, node="n2")), then_hang=True)]
    )
    async with informing(script) as (informer, seen):
        informer.add_index("node", lambda o: [o["spec"]["node"]])
        await until(lambda: len(seen) == 2)
        assert informer.by_index("node", "n1") == []
        assert [key_of(o) for o in informer.by_index("node", "n2")] == ["d/a"]


async def test_a_late_handler_first_sees_what_is_cached() -> None:
    script = Script([pod_list(5, pod("a", 1))], [])
    async with informing(script) as (informer, _):
        await informer.wait_synced()
        late: list[str] = []
        informer.on(lambda o: late.append(o["metadata"]["name"]))
        assert late == ["a"]


def test_keys_name_namespace_and_name() -> None:
    assert split_key("d/a") == ("d", "a")
    assert split_key("node-1") == ("", "node-1")
