"""A store, an API server and the controller manager as processes, and nodes without containers."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kubeclient import Client, Config
from tests.apiserver.harness import ApiServer, Pki, Process, Store
from tests.controllers.hollow import Hollow, hollow_nodes

NODES = ("node-a", "node-b", "node-c")
#: Quick enough for a test, slow enough for a busy machine.
MONITOR = ("--node-monitor-period=300ms", "--node-monitor-grace-period=8s", "--node-eviction-rate=100")


class Manager:
    """One controller manager; several may run against one server."""

    def __init__(self, server: ApiServer, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kubeconfig = server.write_kubeconfig(
            folder / "kubeconfig", "controllers", "system:kube-controller-manager", ["system:masters"]
        )
        command: list[str | Path] = [
            sys.executable, "-m", "controllers", f"--kubeconfig={kubeconfig}", "--secure-port=0",
            "--cluster-cidr=10.244.0.0/16", "--service-cluster-ip-range=10.96.0.0/16", *MONITOR,
            "--leader-elect-lease-duration=6s", "--leader-elect-renew-deadline=4s", "--leader-elect-retry-period=500ms",
        ]  # fmt: skip
        self.process = Process(name, command, folder)

    def stop(self, number: int = 15) -> int:
        return self.process.stop(number)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("control-plane")
    store = Store(folder / "store", "etcd_raft")
    server = ApiServer(folder, store, Pki(folder / "pki"))
    try:
        store.start()
        server.start()
        yield server
    finally:
        server.stop()
        store.stop()


@pytest.fixture(scope="module")
def manager(server: ApiServer) -> Iterator[Manager]:
    manager = Manager(server, server.folder / "manager", "manager")
    try:
        yield manager
    finally:
        manager.stop()


@pytest_asyncio.fixture
async def client(server: ApiServer, manager: Manager) -> AsyncIterator[Client]:
    async with Client(Config.load(str(server.kubeconfig))) as client:
        yield client


@pytest_asyncio.fixture
async def hollow(client: Client) -> AsyncIterator[Hollow]:
    async with hollow_nodes(client, *NODES, heartbeat=1.0) as hollow:
        yield hollow
