"""client-go's informer, as ``kubectl wait`` of the newest version runs one: streamed first list, lost connections, forgotten versions."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.apiserver.conftest import Api, http_client, kubectl_binaries
from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store
from tests.apiserver.manifests import config_map

pytestmark = pytest.mark.binary("kubectl")
COLLECTION = "/api/v1/namespaces/default/configmaps"


class Wire:
    """Forwards connections to the server; ``port`` refuses them while it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._carried = 0

    async def mend(self) -> None:
        self._listening = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def cut(self) -> None:
        assert self._listening is not None
        self._listening.close()
        self.drop()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        mine = {writer, back}
        self._open |= mine
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            self._open -= mine
            for end in mine:
                end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
                self._carried += len(data)
        writer.close()

    def drop(self) -> None:
        """Ends what is open behind what has been carried, in the middle of TLS and of HTTP."""
        for writer in list(self._open):
            writer.close()

    @contextlib.asynccontextmanager
    async def something_carried(self) -> AsyncIterator[None]:
        """Waits at the end until the wire has carried something more than at the beginning."""
        before = self._carried
        yield
        async with asyncio.timeout(10):
            while self._carried == before:
                await asyncio.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path, pki: Pki) -> Iterator[ApiServer]:
    """One that may be restarted."""
    store = Store(tmp_path / "store", "etcd_raft")
    started = ApiServer(tmp_path / "server", store, pki)
    try:
        store.start()
        started.start()
        yield started
    finally:
        started.stop()
        store.stop()


@pytest.fixture
async def wire(server: ApiServer) -> AsyncIterator[tuple[Wire, Path]]:
    """And a kubeconfig that leads through it."""
    made = Wire(server.port)
    await made.mend()
    try:
        through = server.folder / "through-the-wire"
        through.write_text(server.kubeconfig.read_text().replace(server.url, f"https://127.0.0.1:{made.port}"))
        yield made, through
    finally:
        made.cut()


class Waiting:
    """``kubectl wait``, and what it says about its requests."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def until(self, pattern: str) -> re.Match[str]:
        """Reads on until a line has it; what came before is forgotten."""
        assert self.process.stderr is not None
        seen = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while line := (await self.process.stderr.readline()).decode():
                    seen.append(line)
                    if found := re.search(pattern, line):
                        return found
        raise AssertionError(f"kubectl did not say {pattern}:\n{''.join(seen)}")


async def test_an_informer_lists_by_watching_resumes_after_a_cut_and_begins_anew_after_410(
    server: ApiServer, wire: tuple[Wire, Path], tmp_path: Path
) -> None:
    connection, kubeconfig = wire
    async with http_client(server, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        api = Api(client)
        await api.create(COLLECTION, config_map("a", x="1"))
        process = await asyncio.create_subprocess_exec(
            kubectl_binaries()[-1], f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}", "-v=6", "wait", "configmap/a",
            "--for=jsonpath={.data.x}=done", "--timeout=60s", env={**os.environ, "KUBE_FEATURE_WatchListClient": "true"},
            stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            kubectl = Waiting(process)
            await kubectl.until(r"sendInitialEvents=true")
            await kubectl.until("received the bookmark that marks the end of initial events")

            # A watch that ends at once and has said nothing is no watch to client-go, which then lists again.
            async with connection.something_carried():
                changed = await api.patch(f"{COLLECTION}/a", {"data": {"x": "2"}})
            connection.drop()
            resumed = await kubectl.until(r"/configmaps\?\S*resourceVersion=(\d+)\S*watch=true")
            assert "sendInitialEvents" not in resumed[0]
            assert resumed[1] == changed["metadata"]["resourceVersion"]

            async with connection.something_carried():
                await api.patch(f"{COLLECTION}/a", {"data": {"x": "3"}})
            connection.cut()
            await api.create(COLLECTION, config_map("b"))  # so that the client's version is not the newest one
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)  # and that no window of events reaches back to it
            await connection.mend()
            await kubectl.until("too old resource version")
            await kubectl.until(r"sendInitialEvents=true")
            await kubectl.until("received the bookmark that marks the end of initial events")

            await api.patch(f"{COLLECTION}/a", {"data": {"x": "done"}})
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            assert (process.returncode, out) == (0, b"configmap/a condition met\n")
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
