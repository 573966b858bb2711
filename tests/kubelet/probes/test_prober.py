import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kubelet.probes.prober import Prober
from kubelet.probes.results import Kind, Results
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.making import container, observed, pod, run, sandbox

Object = dict[str, Any]
QUICK = {"periodSeconds": 0.01}


class Stand:
    """A prober of exec probes whose commands a test answers: ``answers[command]`` is the exit code."""

    def __init__(self) -> None:
        self.runtime, self.results = FakeRuntime(), Results()
        self.told: list[tuple[str, str]] = []
        self.answers: dict[str, int] = {}
        self.asked: list[str] = []
        self.prober = Prober(self.runtime, self.results, lambda p, c, t, reason, text: self.told.append((reason, text)))
        self.runtime.exec_answer = self._answer

    async def _answer(self, container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        self.asked.append(command[0])
        return b"", b"why", self.answers.get(command[0], 0)

    def watch(self, of: Object, **fields: Any) -> str:
        """Probe the one container of the pod, which has just started; its id."""
        running = run(of, of["spec"]["containers"][0]["name"], **{"started_at": time.time_ns(), **fields})
        self.prober.sync(of, observed(of, sandbox(of), running), "10.0.0.5")
        return running.id

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(10):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"{what}: not within 10 s; asked {self.asked[-5:]}, told {self.told[-5:]}") from None


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    yield made
    made.prober.close()


def probe(command: str, **fields: Any) -> Object:
    return {"exec": {"command": [command]}, **QUICK, **fields}


async def test_readiness_follows_the_answers(stand: Stand) -> None:
    id = stand.watch(pod(container(readinessProbe=probe("r", failureThreshold=2))))
    await stand.until("ready", lambda: stand.results.get(Kind.READINESS, id) is True)
    stand.answers["r"] = 1
    await stand.until("unready", lambda: stand.results.get(Kind.READINESS, id) is False)
    assert ("Unhealthy", "Readiness probe failed: why") in stand.told
    assert len([t for t in stand.told if t[0] == "Unhealthy"]) >= 2
    stand.answers["r"] = 0
    await stand.until("ready again", lambda: stand.results.get(Kind.READINESS, id) is True)


async def test_success_has_to_come_as_often_as_asked(stand: Stand) -> None:
    id = stand.watch(pod(container(readinessProbe=probe("r", successThreshold=3))))
    await stand.until("ready", lambda: stand.results.get(Kind.READINESS, id) is True)
    assert len(stand.asked) >= 3


async def test_a_failed_liveness_probe_is_reported_and_then_rests(stand: Stand) -> None:
    stand.answers["l"] = 1
    id = stand.watch(pod(container(livenessProbe=probe("l", failureThreshold=3))))
    await stand.until("not alive", lambda: stand.results.get(Kind.LIVENESS, id) is False)
    assert len(stand.asked) == 3
    await asyncio.sleep(0.05)
    assert len(stand.asked) == 3


async def test_the_others_wait_for_the_startup_probe(stand: Stand) -> None:
    stand.answers["s"] = 1
    of = pod(container(startupProbe=probe("s", failureThreshold=1000), readinessProbe=probe("r", periodSeconds=0.01)))
    id = stand.watch(of)
    await stand.until("some startup probes", lambda: stand.asked.count("s") > 3)
    assert "r" not in stand.asked
    stand.answers["s"] = 0
    await stand.until("ready", lambda: stand.results.get(Kind.READINESS, id) is True)
    assert stand.results.get(Kind.STARTUP, id) is True
    count = stand.asked.count("s")
    await stand.until("more readiness probes", lambda: stand.asked.count("r") > 3)
    assert stand.asked.count("s") == count


async def test_nothing_is_asked_before_the_initial_delay(stand: Stand) -> None:
    id = stand.watch(pod(container(readinessProbe=probe("r", initialDelaySeconds=3600))))
    stand.watch(pod(container("other", readinessProbe=probe("o")), name="other"))
    await stand.until("the other pod's probe", lambda: "o" in stand.asked)
    assert "r" not in stand.asked
    assert stand.results.get(Kind.READINESS, id) is None


async def test_a_container_that_ended_is_not_probed_any_more(stand: Stand) -> None:
    of = pod(container(readinessProbe=probe("r")))
    id = stand.watch(of)
    await stand.until("ready", lambda: stand.results.get(Kind.READINESS, id) is True)
    stand.prober.sync(of, observed(of, sandbox(of)), "10.0.0.5")
    assert stand.results.get(Kind.READINESS, id) is None
    count = len(stand.asked)
    await asyncio.sleep(0.05)
    assert len(stand.asked) <= count + 1


async def test_a_ready_container_stays_ready_over_a_restart_of_the_kubelet(stand: Stand) -> None:
    of = pod(container(readinessProbe=probe("r", periodSeconds=3600)))
    of["status"]["containerStatuses"] = [{"name": "c", "ready": True, "started": True, "containerID": "fake://c-0"}]
    id = stand.watch(of, started_at=1)
    assert stand.results.get(Kind.READINESS, id) is True


async def test_an_early_failure_is_quiet_and_does_not_wait_for_the_period(stand: Stand) -> None:
    server: asyncio.Server | None = None
    listener = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    of = pod(container(readinessProbe={"tcpSocket": {"port": port}, "periodSeconds": 5}))
    running = run(of, "c", started_at=time.time_ns())
    stand.prober.sync(of, observed(of, sandbox(of), running), "127.0.0.1")
    try:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port)
        await stand.until("ready", lambda: stand.results.get(Kind.READINESS, running.id) is True)
    finally:
        if server is not None:
            server.close()
    assert stand.told == []
