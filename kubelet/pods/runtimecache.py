"""What the runtime has, kept current by its events: the pod lifecycle event generator (PLEG).

An event says which sandbox or container to look at again; a slow relist finds what no event told of. Each change wakes the
pod that it belongs to.
"""

import asyncio
import logging
from collections.abc import Callable

from kubelet.cri.api import (
    ContainerState,
    ContainerStatus,
    NotFound,
    PodSandboxStatus,
    RuntimeService,
    RuntimeServiceError,
)
from kubelet.layout import Layout
from kubelet.pods import termination
from kubelet.pods.labels import pod_uid
from kubelet.pods.observed import ObservedPod

log = logging.getLogger(__name__)

RELIST_SECONDS = 30.0
_ORDER = {ContainerState.CREATED: 0, ContainerState.UNKNOWN: 1, ContainerState.RUNNING: 1, ContainerState.EXITED: 2}


class RuntimeCache:
    """``on_change(uid)`` is called after a change of that pod's sandboxes or containers."""

    def __init__(self, runtime: RuntimeService, layout: Layout, on_change: Callable[[str], None]) -> None:
        self._runtime, self._layout, self._on_change = runtime, layout, on_change
        self._sandboxes: dict[str, PodSandboxStatus] = {}
        self._containers: dict[str, ContainerStatus] = {}
        self._ids: dict[str, set[str]] = {}  # pod uid -> ids of its sandboxes and containers
        self.relisted = 0.0  # loop time of the last relist that worked: what the node's health is judged by

    # --- reading ------------------------------------------------------------------------------------------------

    def pod(self, uid: str) -> ObservedPod:
        ids = self._ids.get(uid, ())
        sandboxes = [self._sandboxes[id] for id in ids if id in self._sandboxes]
        containers = [self._containers[id] for id in ids if id in self._containers]
        sandboxes.sort(key=lambda s: (s.metadata.attempt, s.created_at), reverse=True)
        containers.sort(key=lambda c: (c.created_at, c.metadata.attempt), reverse=True)
        return ObservedPod(uid, sandboxes, containers)

    def pods(self) -> set[str]:
        """The uids of all that have something in the runtime."""
        return set(self._ids)

    def container(self, container_id: str) -> ContainerStatus | None:
        return self._containers.get(container_id)

    def running(self) -> list[ContainerStatus]:
        return [c for c in self._containers.values() if c.state is ContainerState.RUNNING]

    # --- looking ------------------------------------------------------------------------------------------------

    async def look(self, sandbox_id: str, container_id: str = "") -> None:
        """Ask the runtime about one sandbox or, when given, one container."""
        if container_id and container_id != sandbox_id:
            await self._look_at_container(container_id)
        else:
            await self._look_at_sandbox(sandbox_id)

    async def _look_at_sandbox(self, id: str) -> None:
        before = self._sandboxes.get(id)
        try:
            now = await self._runtime.pod_sandbox_status(id)
        except NotFound:
            # Somebody else may have asked, or let go of it, while we waited for the answer.
            if before is not None and id in self._sandboxes:
                self.forget_sandbox(id)
                self._on_change(pod_uid(before))
            return
        self._sandboxes[id] = now
        self._ids.setdefault(pod_uid(now), set()).add(id)
        if before is None or before.state is not now.state or before.ips != now.ips:
            self._on_change(pod_uid(now))

    async def _look_at_container(self, id: str) -> None:
        before = self._containers.get(id)
        try:
            now = await self._runtime.container_status(id)
        except NotFound:
            if before is not None and id in self._containers:
                self.forget_container(id)
                self._on_change(pod_uid(before))
            return
        before = self._containers.get(id)
        if before is not None and _ORDER[now.state] < _ORDER[before.state]:
            return  # an answer that was overtaken by a later one: containers never come back
        if now.state is ContainerState.EXITED and (before is None or before.state is not ContainerState.EXITED):
            now.message = await asyncio.to_thread(termination.message, self._layout, now)
        elif before is not None and now.state is ContainerState.EXITED:
            now.message = before.message
        self._containers[id] = now
        self._ids.setdefault(pod_uid(now), set()).add(id)
        if before is None or before.state is not now.state:
            self._on_change(pod_uid(now))

    def forget_container(self, id: str) -> None:
        self._forget(self._containers.pop(id, None))

    def forget_sandbox(self, id: str) -> None:
        self._forget(self._sandboxes.pop(id, None))

    def _forget(self, gone: PodSandboxStatus | ContainerStatus | None) -> None:
        if gone is None:
            return
        uid = pod_uid(gone)
        ids = self._ids.get(uid, set())
        ids.discard(gone.id)
        if not ids:
            self._ids.pop(uid, None)

    async def relist(self) -> None:
        """Compare everything; look closely at what differs."""
        sandboxes = {s.id: s for s in await self._runtime.list_pod_sandbox()}
        containers = {c.id: c for c in await self._runtime.list_containers()}
        for id in set(sandboxes) | set(self._sandboxes):
            known, listed = self._sandboxes.get(id), sandboxes.get(id)
            if known is None or listed is None or known.state is not listed.state:
                await self._look_at_sandbox(id)
        for id in set(containers) | set(self._containers):
            seen, entry = self._containers.get(id), containers.get(id)
            if seen is None or entry is None or seen.state is not entry.state:
                await self._look_at_container(id)
        self.relisted = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Follow events and relist now and then; never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="runtime events")
            group.create_task(self._relist_slowly(), name="runtime relist")

    async def _follow(self) -> None:
        while True:
            try:
                async for event in self._runtime.events():
                    try:
                        await self.look(event.pod_sandbox_id, event.container_id)
                    except RuntimeServiceError as error:
                        log.warning("container %s: %s", event.container_id[:12], error)
            except RuntimeServiceError as error:
                log.warning("runtime events: %s", error)
            # The stream ended: what it would have told meanwhile is found by looking.
            await asyncio.sleep(1.0)
            await self._relist_logged()

    async def _relist_slowly(self) -> None:
        while True:
            await asyncio.sleep(RELIST_SECONDS)
            await self._relist_logged()

    async def _relist_logged(self) -> None:
        try:
            await self.relist()
        except RuntimeServiceError as error:
            log.warning("relist: %s", error)
