"""A kubelet in the test's own event loop, with a runtime in memory, on a real API server."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeclient import ApiError, Client, Config
from kubelet.agent import Kubelet
from kubelet.options import parse
from tests.apiserver.harness import ApiServer, Pki, Store, free_port
from tests.kubelet.fake_runtime import FakeImages, FakeRuntime

Object = dict[str, Any]
SECONDS = 30.0
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """On our own store; without ServiceAccount admission, for no controller makes accounts here."""
    folder = tmp_path_factory.mktemp("kubelet-api")
    store = Store(folder / "store", "etcd_raft")
    flags = ("--disable-admission-plugins=ServiceAccount", "--authorization-mode=Node,RBAC")
    server = ApiServer(folder, store, Pki(folder / "pki"), *flags)
    try:
        store.start()
        server.start()
        yield server
    finally:
        server.stop()
        store.stop()


class Node:
    """One kubelet, its runtime, and an admin's client. ``start`` and ``kill`` it as often as a test likes."""

    def __init__(self, server: ApiServer, client: Client, folder: Path, number: int) -> None:
        self.name, self.namespace = f"node{number}", f"ns{number}"
        self.api, self.pods = client, client.resource("v1", "pods")
        self.images = FakeImages("busybox:1")
        self.runtime = FakeRuntime()
        self.port = free_port()
        self._server, self._folder = server, folder
        self._clients: list[Client] = []
        self.kubelet: Kubelet | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, *flags: str, wait: bool = True) -> Kubelet:
        pki = self._server.pki
        path = self._folder / "kubeconfig"
        self._server.write_kubeconfig(path, self.name, f"system:node:{self.name}", ["system:nodes"])
        cert, key = pki.issue(f"{self.name}-server", f"system:node:{self.name}", server=True)
        options = parse(
            [
                f"--kubeconfig={path}", f"--hostname-override={self.name}", "--node-ip=127.0.0.1",
                "--address=127.0.0.1", f"--port={self.port}", f"--root-dir={self._folder / 'root'}",
                f"--tls-cert-file={cert}", f"--tls-private-key-file={key}", f"--client-ca-file={pki.ca}", *flags,
            ]
        )  # fmt: skip
        client = Client(Config.load(options.kubeconfig))
        self._clients.append(client)
        self.kubelet = Kubelet(options, client, self.runtime, self.images, root=False)
        self._task = asyncio.create_task(self.kubelet.run())
        kubelet = self.kubelet
        if wait:
            await self.until("pods taken up", lambda: kubelet.workers is not None)
        return kubelet

    async def kill(self) -> None:
        """As kill -9 leaves it: containers run on, nothing is said to the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for client in self._clients:
            await client.close()
        self._clients.clear()

    async def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """The first true value of a condition, which may be awaitable."""
        last: Any = None
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    if self._task is not None and self._task.done():
                        self._task.result()
                    last = condition()
                    if isinstance(last, Awaitable):
                        last = await last
                    if last:
                        return last
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {SECONDS} s (last: {last!r})") from None

    # --- pods ---------------------------------------------------------------------------------------------------

    async def create(self, name: str, *containers: Object, **spec: Any) -> Object:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
            "spec": {
                "nodeName": self.name,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "c", "image": "busybox:1", **c} for c in containers or ({},)],
                **spec,
            },
        }
        return await self.pods.create(body)

    async def get(self, name: str) -> Object | None:
        try:
            return await self.pods.get(name, self.namespace)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def pod(self, name: str, what: str, condition: Callable[[Object], Any]) -> Object:
        """The pod once the server shows it so."""

        async def look() -> Object | None:
            found = await self.get(name)
            return found if found is not None and condition(found) else None

        async def shown() -> Any:
            return (await self.get(name) or {}).get("status")

        try:
            return await self.until(what, look)
        except AssertionError as error:
            raise AssertionError(f"pod {name}: {error}; its status: {await shown()}") from None

    async def running(self, name: str) -> Object:
        return await self.pod(name, "ready", lambda p: condition(p, "Ready") == "True")

    async def gone(self, name: str) -> None:
        async def look() -> bool:
            return await self.get(name) is None

        await self.until(f"pod {name} gone", look)

    async def delete(self, name: str, grace: int | None = None) -> None:
        await self.pods.delete(name, self.namespace, grace_period_seconds=grace)

    async def events(self, reason: str) -> list[Object]:
        listed = await self.api.resource("v1", "events").list(self.namespace)
        return [e for e in listed["items"] if e["reason"] == reason]


def condition(obj: Object, type_: str) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((c["status"] for c in conditions if c["type"] == type_), "")


def state(pod: Object, container: str = "c") -> Object:
    """``{"running": ...}`` or the like; empty while nothing is told."""
    entries = [
        *(pod["status"].get("containerStatuses") or []),
        *(pod["status"].get("initContainerStatuses") or []),
    ]
    return next((e["state"] for e in entries if e["name"] == container), {})


@pytest.fixture
async def node(api_server: ApiServer, tmp_path: Path) -> AsyncIterator[Node]:
    """Not started; the namespace of its own is there."""
    async with Client(Config.load(str(api_server.kubeconfig))) as client:
        made = Node(api_server, client, tmp_path, next(_numbers))
        await client.resource("v1", "namespaces").create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace}}
        )
        try:
            yield made
        finally:
            await made.kill()
            with contextlib.suppress(ApiError):
                await client.resource("v1", "nodes").delete(made.name)
