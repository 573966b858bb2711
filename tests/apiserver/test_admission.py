"""What admission plugins do to a request, over the wire: quotas, limit ranges, Pod Security, classes."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apiserver.conftest import Api, Kubectl, http_client
from tests.apiserver.harness import TOKEN, ApiServer

Object = dict[str, Any]
SECONDS = 10.0


def pod(name: str, resources: Object | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", **({"resources": resources} if resources else {})}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def until(what: str, condition: Any) -> Any:
    """Watch caches follow the store within milliseconds; waits for that."""
    async with asyncio.timeout(SECONDS):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
    assert found, what
    return found


async def seen(api: Api, path: str) -> None:
    """Until the watch cache has the object: what plugins see."""

    async def cached() -> bool:
        response = await api.http.get(path, params={"resourceVersion": "0"})
        return bool(response.status_code == 200)

    await until(path, cached)


async def quota(api: Api, namespace: str, name: str, hard: Object, **spec: Any) -> str:
    """A quota whose usage has been counted, as the controller would leave it."""
    base = f"/api/v1/namespaces/{namespace}/resourcequotas"
    made = await api.create(base, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    made["status"] = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    written = await api.call("PUT", f"{base}/{name}/status", made)

    async def counted() -> bool:
        found = await api.get(f"{base}/{name}", resourceVersion="0")
        return bool(found["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"])

    await until("the quota is counted", counted)
    return f"{base}/{name}"


async def limits(api: Api, namespace: str, *items: Object) -> None:
    base = f"/api/v1/namespaces/{namespace}/limitranges"
    await api.create(base, {"metadata": {"name": "limits"}, "spec": {"limits": list(items)}})
    await seen(api, f"{base}/limits")


# --- quotas -----------------------------------------------------------------------------------------------------


async def test_a_quota_is_charged_and_refuses_what_exceeds_it(api: Api, namespace: str) -> None:
    path = await quota(api, namespace, "compute", {"requests.cpu": "1", "pods": "5", "limits.memory": "1Gi"})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    asks = {"requests": {"cpu": "600m", "memory": "1Mi"}, "limits": {"memory": "512Mi"}}
    await api.create(pods, pod("a", asks))
    used = (await api.get(path))["status"]["used"]
    assert used == {"requests.cpu": "600m", "pods": "1", "limits.memory": "512Mi"}
    refused = await api.create(pods, pod("b", asks), code=403)
    assert refused["message"] == (
        'pods "b" is forbidden: exceeded quota: compute, requested: requests.cpu=600m, used: requests.cpu=600m, '
        "limited: requests.cpu=1"
    )
    assert refused["reason"] == "Forbidden"
    assert refused["details"] == {"name": "b", "kind": "pods"}
    vague = await api.create(pods, pod("d", {"requests": {"cpu": "1m"}}), code=403)
    assert vague["message"] == 'pods "d" is forbidden: failed quota: compute: must specify limits.memory for: c'
    assert (await api.get(path))["status"]["used"] == used


async def test_a_dry_run_is_judged_but_not_charged(api: Api, namespace: str) -> None:
    path = await quota(api, namespace, "few", {"pods": "1"})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("a"), dryRun="All")
    assert (await api.get(path))["status"]["used"] == {"pods": "0"}
    await api.create(pods, pod("a"))
    assert "exceeded quota: few" in (await api.create(pods, pod("b"), dryRun="All", code=403))["message"]


async def test_quotas_count_services_claims_and_anything(api: Api, namespace: str) -> None:
    gold = "gold.storageclass.storage.k8s.io/requests.storage"
    hard = {
        "services.nodeports": "2", "services.loadbalancers": "1", "requests.storage": "10Gi", gold: "3Gi",
        "persistentvolumeclaims": "5", "count/deployments.apps": "1", "configmaps": "1", "count/secrets": "1",
    }  # fmt: skip
    path = await quota(api, namespace, "things", hard)
    base = f"/api/v1/namespaces/{namespace}"
    ports = [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]
    await api.create(f"{base}/services", {"metadata": {"name": "n"}, "spec": {"type": "NodePort", "ports": ports}})
    await api.create(f"{base}/services", {"metadata": {"name": "plain"}, "spec": {"ports": ports}})
    refused = await api.patch(f"{base}/services/plain", {"spec": {"type": "LoadBalancer"}}, code=403)
    assert refused["message"] == (
        'services "plain" is forbidden: exceeded quota: things, requested: services.nodeports=2, '
        "used: services.nodeports=2, limited: services.nodeports=2"
    )
    claim = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}}},
    }  # fmt: skip
    await api.create(f"{base}/persistentvolumeclaims", claim)
    claim["metadata"] = {"name": "d"}
    assert (
        f"exceeded quota: things, requested: {gold}=2Gi, used: {gold}=2Gi, limited: {gold}=3Gi"
        in ((await api.create(f"{base}/persistentvolumeclaims", claim, code=403))["message"])
    )
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await api.create(apps, deployment)
    deployment["metadata"] = {"name": "e"}
    assert "count/deployments.apps=1" in (await api.create(apps, deployment, code=403))["message"]
    for kind in ("configmaps", "secrets"):
        await api.create(f"{base}/{kind}", {"metadata": {"name": "one"}})
        await api.create(f"{base}/{kind}", {"metadata": {"name": "two"}}, code=403)
    used = (await api.get(path))["status"]["used"]
    assert used == {
        "services.nodeports": "2", "services.loadbalancers": "0", "requests.storage": "2Gi", gold: "2Gi",
        "persistentvolumeclaims": "1", "count/deployments.apps": "1", "configmaps": "1", "count/secrets": "1",
    }  # fmt: skip


async def test_scopes_choose_the_pods_that_count(api: Api, namespace: str) -> None:
    best = await quota(api, namespace, "best", {"pods": "1"}, scopes=["BestEffort"])
    rest = await quota(api, namespace, "rest", {"pods": "1", "requests.cpu": "1"}, scopes=["NotBestEffort"])
    ending = await quota(
        api, namespace, "ending", {"pods": "9"},
        scopeSelector={"matchExpressions": [{"scopeName": "Terminating", "operator": "Exists"}]},
    )  # fmt: skip
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("idle", activeDeadlineSeconds=60))
    await api.create(pods, pod("busy", {"requests": {"cpu": "1"}}))
    for path, used in ((best, {"pods": "1"}), (rest, {"pods": "1", "requests.cpu": "1"}), (ending, {"pods": "1"})):
        assert (await api.get(path))["status"]["used"] == used
    assert "exceeded quota: best" in (await api.create(pods, pod("more"), code=403))["message"]


async def test_a_quota_that_was_not_counted_yet_refuses(api: Api, namespace: str) -> None:
    path = await quota(api, namespace, "fresh", {"pods": "1"})
    made = await api.get(path)
    made["status"]["used"] = {}
    written = await api.call("PUT", f"{path}/status", made)

    async def cached() -> bool:
        found = await api.get(path, resourceVersion="0")
        return bool(found["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"])

    await until("the empty count is seen", cached)
    refused = await api.create(f"/api/v1/namespaces/{namespace}/pods", pod("a"), code=403)
    assert refused["message"] == 'pods "a" is forbidden: status unknown for quota: fresh, resources: pods'


@pytest.fixture(scope="module")
def neighbour(server: ApiServer) -> Iterator[ApiServer]:
    """A second API server on the same store."""
    other = ApiServer(server.folder / "neighbour", server.store, server.pki, *server.flags)
    try:
        other.start()
        yield other
    finally:
        other.stop()


async def test_many_writers_at_two_servers_never_exceed_a_quota(api: Api, namespace: str, neighbour: ApiServer) -> None:
    path = await quota(api, namespace, "tight", {"configmaps": "17", "count/configmaps": "40"})
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    async with http_client(neighbour, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        other = Api(client)

        async def there() -> bool:
            response = await other.http.get(path, params={"resourceVersion": "0"})
            return response.status_code == 200 and "used" in response.json().get("status", {})

        await until("the other server knows the quota", there)
        answers = await asyncio.gather(
            *(
                one.http.post(maps, json={"metadata": {"name": f"m{i}"}})
                for i, one in enumerate((api, other) * 30)
            )
        )  # fmt: skip
    codes = [answer.status_code for answer in answers]
    assert codes.count(201) == 17, sorted(set(codes))
    assert codes.count(403) == 43
    listed = await api.get(maps)
    assert len(listed["items"]) == 17
    assert (await api.get(path))["status"]["used"] == {"configmaps": "17", "count/configmaps": "17"}


# --- limit ranges -----------------------------------------------------------------------------------------------


async def test_a_limit_range_fills_in_and_notes_what_it_did(api: Api, namespace: str) -> None:
    await limits(
        api, namespace,
        {"type": "Container", "default": {"cpu": "500m", "memory": "64Mi"}, "defaultRequest": {"cpu": "100m"}},
    )  # fmt: skip
    wanted = pod("a", initContainers=[{"name": "i", "image": "i", "resources": {"requests": {"cpu": "1m"}}}])
    made = await api.create(f"/api/v1/namespaces/{namespace}/pods", wanted)
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "64Mi"},
        "requests": {"cpu": "100m", "memory": "64Mi"},
    }
    assert made["spec"]["initContainers"][0]["resources"]["requests"] == {"cpu": "1m", "memory": "64Mi"}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c; "
        "memory request for init container i; cpu, memory limit for init container i"
    )
    assert made["status"]["qosClass"] == "Burstable"


@pytest.mark.parametrize(
    ("item", "resources", "text"),
    [
        ({"max": {"cpu": "1"}}, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}},
         "[maximum cpu usage per Container is 1, but limit is 2]"),
        ({"min": {"memory": "10Mi"}}, {"requests": {"memory": "1Mi"}},
         "[minimum memory usage per Container is 10Mi, but request is 1Mi]"),
        ({"type": "Pod", "min": {"memory": "1Mi"}}, {}, "[minimum memory usage per Pod is 1Mi.  No request is specified]"),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
         "[cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000]"),
        ({"max": {"cpu": "1"}, "min": {"cpu": "500m"}}, {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}},
         "[minimum cpu usage per Container is 500m, but request is 100m, maximum cpu usage per Container is 1, but limit is 2]"),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}},
         "[maximum memory usage per Pod is 1Gi, but limit is 2Gi]"),
    ],
)  # fmt: skip
async def test_a_limit_range_bounds_pods(api: Api, namespace: str, item: Object, resources: Object, text: str) -> None:
    await limits(api, namespace, {"type": "Container", **item})
    refused = await api.create(f"/api/v1/namespaces/{namespace}/pods", pod("a", resources), code=403)
    inner = text[1:-1]
    shown = text if ", maximum" in inner and inner.startswith("minimum") else inner
    assert refused["message"] == f'pods "a" is forbidden: {shown}'


async def test_a_limit_range_bounds_claims(api: Api, namespace: str) -> None:
    await limits(
        api, namespace, {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}
    )
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    for size, text in (
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("3Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
    ):
        claim = {
            "metadata": {"name": "c"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        }
        refused = await api.create(claims, claim, code=403)
        assert refused["message"] == f'persistentvolumeclaims "c" is forbidden: {text}'


# --- Pod Security -----------------------------------------------------------------------------------------------


async def label(api: Api, namespace: str, code: int = 200, **labels: str) -> Any:
    """Sets Pod Security labels; gives the answer."""
    body = {"metadata": {"labels": {f"pod-security.kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()}}}
    headers = {"content-type": "application/merge-patch+json"}
    answer = await api.http.patch(f"/api/v1/namespaces/{namespace}", json=body, headers=headers)
    assert answer.status_code == code, answer.text

    async def cached() -> bool:
        found = await api.get(f"/api/v1/namespaces/{namespace}", resourceVersion="0")
        return bool(found["metadata"]["resourceVersion"] == answer.json()["metadata"]["resourceVersion"])

    if code == 200:
        await until("the labels are seen", cached)
    return answer


async def test_a_namespace_enforces_its_standard(api: Api, namespace: str) -> None:
    await label(api, namespace, enforce="restricted", enforce_version="v1.32")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    refused = await api.create(pods, pod("a"), code=403)
    assert refused["message"] == (
        'pods "a" is forbidden: violates PodSecurity "restricted:v1.32": allowPrivilegeEscalation != false (container "c" '
        'must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set '
        'securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set '
        'securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    generated = pod("")
    generated["metadata"] = {"generateName": "gen-"}
    message = (await api.create(pods, generated, code=403))["message"]
    assert re.match(r'pods "gen-\w{5}" is forbidden: violates PodSecurity', message), "the generated name is told"


async def test_workloads_are_warned_of_not_refused(api: Api, namespace: str, kubectl: Kubectl) -> None:
    await label(api, namespace, enforce="baseline")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x", hostNetwork=True)["spec"]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    answer = await api.http.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=body)
    assert answer.status_code == 201
    text = 'would violate PodSecurity \\"baseline:latest\\": host namespaces (hostNetwork=true)'
    assert answer.headers["warning"] == f'299 - "{text}"'
    printed = kubectl("delete", "deployment", "d", "-n", namespace)
    assert "deleted" in printed


async def test_new_labels_are_checked_against_the_pods_that_are_there(api: Api, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for name in ("b", "a", "c"):
        await api.create(pods, pod(name, hostPID=name != "c", hostIPC=name == "c"))
    await until("the pods are seen", lambda: _count(api, pods, 3))
    answer = await label(api, namespace, enforce="baseline")
    assert answer.headers.get_list("warning") == [
        f'299 - "existing pods in namespace \\"{namespace}\\" violate the new PodSecurity enforce level \\"baseline:latest\\""',
        '299 - "a (and 2 other pods): host namespaces"',
    ]
    wrong = await label(api, namespace, code=422, enforce="strict", warn_version="1.2")
    assert wrong.json()["message"] == (
        f'Namespace "{namespace}" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: "
        'Invalid value: "1.2": must be "latest" or "v1.x"]'
    )


async def _count(api: Api, path: str, count: int) -> bool:
    return len((await api.get(path, resourceVersion="0"))["items"]) == count


# --- classes ----------------------------------------------------------------------------------------------------


async def test_claims_and_ingresses_get_the_default_class(api: Api, namespace: str) -> None:
    await api.create(
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "metadata": {"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "example.com/p",
        },
    )
    await api.create(
        "/apis/networking.k8s.io/v1/ingressclasses",
        {
            "metadata": {"name": "ing", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "example.com/c"},
        },
    )
    try:
        await seen(api, "/apis/storage.k8s.io/v1/storageclasses/std")
        await seen(api, "/apis/networking.k8s.io/v1/ingressclasses/ing")
        claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = await api.create(claims, {"metadata": {"name": "a"}, "spec": spec})
        assert made["spec"]["storageClassName"] == "std"
        assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        none = await api.create(claims, {"metadata": {"name": "b"}, "spec": {**spec, "storageClassName": ""}})
        assert none["spec"]["storageClassName"] == ""
        grown = await api.patch(f"{claims}/a", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, code=422)
        assert grown["details"]["causes"][0]["field"] == "spec"
        ingress = {
            "metadata": {"name": "i"},
            "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
        }
        ingresses = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"
        assert (await api.create(ingresses, ingress))["spec"]["ingressClassName"] == "ing"
    finally:
        await api.call("DELETE", "/apis/storage.k8s.io/v1/storageclasses/std")
        await api.call("DELETE", "/apis/networking.k8s.io/v1/ingressclasses/ing")


async def test_a_runtime_class_adds_its_overhead_and_nodes(api: Api, namespace: str) -> None:
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    tolerations = [{"key": "sandbox", "operator": "Exists"}]
    await api.create(
        classes,
        {
            "metadata": {"name": namespace},
            "handler": "kata",
            "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"sandbox": "yes"}, "tolerations": tolerations},
        },
    )
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = await api.create(pods, pod("a", runtimeClassName=namespace, nodeSelector={"disk": "ssd"}))
    assert made["spec"]["overhead"] == {"cpu": "250m"}
    assert made["spec"]["nodeSelector"] == {"disk": "ssd", "sandbox": "yes"}
    assert tolerations[0] in made["spec"]["tolerations"]
    missing = await api.create(pods, pod("b", runtimeClassName="nope"), code=403)
    assert missing["message"] == 'pods "b" is forbidden: pod rejected: RuntimeClass "nope" not found'
    clash = await api.create(pods, pod("c", runtimeClassName=namespace, nodeSelector={"sandbox": "no"}), code=403)
    assert clash["message"] == (
        'pods "c" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes; '
        "pod.spec.nodeSelector[sandbox] = no"
    )
    own = await api.create(pods, pod("d", overhead={"cpu": "1"}), code=403)
    assert own["message"].endswith("Pod Overhead set without corresponding RuntimeClass defined Overhead")


# --- priorities -------------------------------------------------------------------------------------------------


async def test_a_pod_takes_its_priority_from_its_class(api: Api, namespace: str) -> None:
    classes, pods = "/apis/scheduling.k8s.io/v1/priorityclasses", f"/api/v1/namespaces/{namespace}/pods"
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 7}
    name = f"{namespace}-first"
    await api.create(classes, {**kind, "metadata": {"name": name}, "globalDefault": True, "preemptionPolicy": "Never"})
    await seen(api, f"{classes}/{name}")
    try:
        second = await api.create(classes, {**kind, "metadata": {"name": "second"}, "globalDefault": True}, code=403)
        assert second["message"].endswith(
            f"PriorityClass {name} is already marked as default. Only one default can exist"
        )
        spec = (await api.create(pods, pod("plain")))["spec"]
        assert (spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]) == (name, 7, "Never")
        wrong = await api.create(pods, pod("wrong", preemptionPolicy="PreemptLowerPriority"), code=403)
        assert wrong["message"] == (
            'pods "wrong" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided '
            "in pod spec; priority admission controller computed Never from the given PriorityClass name"
        )
    finally:
        await api.call("DELETE", f"{classes}/{name}")
