"""Requests that schemathesis makes of the served OpenAPI v3 documents: whatever they say may be sent is answered.

A sample of all operations, for the generator is slow (50 ms a request). All of them, and more requests of each:
``FUZZ_OPERATIONS=10000 FUZZ_EXAMPLES=20 pytest tests/apiserver/fuzz/test_openapi.py``.
"""

import json
import os
import random
from collections import Counter
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import openapi

from tests.apiserver.conftest import Api
from tests.apiserver.fuzz.malformed import is_the_servers_fault
from tests.apiserver.fuzz.wire import Connection, request
from tests.apiserver.harness import ApiServer

SEED = int(os.environ.get("FUZZ_SEED", 20260104))
OPERATIONS = int(os.environ.get("FUZZ_OPERATIONS", 60))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 3))
#: Watches and streams last as long as nobody ends them; proxies and tunnels lead away from the server.
_ENDLESS = ("/watch/", "/proxy", "/exec", "/attach", "/portforward", "/log")


async def _operations(api: Api) -> list[Any]:
    """All operations of all documents, in one order."""
    index = await api.get("/openapi/v3")
    found = []
    for _, group in sorted(index["paths"].items()):
        document = await api.get(group["serverRelativeURL"])
        loaded = openapi.from_dict(document)
        results: list[Any] = list(loaded.get_all_operations())
        found += [result.ok() for result in results]
    return [o for o in found if not any(part in o.path for part in _ENDLESS)]


def _cases(operation: Any) -> list[Any]:
    cases: list[Any] = []

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    return cases


def _raw(case: Any) -> bytes:
    """The request as bytes, for a client that neither checks nor mends it."""
    kwargs = case.as_transport_kwargs()
    query = {name: value for name, value in (kwargs.get("params") or {}).items() if name != "watch"}
    target = f"{kwargs['url']}?{urlencode(query, doseq=True, errors='surrogatepass')}".encode()
    body = kwargs.get("data") or b""
    if "json" in kwargs:
        body = json.dumps(kwargs["json"]).encode()  # whatever numbers and halves of characters there are
    media = kwargs["headers"].get("Content-Type", "application/json")
    return request(
        kwargs["method"].encode(),
        target,
        body if isinstance(body, bytes) else str(body).encode(),
        (b"Content-Type", media.encode()),
    )


async def test_whatever_the_schema_allows_is_answered(api: Api, server: ApiServer) -> None:
    operations = await _operations(api)
    assert len(operations) > 300
    chosen = random.Random(SEED).sample(operations, min(OPERATIONS, len(operations)))
    connection, seen, bad = Connection(server), Counter[int](), []
    try:
        for operation in chosen:
            for raw in map(_raw, _cases(operation)):
                answer = await connection.ask(raw, raw.partition(b" ")[0])
                seen[answer.status] += 1
                if is_the_servers_fault(answer) or answer.status == 0:
                    bad.append(f"{raw[:3000]!r}\n{answer.status} {answer.body[:800]!r}")
    finally:
        await connection.close()
    assert not bad, f"seed {SEED}:\n" + "\n\n".join(bad[:10])
    assert sum(seen.values()) > 2 * len(chosen), seen
