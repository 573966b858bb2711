"""One store and one API server for all integration tests of a run, on real etcd and on our own store in turn.

Tests share the server and keep apart by namespaces of their own. Clients: ``api`` (httpx, as admin) and ``kubectl``.
"""

import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store

Object = dict[str, Any]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session", params=[pytest.param("etcd", marks=pytest.mark.binary("etcd")), "etcd_raft"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[ApiServer]:
    """Without ServiceAccount admission: no controller makes accounts here."""
    folder = tmp_path_factory.mktemp(request.param)
    store = Store(folder / "store", request.param)
    started = ApiServer(folder, store, pki, "--disable-admission-plugins=ServiceAccount", "--event-ttl=10m")
    try:
        store.start()
        started.start()
        yield started
        log = started.process.log.read_text() if started.process else ""
        assert "Traceback" not in log, f"the API server logged a bug:\n{log[-4000:]}"
    finally:
        started.stop()
        store.stop()


class Api:
    """An httpx client that knows what a test mostly wants: JSON in, status and JSON out."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.http = client

    async def call(self, method: str, path: str, body: Any = None, code: int | None = None, **kwargs: Any) -> Any:
        """The decoded answer; fails with it when its status is not ``code`` (any success when left out)."""
        if body is not None:
            kwargs["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            kwargs["headers"] = {"content-type": "application/json", **kwargs.get("headers", {})}
        response = await self.http.request(method, path, **kwargs)
        wanted = response.is_success if code is None else response.status_code == code
        assert wanted, f"{method} {path}: {response.status_code} {response.text[:2000]}"
        return response.json() if response.content else None

    async def get(self, path: str, code: int | None = None, **params: Any) -> Any:
        return await self.call("GET", path, code=code, params=params)

    async def create(self, path: str, body: Object, code: int = 201, **params: Any) -> Any:
        return await self.call("POST", path, body, code, params=params)

    async def patch(self, path: str, body: Any, kind: str = "merge", code: int = 200, **params: Any) -> Any:
        media = {"merge": "merge-patch", "json": "json-patch", "strategic": "strategic-merge-patch"}[kind]
        headers = {"content-type": f"application/{media}+json"}
        return await self.call("PATCH", path, body, code, headers=headers, params=params)


def http_client(server: ApiServer, **kwargs: Any) -> httpx.AsyncClient:
    import ssl

    context = ssl.create_default_context(cafile=str(server.pki.ca))
    return httpx.AsyncClient(base_url=server.url, verify=context, timeout=20, trust_env=False, **kwargs)


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    async with http_client(server, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        yield Api(client)


@pytest.fixture
async def namespace(api: Api) -> str:
    """A fresh namespace."""
    name = f"test-{next(_numbers)}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def kubectl_binaries() -> list[str]:
    """Real kubectls beside the one on the path, oldest and newest."""
    import shutil

    found = shutil.which("kubectl")
    if found is None:
        return []
    folder = Path(found).resolve().parent
    versions = [folder / f"kubectl.1.{minor}" for minor in (27, 33)]
    return [str(v) for v in versions if v.exists()] or [found]


Kubectl = Callable[..., str]


@pytest.fixture(params=kubectl_binaries() or ["kubectl"], ids=lambda path: Path(path).name)
def kubectl(request: pytest.FixtureRequest, server: ApiServer, tmp_path: Path) -> Kubectl:
    """Runs a command; fails unless its exit code is ``code``; gives what it printed (both streams when it failed)."""

    def run(*args: str, stdin: str | Object | None = None, code: int = 0) -> str:
        text = json.dumps(stdin) if isinstance(stdin, dict) else stdin
        command = [request.param, "--kubeconfig", str(server.kubeconfig), f"--cache-dir={tmp_path}", *args]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, f"{' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run
