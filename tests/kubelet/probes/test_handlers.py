import asyncio
from typing import Any

import pytest

from kubelet.probes.handlers import HandlerError, exec_command, grpc_health, http_target, resolve_port, tcp_socket
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.making import container


def test_ports_are_numbers_or_names() -> None:
    own = container(ports=[{"name": "web", "containerPort": 8080}])
    assert [resolve_port(port, own) for port in (80, "81", "web")] == [80, 81, 8080]
    for wrong in ("none", 0, 70000):
        with pytest.raises(HandlerError):
            resolve_port(wrong, own)


def test_the_target_has_the_pods_address_and_upstreams_headers() -> None:
    action = {"path": "healthz", "port": 8080, "httpHeaders": [{"name": "X-A", "value": "1"}]}
    url, headers = http_target(action, container(), "10.0.0.5")
    assert url == "http://10.0.0.5:8080/healthz"
    assert headers == {"Host": "10.0.0.5:8080", "User-Agent": "kube-probe/1.33", "Accept": "*/*", "X-A": "1"}


def test_headers_of_the_probe_replace_the_usual_ones() -> None:
    action: dict[str, Any] = {"port": 1, "scheme": "HTTPS", "host": "h"}
    action["httpHeaders"] = [{"name": "host", "value": "example.com"}, {"name": "Accept", "value": ""}]
    url, headers = http_target(action, container(), "10.0.0.5")
    assert url == "https://h:1/"
    assert headers == {"Host": "example.com", "User-Agent": "kube-probe/1.33"}


async def test_a_tcp_probe_connects() -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert (await tcp_socket({"port": port}, container(), "127.0.0.1", 5)).good
    outcome = await tcp_socket({"port": port}, container(), "127.0.0.1", 5)
    assert not outcome.good
    assert "connect" in outcome.output


async def test_a_command_is_judged_by_its_exit_code() -> None:
    runtime = FakeRuntime()

    async def answer(container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        return b"out ", b"err", int(command[0])

    runtime.exec_answer = answer
    assert (await exec_command(runtime, "c", ["0"], 1)).good
    bad = await exec_command(runtime, "c", ["1"], 1)
    assert (bad.good, bad.output) == (False, "out err")


async def test_a_command_that_takes_too_long_has_failed() -> None:
    runtime = FakeRuntime()

    async def never(container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    runtime.exec_answer = never
    outcome = await exec_command(runtime, "c", ["sleep"], 0.01)
    assert not outcome.good
    assert "timed out" in outcome.output


async def test_a_command_that_cannot_run_is_neither_good_nor_bad() -> None:
    runtime = FakeRuntime()
    runtime.fail["exec_sync"] = "no such container"
    with pytest.raises(HandlerError, match="no such container"):
        await exec_command(runtime, "c", ["x"], 1)


@pytest.mark.parametrize(("state", "good"), [(1, True), (2, False)])
async def test_a_grpc_service_says_how_it_is(state: int, good: bool) -> None:
    import grpc
    import grpc.aio

    async def check(request: bytes, context: Any) -> bytes:
        assert request == b"\x0a\x03web"
        return bytes([0x08, state])

    handler = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        outcome = await grpc_health({"port": port, "service": "web"}, "127.0.0.1", 5)
    finally:
        await server.stop(0)
    assert outcome.good == good


async def test_a_grpc_port_that_nobody_serves_is_bad() -> None:
    assert not (await grpc_health({"port": 1}, "127.0.0.1", 0.5)).good
