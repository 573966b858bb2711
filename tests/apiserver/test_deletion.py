"""Graceful deletion, finalizers, propagation, preconditions, collections and namespaces."""

import asyncio

from tests.apiserver.conftest import Api
from tests.apiserver.manifests import config_map, deployment, pod


async def test_deleting_answers_with_a_status_and_the_object_is_gone(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    created = await api.create(path, config_map("a"))
    status = await api.call("DELETE", f"{path}/a")
    assert status["status"] == "Success"
    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    await api.get(f"{path}/a", code=404)
    await api.call("DELETE", f"{path}/a", code=404)


async def test_a_running_pod_is_marked_and_then_removed_by_its_kubelet(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    created = await api.create(path, pod("p", nodeName="n1"))
    marked = await api.call("DELETE", f"{path}/p", {"gracePeriodSeconds": 20})
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    assert marked["metadata"]["deletionTimestamp"]
    again = await api.call("DELETE", f"{path}/p", {"gracePeriodSeconds": 60})
    assert again["metadata"]["deletionGracePeriodSeconds"] == 20, "a grace period is never lengthened"
    shorter = await api.call("DELETE", f"{path}/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    wrong = {"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}
    status = await api.call("DELETE", f"{path}/p", wrong, 409)
    assert status["message"] == (
        f'Operation cannot be fulfilled on Pod "p": the UID in the precondition (other) does not match the UID in record '
        f"({created['metadata']['uid']}). The object might have been deleted and then recreated"
    )
    final = {"gracePeriodSeconds": 0, "preconditions": {"uid": created["metadata"]["uid"]}}
    await api.call("DELETE", f"{path}/p", final)
    await api.get(f"{path}/p", code=404)


async def test_a_pod_that_runs_nowhere_goes_at_once(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(path, pod("p"))
    await api.call("DELETE", f"{path}/p")
    await api.get(f"{path}/p", code=404)


async def test_finalizers_keep_an_object_until_the_last_is_taken_off(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/one", "example.com/two"]
    await api.create(path, body)
    marked = await api.call("DELETE", f"{path}/a")
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    added = {"metadata": {"finalizers": ["example.com/one", "example.com/three"]}}
    status = await api.patch(f"{path}/a", added, code=422)
    assert "no new finalizers can be added if the object is being deleted" in status["message"]
    await api.patch(f"{path}/a", {"metadata": {"finalizers": ["example.com/two"]}})
    await api.get(f"{path}/a")
    await api.patch(f"{path}/a", {"metadata": {"finalizers": None}})
    await api.get(f"{path}/a", code=404)


async def test_foreground_and_orphan_are_finalizers_for_the_garbage_collector(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(path, deployment("fore"))
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    marked = await api.call("DELETE", f"{path}/fore", body, 202)
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    await api.create(path, deployment("orphan"))
    marked = await api.call("DELETE", f"{path}/orphan", {"propagationPolicy": "Orphan"})
    assert marked["metadata"]["finalizers"] == ["orphan"]
    await api.create(path, deployment("back"))
    await api.call("DELETE", f"{path}/back", {"propagationPolicy": "Background"})
    await api.get(f"{path}/back", code=404)
    status = await api.call("DELETE", f"{path}/fore", {"propagationPolicy": "Sideways"}, 422)
    assert "propagationPolicy" in status["message"]


async def test_deleting_a_collection_takes_what_the_selectors_choose(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for i in range(6):
        await api.create(path, config_map(f"c{i}", {"half": str(i % 2)}))
    deleted = await api.call("DELETE", path, params={"labelSelector": "half=0"})
    assert [item["metadata"]["name"] for item in deleted["items"]] == ["c0", "c2", "c4"]
    left = await api.get(path)
    assert [item["metadata"]["name"] for item in left["items"]] == ["c1", "c3", "c5"]


async def test_a_namespace_is_terminating_until_it_is_finalized(api: Api, namespace: str) -> None:
    deleted = await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    assert deleted["status"]["phase"] == "Terminating"
    status = await api.create(f"/api/v1/namespaces/{namespace}/configmaps", config_map("a"), code=403)
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    deleted["spec"] = {}
    await api.call("PUT", f"/api/v1/namespaces/{namespace}/finalize", deleted)
    await api.get(f"/api/v1/namespaces/{namespace}", code=404)


async def test_system_namespaces_cannot_be_deleted(api: Api) -> None:
    for name in ("default", "kube-system", "kube-public"):
        status = await api.call("DELETE", f"/api/v1/namespaces/{name}", code=403)
        assert status["message"] == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_racing_deletions_succeed_once(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, config_map("a"))
    answers = await asyncio.gather(*(api.http.delete(f"{path}/a") for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [404] * 7


async def test_a_job_leaves_its_pods_unless_the_deletion_says_otherwise(api: Api, namespace: str) -> None:
    """Upstream's default for jobs and replication controllers, which clients that know better override."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox:1"}]}}
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    for name in ("a", "b"):
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}}
        await api.create(path, job)
    left = await api.call("DELETE", f"{path}/a")
    assert left["metadata"]["finalizers"] == ["orphan"]
    await api.call("DELETE", f"{path}/b", {"propagationPolicy": "Background"})
    await api.get(f"{path}/b", code=404)
