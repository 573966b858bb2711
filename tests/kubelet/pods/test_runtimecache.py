import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubelet.cri.api import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
)
from kubelet.layout import Layout
from kubelet.pods import labels
from kubelet.pods.logrotation import LogRotation, rotated
from kubelet.pods.runtimecache import RuntimeCache
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.making import pod


class Stand:
    def __init__(self, folder: Path) -> None:
        self.runtime, self.layout = FakeRuntime(), Layout(str(folder))
        self.woken: list[str] = []
        self.arrived = asyncio.Event()
        self.cache = RuntimeCache(self.runtime, self.layout, self._wake)

    def _wake(self, uid: str) -> None:
        self.woken.append(uid)
        self.arrived.set()

    async def run(self, name: str = "web") -> str:
        """A running container of a pod; its id."""
        of = pod("c", name=name)
        meta = of["metadata"]
        logs = self.layout.pod_logs(meta["namespace"], name, meta["uid"])
        config = PodSandboxConfig(
            PodSandboxMetadata(name, meta["uid"], meta["namespace"]),
            log_directory=str(logs),
            labels=labels.sandbox_labels(of),
        )
        sandbox = await self.runtime.run_pod_sandbox(config)
        container = of["spec"]["containers"][0]
        id = await self.runtime.create_container(
            sandbox,
            ContainerConfig(
                ContainerMetadata("c"),
                "busybox:1",
                labels=labels.container_labels(of, container),
                annotations=labels.container_annotations(of, container, 0),
                log_path="c/0.log",
            ),
            config,
        )
        await self.runtime.start_container(id)
        return id

    async def until_woken(self, uid: str) -> None:
        async with asyncio.timeout(10):
            while uid not in self.woken:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


@contextlib.asynccontextmanager
async def following(stand: Stand) -> AsyncIterator[None]:
    task = asyncio.create_task(stand.cache.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_ran_before_is_found_by_a_list(stand: Stand) -> None:
    id = await stand.run()
    await stand.cache.relist()
    seen = stand.cache.pod("uid-web")
    assert [c.id for c in seen.containers] == [id]
    assert seen.sandbox is not None
    assert seen.sandbox.state is SandboxState.READY
    assert stand.cache.pods() == {"uid-web"}


async def test_an_exit_wakes_its_pod_at_once(stand: Stand) -> None:
    id, other = await stand.run("a"), await stand.run("b")
    await stand.cache.relist()
    async with following(stand):
        stand.woken.clear()
        stand.runtime.exit(id, 3)
        await stand.until_woken("uid-a")
    assert stand.woken == ["uid-a"]
    assert stand.cache.pod("uid-a").containers[0].exit_code == 3
    assert stand.cache.container(other).state is ContainerState.RUNNING  # type: ignore[union-attr]


async def test_a_list_finds_what_no_event_told(stand: Stand) -> None:
    id = await stand.run()
    await stand.cache.relist()
    stand.woken.clear()
    stand.runtime.exit(id)
    await stand.cache.relist()
    assert stand.woken == ["uid-web"]
    del stand.runtime.containers[id]
    await stand.cache.relist()
    assert stand.cache.container(id) is None


async def test_a_late_answer_does_not_bring_a_container_back_to_life(stand: Stand) -> None:
    id = await stand.run()
    running = await stand.runtime.container_status(id)
    stand.runtime.exit(id)
    await stand.cache.relist()

    async def late(container_id: str) -> Any:
        return running

    stand.runtime.container_status = late  # type: ignore[method-assign]
    await stand.cache.look(running.pod_sandbox_id, id)
    assert stand.cache.container(id).state is ContainerState.EXITED  # type: ignore[union-attr]


async def test_last_words_are_read_once_when_the_container_ends(stand: Stand) -> None:
    id = await stand.run()
    path = stand.layout.termination_message("uid-web", "c", 0)
    path.parent.mkdir(parents=True)
    path.write_text("bye")
    stand.runtime.exit(id, 1)
    await stand.cache.relist()
    path.unlink()
    await stand.cache.look("", id)
    assert stand.cache.container(id).message == "bye"  # type: ignore[union-attr]


async def test_a_pod_that_is_gone_leaves_nothing_in_the_cache(stand: Stand) -> None:
    await stand.run()
    await stand.cache.relist()
    for sandbox in list(stand.runtime.sandboxes):
        await stand.runtime.remove_pod_sandbox(sandbox)
    await stand.cache.relist()
    assert stand.cache.pods() == set()
    assert stand.cache.pod("uid-web").sandboxes == []


async def test_logs_are_rotated_when_they_have_grown(stand: Stand) -> None:
    id = await stand.run()
    await stand.cache.relist()
    path = Path(stand.runtime.containers[id].log_path)
    rotation = LogRotation(stand.runtime, stand.cache, max_size=10, max_files=3)
    path.write_text("short")
    await rotation.check()
    assert rotated(path) == []
    for number in range(4):
        path.write_text(f"long enough {number}")
        await rotation.check(f"2026010{number}-000000")
    assert [p.read_text() for p in rotated(path)] == ["long enough 2", "long enough 3"]
    assert path.read_text() == ""
    assert stand.runtime.asked("reopen_container_log") == [(id,)] * 4


async def test_a_log_that_cannot_be_reopened_stays_where_it_is(stand: Stand) -> None:
    id = await stand.run()
    await stand.cache.relist()
    path = Path(stand.runtime.containers[id].log_path)
    path.write_text("long enough")
    stand.runtime.fail["reopen_container_log"] = "the shim does not answer"
    await LogRotation(stand.runtime, stand.cache, max_size=10, max_files=3).check()
    assert path.read_text() == "long enough"
    assert rotated(path) == []
