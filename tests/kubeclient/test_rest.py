import pytest
from starlette.requests import Request
from starlette.responses import Response

from kubeclient.http import TransportError
from kubeclient.rest import ApiError, Client
from tests.kubeclient.apiserver import answer, serving, status, stream


async def test_paths_follow_the_api_conventions() -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: Request) -> Response:
        seen.append((request.method, request.url.path))
        return answer({})

    async with serving(handler) as client:
        pods, deployments = client.resource("v1", "pods"), client.resource("apps/v1", "deployments")
        await pods.get("web", "shop")
        await pods.list()
        await pods.create({"metadata": {"name": "x", "namespace": "shop"}}, name="x", subresource="binding")
        await deployments.update_status({"metadata": {"name": "web", "namespace": "shop"}})
        await client.resource("v1", "nodes").delete("node-1")
    assert seen == [
        ("GET", "/api/v1/namespaces/shop/pods/web"),
        ("GET", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/shop/pods/x/binding"),
        ("PUT", "/apis/apps/v1/namespaces/shop/deployments/web/status"),
        ("DELETE", "/api/v1/nodes/node-1"),
    ]


async def test_a_refusal_carries_the_servers_status() -> None:
    async def handler(request: Request) -> Response:
        return status(409, "Conflict", "the object has been modified")

    async with serving(handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.resource("v1", "pods").get("web", "shop")
    assert caught.value.conflict
    assert str(caught.value) == "the object has been modified"


async def test_an_answer_that_is_no_status_is_an_error_all_the_same() -> None:
    async def handler(request: Request) -> Response:
        return Response("bad gateway", status_code=502)

    async with serving(handler) as client:
        with pytest.raises(ApiError, match="bad gateway") as caught:
            await client.resource("v1", "pods").list()
    assert caught.value.code == 502


async def test_a_write_turned_away_with_retry_after_is_sent_again() -> None:
    calls = 0

    async def handler(request: Request) -> Response:
        nonlocal calls
        calls += 1
        return answer({"ok": True}) if calls == 3 else status(429, "TooManyRequests", **{"retry-after": "0"})

    async with serving(handler) as client:
        assert await client.resource("v1", "pods").create({"metadata": {"namespace": "d"}}) == {"ok": True}
    assert calls == 3


async def test_a_watch_yields_events_and_raises_its_error_event() -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}

    async def handler(request: Request) -> Response:
        assert request.query_params["resourceVersion"] == "5"
        return stream(("ADDED", {"metadata": {"name": "a"}}), ("ERROR", gone))

    async with serving(handler) as client:
        watch = client.resource("v1", "pods").watch(resource_version="5")
        event = await anext(watch)
        assert (event.type, event.object["metadata"]["name"]) == ("ADDED", "a")
        with pytest.raises(ApiError) as caught:
            await anext(watch)
    assert caught.value.expired


async def test_a_server_that_does_not_listen_is_a_transport_error() -> None:
    from kubeclient.config import Config

    async with Client(Config(server="http://127.0.0.1:1")) as client:
        with pytest.raises(TransportError):
            await client.resource("v1", "pods").list()
