"""Too much at once is turned away with a hint to retry; administrators still get in."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.conftest import http_client
from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store
from tests.apiserver.manifests import config_map

PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def narrow(tmp_path: Path, pki: Pki) -> Iterator[ApiServer]:
    store = Store(tmp_path / "store", "etcd_raft")
    server = ApiServer(tmp_path, store, pki, "--max-mutating-requests-inflight=2")
    try:
        store.start()
        server.start()
        yield server
    finally:
        server.stop()
        store.stop()


async def test_writes_beyond_the_limit_are_told_to_come_back(narrow: ApiServer) -> None:
    async def burst(token: str, prefix: str) -> list[int]:
        async with http_client(narrow, headers={"authorization": f"Bearer {token}"}) as client:
            posts = (client.post(PATH, json=config_map(f"{prefix}{i}")) for i in range(40))
            answers = await asyncio.gather(*posts)
            for answer in answers:
                if answer.status_code == 429:
                    assert answer.headers["retry-after"] == "1"
                    assert answer.json()["reason"] == "TooManyRequests"
            return [answer.status_code for answer in answers]

    plain = await burst("plain-token", "p")
    assert set(plain) == {201, 429}
    assert set(await burst(TOKEN, "a")) == {201}
