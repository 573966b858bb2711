"""kr8s: objects with methods, chosen by what the server says that it has."""

from collections.abc import AsyncIterator

import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap, Deployment, Pod, Service

from tests.clients.pods import deployment, page_server, pod

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("kubectl")]


@pytest.fixture
async def api(kubeconfig: str) -> AsyncIterator[kr8s.asyncio.Api]:
    made = await kr8s.asyncio.api(kubeconfig=kubeconfig)
    yield made
    if made._session is not None:
        await made._session.aclose()


def within(namespace: str, body: dict) -> dict:
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


async def test_what_the_server_has(api: kr8s.asyncio.Api) -> None:
    assert (await api.version())["major"] == "1"
    kinds = {one["kind"] for one in await api.api_resources()}
    assert {"Pod", "Deployment", "CronJob", "Ingress", "HorizontalPodAutoscaler"} <= kinds
    assert (await api.whoami()) == "kubernetes-admin"


async def test_objects_live_and_die(api: kr8s.asyncio.Api, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
    settings = await ConfigMap(within(namespace, body), api=api)
    await settings.create()
    assert await settings.exists()
    await settings.patch({"data": {"a": "2"}})
    await settings.label({"tier": "back"})
    await settings.annotate({"note": "yes"})
    found = [one async for one in api.get("configmaps", namespace=namespace, label_selector={"tier": "back"})]
    assert [(one.name, one.raw["data"]) for one in found] == [("settings", {"a": "2"})]
    assert found[0].annotations["note"] == "yes"
    settings.raw["data"] = {"b": "3"}
    await settings.delete()
    assert not await settings.exists()
    with pytest.raises(kr8s.NotFoundError):
        await ConfigMap.get("settings", namespace=namespace, api=api)


async def test_a_deployment_gets_ready_and_scales(api: kr8s.asyncio.Api, namespace: str) -> None:
    web = await Deployment(within(namespace, deployment("web")), api=api)
    await web.create()
    await web.wait("condition=Available", timeout=40)
    await web.scale(2)
    assert web.replicas == 2
    async for _, one in web.watch():
        if one.raw["status"].get("readyReplicas") == 2:
            break
    assert len(await web.pods()) == 2
    await web.delete(propagation_policy="Foreground")
    await web.wait("delete", timeout=40)


async def test_a_pod_is_watched_read_and_entered(api: kr8s.asyncio.Api, namespace: str) -> None:
    talker = await Pod(within(namespace, pod("talks", "echo started; sleep 600")), api=api)
    await talker.create()
    await talker.wait("condition=Ready", timeout=40)
    assert await talker.ready()
    assert [line async for line in talker.logs()] == ["started"]
    ran = await talker.exec(["sh", "-c", "echo inside; exit 3"], check=False)
    assert (ran.stdout, ran.returncode) == (b"inside\n", 3)
    await talker.delete(grace_period=0)
    seen = []
    async for event, one in api.watch("pods", namespace=namespace):
        seen.append((event, one.name))
        if event == "DELETED":
            break
    assert seen[-1] == ("DELETED", "talks")


async def test_a_port_of_a_service_is_forwarded(api: kr8s.asyncio.Api, namespace: str) -> None:
    import httpx

    server = await Pod(within(namespace, page_server("serves")), api=api)
    await server.create()
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "serves"},
        "spec": {"selector": {"app": "serves"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    service = await Service(within(namespace, body), api=api)
    await service.create()
    await server.wait("condition=Ready", timeout=40)
    async with server.portforward(remote_port=8080, local_port="auto") as port, httpx.AsyncClient() as http:
        assert (await http.get(f"http://127.0.0.1:{port}/index.html")).text == "page\n"
    # Through the API server, without a forwarded port.
    answer = await service.proxy_http_get("index.html", port=80)
    assert answer.text == "page\n"
