"""A server of its own for the fuzzers, on our own store: what it holds is measured, and nobody else's objects are damaged."""

from collections.abc import Iterator

import pytest

from tests.apiserver.fuzz.wire import Vitals
from tests.apiserver.harness import ApiServer, Pki, Store


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("fuzz")
    store = Store(folder / "store", "etcd_raft")
    started = ApiServer(folder, store, pki, "--disable-admission-plugins=ServiceAccount", "--event-ttl=10m")
    try:
        store.start()
        started.start()
        yield started
    finally:
        started.stop()
        store.stop()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(server: ApiServer) -> Iterator[None]:
    """The same process still runs afterwards, has logged no bug, and holds about what it held before."""
    assert server.process is not None, "it has been started"
    log = server.process.log
    logged, before = log.stat().st_size, Vitals.of(server)
    yield
    assert server.process.popen.poll() is None, f"the API server died:\n{log.read_text()[-4000:]}"
    new = log.read_bytes()[logged:].decode(errors="replace")
    assert "Traceback" not in new, f"the API server logged a bug:\n{new[-4000:]}"
    before.about_the_same(server)
