"""The loop with everything around it but the API server: a stand-in takes what is written and tells the news."""

import asyncio
import copy
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kubeclient import ApiError, TransportError
from scheduler.algorithm import Algorithm
from scheduler.cache import Cache
from scheduler.eventhandlers import EventHandlers
from scheduler.loop import SchedulingLoop
from scheduler.nominator import Nominator
from scheduler.plugins import default_plugins
from scheduler.pod import PodInfo
from scheduler.queue import SchedulingQueue
from tests.scheduler.objects import node, pod

Object = dict[str, Any]


class Server:
    """Keeps pods, and tells the handlers of every change as the informers would."""

    def __init__(self) -> None:
        self.pods: dict[str, Object] = {}
        self.handlers: EventHandlers
        self.failures: list[Exception] = []
        self.reports: list[tuple[str, str, str]] = []
        self.events: list[tuple[str, str, str]] = []
        self.bindings_under_way = self.most_bindings = 0

    def create(self, obj: Object) -> None:
        self.pods[obj["metadata"]["uid"]] = obj
        self.handlers.pod_added(obj)

    def delete(self, name: str) -> None:
        self.handlers.pod_deleted(self.pods.pop(f"uid-{name}"))

    def change(self, uid: str, change: Any) -> None:
        old = self.pods[uid]
        new = self.pods[uid] = copy.deepcopy(old)
        change(new)
        self.handlers.pod_updated(old, new)

    def place(self, name: str) -> str:
        return self.pods[f"uid-{name}"]["spec"].get("nodeName", "")

    # What the loop writes.

    async def bind(self, info: PodInfo, node_name: str) -> None:
        self.bindings_under_way += 1
        self.most_bindings = max(self.most_bindings, self.bindings_under_way)
        await asyncio.sleep(0)
        self.bindings_under_way -= 1
        if self.failures:
            raise self.failures.pop(0)
        self.change(info.uid, lambda p: p["spec"].update(nodeName=node_name))

    async def report_unscheduled(
        self, info: PodInfo, reason: str, message: str, nominated_node: str | None = None
    ) -> None:
        self.reports.append((info.name, reason, message))
        if nominated_node is not None:
            self.change(info.uid, lambda p: p["status"].update(nominatedNodeName=nominated_node))

    async def clear_nomination(self, info: PodInfo) -> None:
        self.change(info.uid, lambda p: p["status"].pop("nominatedNodeName", None))

    async def evict(self, victim: PodInfo) -> bool:
        await asyncio.sleep(0)
        self.delete(victim.name)
        return True

    def event(self, obj: Object, type_: str, reason: str, message: str) -> None:
        self.events.append((obj["metadata"]["name"], reason, message))


async def until(condition: Any, what: str) -> None:
    try:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"not within 5 s: {what}") from None


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    cache, nominator, plugins = Cache(), Nominator(), default_plugins()
    queue = SchedulingQueue(plugins, time.monotonic, on_change=lambda: loop.wake())
    rng = random.Random(1)
    algorithm = Algorithm(cache, plugins, nominator, rng=rng)
    loop = SchedulingLoop(cache, queue, algorithm, nominator, made, made, budgets=list, rng=rng)  # type: ignore[arg-type]
    made.handlers = EventHandlers(cache, queue, nominator, "default-scheduler")
    running = asyncio.ensure_future(loop.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


ONE_CPU = {"requests": {"cpu": "1"}}


async def test_a_new_pod_is_bound_and_the_event_says_where(server: Server) -> None:
    server.handlers.node_changed(node("a"))
    server.create(pod("web"))
    await until(lambda: server.place("web"), "the pod is bound")
    assert server.events == [("web", "Scheduled", "Successfully assigned default/web to a")]


async def test_a_crowd_is_bound_with_few_bindings_under_way_and_no_node_is_overfilled(server: Server) -> None:
    for number in range(20):
        server.handlers.node_changed(node(f"n{number}", cpu="5"))
    for number in range(100):
        server.create(pod(f"p{number}", **ONE_CPU))
    await until(lambda: all(server.place(f"p{n}") for n in range(100)), "all pods are bound")
    places = [server.place(f"p{n}") for n in range(100)]
    assert {places.count(name) for name in places} == {5}
    assert 1 < server.most_bindings <= 32


async def test_pods_of_other_schedulers_are_left_alone(server: Server) -> None:
    server.handlers.node_changed(node("a"))
    server.create(pod("theirs", schedulerName="mine"))
    server.create(pod("ours"))
    await until(lambda: server.place("ours"), "our pod is bound")
    assert not server.place("theirs")


async def test_a_pod_that_fits_nowhere_is_told_so_and_bound_when_a_node_comes(server: Server) -> None:
    server.handlers.node_changed(node("small", cpu="1"))
    server.create(pod("big", requests={"cpu": "2"}))
    await until(lambda: server.reports, "the refusal is reported")
    message = (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    assert server.reports == [("big", "Unschedulable", message)]
    assert server.events == [("big", "FailedScheduling", message)]
    server.handlers.node_changed(node("large"))
    await until(lambda: server.place("big") == "large", "the pod is bound to the new node")


async def test_room_that_becomes_free_is_used(server: Server) -> None:
    server.handlers.node_changed(node("a", cpu="1"))
    server.create(pod("first", **ONE_CPU))
    await until(lambda: server.place("first"), "the first pod is bound")
    server.create(pod("second", **ONE_CPU))
    await until(lambda: server.reports, "the second pod waits")
    server.delete("first")
    await until(lambda: server.place("second"), "the second pod is bound")


async def test_a_failed_binding_frees_the_place_and_is_tried_again(server: Server) -> None:
    server.failures = [TransportError("connection refused")]
    server.handlers.node_changed(node("a", cpu="1"))
    server.create(pod("web", **ONE_CPU))
    await until(lambda: server.place("web"), "the pod is bound by the second try")
    assert ("web", "SchedulerError", "binding rejected: connection refused") in server.reports


async def test_a_pod_that_is_gone_when_it_is_bound_is_forgotten(server: Server) -> None:
    server.failures = [ApiError(404, {"reason": "NotFound", "message": "pods not found"})]
    server.handlers.node_changed(node("a", cpu="1"))
    server.create(pod("gone", **ONE_CPU))
    await until(lambda: not server.failures, "the binding was tried")
    server.create(pod("next", **ONE_CPU))
    await until(lambda: server.place("next"), "its place is free")
    assert server.reports == []


async def test_a_more_important_pod_takes_the_place_of_a_lesser_one(server: Server) -> None:
    server.handlers.node_changed(node("a", cpu="1"))
    server.create(pod("lesser", priority=1, **ONE_CPU))
    await until(lambda: server.place("lesser"), "the lesser pod is bound")
    server.create(pod("vip", priority=100, **ONE_CPU))
    await until(lambda: server.place("vip") == "a", "the important pod is bound")
    assert "uid-lesser" not in server.pods
    assert ("lesser", "Preempted", "Preempted by pod uid-vip on node a") in server.events
    assert ("vip", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.") in server.reports


async def test_a_pod_deleted_before_its_turn_is_not_bound(server: Server) -> None:
    server.create(pod("brief"))
    await until(lambda: server.reports, "there is no node yet")
    server.delete("brief")
    server.handlers.node_changed(node("a"))
    server.create(pod("other"))
    await until(lambda: server.place("other"), "the other pod is bound")
    assert [name for name, reason, _ in server.events if reason == "Scheduled"] == ["other"]


async def test_a_gated_pod_waits_until_its_gates_are_gone(server: Server) -> None:
    server.handlers.node_changed(node("a"))
    server.create(pod("gated", schedulingGates=[{"name": "x"}]))
    server.create(pod("free"))
    await until(lambda: server.place("free"), "the free pod is bound")
    assert not server.place("gated")
    server.change("uid-gated", lambda p: p["spec"].pop("schedulingGates"))
    await until(lambda: server.place("gated"), "the pod is bound")


async def test_uncordoning_a_node_lets_waiting_pods_in(server: Server) -> None:
    server.handlers.node_changed(node("a", unschedulable=True))
    server.create(pod("web"))
    await until(lambda: server.reports, "the pod waits")
    server.handlers.node_changed(node("a"))
    await until(lambda: server.place("web"), "the pod is bound")


async def test_a_pod_that_cannot_even_be_judged_stops_nobody_else(server: Server) -> None:
    server.handlers.node_changed(node("a"))
    server.create(pod("broken", topologySpreadConstraints=[{"whenUnsatisfiable": "DoNotSchedule"}]))
    server.create(pod("fine"))
    await until(lambda: server.place("fine"), "the other pod is bound")
    assert ("broken", "SchedulerError") in [(name, reason) for name, reason, _ in server.reports]
