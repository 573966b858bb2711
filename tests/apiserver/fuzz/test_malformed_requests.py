"""Thousands of requests that are nearly right: each gets an answer, and none of them blames the server.

More of them: ``FUZZ_SEED=7 FUZZ_REQUESTS=100000 pytest tests/apiserver/fuzz/test_malformed_requests.py``.
"""

import asyncio
import os
from collections import Counter

from tests.apiserver.conftest import Api
from tests.apiserver.fuzz.malformed import NAMESPACE, Source, is_the_servers_fault, objects_to_start_with
from tests.apiserver.fuzz.wire import Connection
from tests.apiserver.harness import ApiServer

SEED = int(os.environ.get("FUZZ_SEED", 20260102))
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", 3000))
CONNECTIONS = 8
#: How many bad answers are shown.
SHOWN = 10


async def send_malformed(server: ApiServer, seed: int, count: int) -> Counter[int]:
    """How often which status came; fails with the answers that blame the server."""
    source, left, seen = Source(seed), iter(range(count)), Counter[int]()
    bad: list[str] = []

    async def client() -> None:
        connection = Connection(server)
        try:
            for i in left:
                sent = source.next()
                answer = await connection.ask(sent.raw, sent.method)
                seen[answer.status] += 1
                if is_the_servers_fault(answer):
                    bad.append(
                        f"request {i} of seed {seed}:\n{sent.raw[:4000]!r}\n{answer.status} {answer.body[:1000]!r}"
                    )
                if len(bad) >= SHOWN:
                    break
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as clients:
        for _ in range(CONNECTIONS):
            clients.create_task(client())
    assert not bad, "\n\n".join(bad)
    return seen


async def test_malformed_requests_are_answered_and_not_with_a_server_error(api: Api, server: ApiServer) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for path, present in objects_to_start_with():
        await api.create(path, present)
    seen = await send_malformed(server, SEED, REQUESTS)
    assert (await api.http.get("/readyz")).status_code == 200
    # Otherwise it is not these doors that were knocked at.
    assert seen[200] + seen[201] > REQUESTS / 10, seen
    assert {400, 404, 405, 406, 409, 415, 422} <= set(seen), seen
