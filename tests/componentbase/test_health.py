import socket

import httpx
import pytest

from componentbase.health import HealthServer


async def ask(server: HealthServer, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{server.port}{path}")


async def test_a_failing_readiness_check_leaves_the_process_alive() -> None:
    server = HealthServer("127.0.0.1", 0)
    server.add_check("informers", lambda: "waiting for pods", ready_only=True)
    await server.start()
    try:
        assert (await ask(server, "/livez")).text == "ok"
        ready = await ask(server, "/readyz")
        assert ready.status_code == 500
        assert "[-]informers failed: waiting for pods" in ready.text
        assert "[+]ping ok" in (await ask(server, "/healthz?verbose")).text
        assert "python_info" in (await ask(server, "/metrics")).text
    finally:
        await server.stop()


async def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1:{port}"):
            await HealthServer("127.0.0.1", port).start()
