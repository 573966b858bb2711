"""lightkube: typed, asynchronous, on httpx."""

from collections.abc import AsyncIterator

import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Node, Pod
from lightkube.types import CascadeType, PatchType

from tests.clients.pods import deployment, pod

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("kubectl")]


@pytest.fixture
async def api(kubeconfig: str, namespace: str) -> AsyncIterator[AsyncClient]:
    made = AsyncClient(config=KubeConfig.from_file(kubeconfig), namespace=namespace, field_manager="tests")
    yield made
    await made.close()


def settings(**data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="settings", labels={"tier": "a"}), data=data)


async def test_objects_live_and_die(api: AsyncClient) -> None:
    made = await api.create(settings(a="1"))
    made.data = {"a": "2"}
    replaced = await api.replace(made)
    assert replaced.data == {"a": "2"}
    with pytest.raises(ApiError) as stale:
        await api.replace(made)
    assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")
    patched = await api.patch(ConfigMap, "settings", {"data": {"b": "3"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"a": "2", "b": "3"}
    await api.delete(ConfigMap, "settings")
    with pytest.raises(ApiError) as gone:
        await api.get(ConfigMap, "settings")
    assert gone.value.status.reason == "NotFound"


async def test_apply_owns_and_lets_go(api: AsyncClient) -> None:
    await api.apply(settings(a="1", b="1"))
    again = await api.apply(settings(a="1"))
    assert again.data == {"a": "1"}
    with pytest.raises(ApiError) as conflict:
        await api.apply(settings(a="2"), field_manager="another")
    assert conflict.value.status.code == 409
    forced = await api.apply(settings(a="2"), field_manager="another", force=True)
    assert forced.data == {"a": "2"}


async def test_lists_in_chunks(api: AsyncClient) -> None:
    for number in range(5):
        await api.create(ConfigMap(metadata=ObjectMeta(name=f"c{number}", labels={"of": "chunks"})))
    names = [one.metadata.name async for one in api.list(ConfigMap, labels={"of": "chunks"}, chunk_size=2)]
    assert names == [f"c{number}" for number in range(5)]
    assert [one.metadata.name async for one in api.list(Node)] == ["node-1"]
    assert "default" in [one.metadata.name async for one in api.list(Namespace)]


async def test_a_watch_goes_on_from_a_list(api: AsyncClient) -> None:
    await api.create(settings(a="1"))
    version = (await api.get(ConfigMap, "settings")).metadata.resourceVersion
    await api.patch(ConfigMap, "settings", {"data": {"a": "2"}})
    await api.delete(ConfigMap, "settings")
    seen = []
    async for event, one in api.watch(ConfigMap, fields={"metadata.name": "settings"}, resource_version=version):
        seen.append((event, one.data["a"]))
        if event == "DELETED":
            break
    assert seen == [("MODIFIED", "2"), ("DELETED", "2")]


async def test_a_deployment_is_scaled_and_deleted(api: AsyncClient, namespace: str) -> None:
    await api.create(Deployment.from_dict(deployment("web")))
    await api.wait(Deployment, "web", for_conditions=["Available"], namespace=namespace)
    scale = await api.get(Deployment.Scale, "web")
    assert (scale.spec.replicas, scale.status.selector) == (1, "app=web")
    scaled = await api.patch(Deployment.Scale, "web", {"spec": {"replicas": 2}}, patch_type=PatchType.MERGE)
    assert scaled.spec.replicas == 2
    async for _, one in api.watch(Deployment, fields={"metadata.name": "web"}):
        if (one.status.readyReplicas or 0) == 2:
            break
    await api.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    async for event, _ in api.watch(Deployment, fields={"metadata.name": "web"}):
        if event == "DELETED":
            break


async def test_logs_and_events_and_eviction(api: AsyncClient, namespace: str) -> None:
    await api.create(Pod.from_dict(pod("talks", "echo started; sleep 600")))
    await api.wait(Pod, "talks", for_conditions=["Ready"])
    assert [line async for line in api.log("talks")] == ["started\n"]
    reasons = {one.reason async for one in api.list(Event, fields={"involvedObject.name": "talks"})}
    assert {"Scheduled", "Started"} <= reasons
    await api.create(Pod.Eviction(metadata=ObjectMeta(name="talks", namespace=namespace)), "talks")
    async for event, _ in api.watch(Pod, fields={"metadata.name": "talks"}):
        if event == "DELETED":
            break
