"""The loops at work together, over real sockets: what users see of them."""

import asyncio
import copy
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from apimachinery import meta
from controllers.nodehealth import UNREACHABLE
from kubeclient import ApiError, Client
from tests.apiserver.harness import ApiServer
from tests.controllers.conftest import NODES, Manager
from tests.controllers.hollow import Hollow

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("hollow")

SECONDS = 60.0


async def eventually(what: str, condition: Callable[[], Awaitable[Any]]) -> Any:
    """The first true value of ``condition``; a missing object counts as not yet."""
    deadline = time.monotonic() + SECONDS
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = await condition()
            if last:
                return last
        except ApiError as error:
            if not error.not_found:
                raise
            last = error
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what}: not within {SECONDS:g} s (last: {last})")


async def namespace(client: Client, name: str) -> str:
    """A fresh namespace in which pods may be created."""
    await client.resource("v1", "namespaces").create({"metadata": {"name": name}})
    accounts = client.resource("v1", "serviceaccounts")
    await eventually(f"ServiceAccount of {name}", lambda: accounts.get("default", name))
    return name


def template(app: str, image: str = "img:1", **spec: Any) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def workload(kind: str, name: str, where: str, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": where},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name), **spec},
    }


async def pods_of(client: Client, where: str, app: str) -> list[Object]:
    found = await client.resource("v1", "pods").list(where, label_selector=f"app={app}")
    return [p for p in found["items"] if not meta.is_deleting(p)]


async def rolled_out(client: Client, where: str, name: str, replicas: int) -> Object:
    deployments = client.resource("apps/v1", "deployments")

    async def done() -> Object | None:
        found = await deployments.get(name, where)
        status, generation = found.get("status") or {}, found["metadata"]["generation"]
        fields = ("replicas", "updatedReplicas", "availableReplicas")
        settled = all((status.get(f) or 0) == replicas for f in fields)
        return found if settled and status.get("observedGeneration") == generation else None

    found: Object = await eventually(f"rollout of {name}", done)
    return found


async def test_namespaces_get_an_account_and_the_root_certificate(client: Client) -> None:
    where = await namespace(client, "equipped")
    maps = client.resource("v1", "configmaps")
    published = await eventually("the root certificate", lambda: maps.get("kube-root-ca.crt", where))
    assert published["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    await maps.patch("kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, where)

    async def repaired() -> bool:
        return (await maps.get("kube-root-ca.crt", where))["data"] == published["data"]

    await eventually("the certificate is put right", repaired)


async def test_every_node_gets_a_piece_of_the_pod_network_and_no_two_the_same(client: Client) -> None:
    nodes = client.resource("v1", "nodes")

    async def assigned() -> list[str] | None:
        found = [n["spec"].get("podCIDR") for n in (await nodes.list())["items"] if meta.name(n) in NODES]
        return found if len(found) == len(NODES) and all(found) else None

    pieces = await eventually("pod CIDRs", assigned)
    assert len(set(pieces)) == len(NODES)
    assert all(p.startswith("10.244.") and p.endswith("/24") for p in pieces)


async def test_a_deployment_rolls_heals_scales_and_keeps_its_history(client: Client) -> None:
    where = await namespace(client, "rolling")
    deployments, sets = client.resource("apps/v1", "deployments"), client.resource("apps/v1", "replicasets")
    await deployments.create(workload("Deployment", "web", where, replicas=3))
    await rolled_out(client, where, "web", 3)
    (first,) = (await sets.list(where))["items"]

    victim = (await pods_of(client, where, "web"))[0]
    await client.resource("v1", "pods").delete(meta.name(victim), where)

    async def replaced() -> bool:
        names = {meta.name(p) for p in await pods_of(client, where, "web")}
        return len(names) == 3 and meta.name(victim) not in names

    await eventually("a replacement", replaced)
    await deployments.patch("web", {"spec": {"replicas": 5}}, where)
    await rolled_out(client, where, "web", 5)

    await deployments.patch("web", {"spec": {"template": template("web", "img:2")}}, where)
    found = await rolled_out(client, where, "web", 5)
    assert meta.annotations(found)["deployment.kubernetes.io/revision"] == "2"
    images = {p["spec"]["containers"][0]["image"] for p in await pods_of(client, where, "web")}
    assert images == {"img:2"}
    by_name = {meta.name(rs): rs for rs in (await sets.list(where))["items"]}
    assert len(by_name) == 2
    assert by_name[meta.name(first)]["spec"]["replicas"] == 0


async def test_services_follow_their_pods_in_both_forms_of_endpoints(client: Client, hollow: Hollow) -> None:
    where = await namespace(client, "serving")
    services, slices = client.resource("v1", "services"), client.resource("discovery.k8s.io/v1", "endpointslices")
    await services.create(
        {
            "metadata": {"name": "web", "namespace": where},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
    )
    await client.resource("apps/v1", "deployments").create(workload("Deployment", "web", where, replicas=3))
    await rolled_out(client, where, "web", 3)

    async def shown() -> tuple[set[str], set[str]]:
        listed = await slices.list(where, label_selector="kubernetes.io/service-name=web")
        in_slices = {a for s in listed["items"] for e in s["endpoints"] or () for a in e["addresses"]}
        endpoints = await client.resource("v1", "endpoints").get("web", where)
        return in_slices, {a["ip"] for s in endpoints.get("subsets") or () for a in s.get("addresses") or ()}

    async def complete() -> bool:
        ips = {p["status"].get("podIP") for p in await pods_of(client, where, "web")}
        return len(ips) == 3 and await shown() == (ips, ips)

    await eventually("three endpoints", complete)
    await client.resource("apps/v1", "deployments").patch("web", {"spec": {"replicas": 1}}, where)

    async def shrunk() -> bool:
        in_slices, in_endpoints = await shown()
        return len(in_slices) == 1 and in_slices == in_endpoints

    await eventually("one endpoint", shrunk)
    await services.delete("web", where)

    async def gone() -> bool:
        return (
            not (await slices.list(where))["items"]
            and not (await client.resource("v1", "endpoints").list(where))["items"]
        )

    await eventually("no endpoints without a Service", gone)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_what_a_deployment_owns_goes_with_it(client: Client, policy: str) -> None:
    where = await namespace(client, f"cascade-{policy.lower()}")
    deployments, sets = client.resource("apps/v1", "deployments"), client.resource("apps/v1", "replicasets")
    await deployments.create(workload("Deployment", "web", where, replicas=2))
    await rolled_out(client, where, "web", 2)
    await deployments.delete("web", where, propagation_policy=policy)

    async def deployment_gone() -> bool:
        return not (await deployments.list(where))["items"]

    await eventually("the Deployment is gone", deployment_gone)
    if policy == "Foreground":
        assert not (await sets.list(where))["items"], "in the foreground the owner goes last"

    async def all_gone() -> bool:
        return not (await sets.list(where))["items"] and not await pods_of(client, where, "web")

    await eventually("all it owned is gone", all_gone)


async def test_orphans_stay_and_are_adopted_by_the_next_owner(client: Client) -> None:
    where = await namespace(client, "orphans")
    deployments, sets = client.resource("apps/v1", "deployments"), client.resource("apps/v1", "replicasets")
    wanted = workload("Deployment", "web", where, replicas=2)
    await deployments.create(copy.deepcopy(wanted))
    await rolled_out(client, where, "web", 2)
    before = {meta.uid(p) for p in await pods_of(client, where, "web")}
    await deployments.delete("web", where, propagation_policy="Orphan")

    async def orphaned() -> bool:
        (rs,) = (await sets.list(where))["items"]
        return not meta.owner_references(rs) and not (await deployments.list(where))["items"]

    await eventually("the ReplicaSet has no owner", orphaned)
    created = await deployments.create(wanted)

    async def adopted() -> bool:
        (rs,) = (await sets.list(where))["items"]
        return meta.is_controlled_by(rs, created)

    await eventually("the ReplicaSet is adopted", adopted)
    await rolled_out(client, where, "web", 2)
    assert {meta.uid(p) for p in await pods_of(client, where, "web")} == before


async def test_a_dependent_of_an_owner_that_never_was_is_collected(client: Client) -> None:
    where = await namespace(client, "dangling")
    maps = client.resource("v1", "configmaps")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "0-1-2-3"}
    await maps.create({"metadata": {"name": "child", "namespace": where, "ownerReferences": [owner]}})

    async def gone() -> bool:
        return "child" not in {meta.name(m) for m in (await maps.list(where))["items"]}

    await eventually("the dependent is gone", gone)


async def test_a_deleted_namespace_takes_everything_along(client: Client) -> None:
    where = await namespace(client, "doomed")
    await client.resource("apps/v1", "deployments").create(workload("Deployment", "web", where, replicas=3))
    await rolled_out(client, where, "web", 3)
    namespaces, maps = client.resource("v1", "namespaces"), client.resource("v1", "configmaps")
    kept = {"metadata": {"name": "kept", "namespace": where, "finalizers": ["example.com/wait"]}}
    await maps.create(kept)
    await namespaces.delete(where)

    async def explained() -> bool:
        condition = meta.get_condition(await namespaces.get(where), "NamespaceFinalizersRemaining")
        return condition is not None and "example.com/wait in 1 resource instances" in condition["message"]

    await eventually("the conditions name the finalizer", explained)
    await maps.patch("kept", {"metadata": {"finalizers": None}}, where)

    async def gone() -> bool:
        return where not in {meta.name(n) for n in (await namespaces.list())["items"]}

    await eventually("the namespace is gone", gone)


async def test_a_statefulset_starts_its_pods_one_after_the_other(client: Client) -> None:
    where = await namespace(client, "stateful")
    sets = client.resource("apps/v1", "statefulsets")
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    wanted = workload("StatefulSet", "db", where, replicas=3, serviceName="db", volumeClaimTemplates=[claim])
    await sets.create(wanted)

    async def ready() -> bool:
        return (await sets.get("db", where))["status"].get("readyReplicas") == 3

    await eventually("three ready pods", ready)
    found = sorted(await pods_of(client, where, "db"), key=meta.name)
    assert [meta.name(p) for p in found] == ["db-0", "db-1", "db-2"]
    revisions = [int(p["metadata"]["creationTimestamp"].replace(":", "")[-7:-1]) for p in found]
    assert revisions == sorted(revisions)
    claims = (await client.resource("v1", "persistentvolumeclaims").list(where))["items"]
    assert sorted(map(meta.name, claims)) == ["data-db-0", "data-db-1", "data-db-2"]


async def test_a_daemonset_runs_one_pod_on_each_node_that_fits(client: Client) -> None:
    where = await namespace(client, "daemons")
    sets, nodes = client.resource("apps/v1", "daemonsets"), client.resource("v1", "nodes")
    await nodes.patch("node-a", {"metadata": {"labels": {"disk": "fast"}}})
    await nodes.patch("node-b", {"metadata": {"labels": {"disk": "fast"}}})
    wanted = workload("DaemonSet", "agent", where)
    wanted["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    await sets.create(wanted)

    async def targets() -> set[str]:
        found = await pods_of(client, where, "agent")
        return {
            p["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
                "nodeSelectorTerms"
            ][0]["matchFields"][0]["values"][0]
            for p in found
        }

    async def on(*names: str) -> bool:
        return await targets() == set(names)

    await eventually("pods for both nodes", lambda: on("node-a", "node-b"))
    await nodes.patch("node-b", {"metadata": {"labels": {"disk": None}}})
    await eventually("the pod on the relabelled node is gone", lambda: on("node-a"))


async def test_a_job_counts_every_success_once(client: Client) -> None:
    where = await namespace(client, "jobs")
    jobs = client.resource("batch/v1", "jobs")
    body = {
        "metadata": {"name": "many", "namespace": where},
        "spec": {
            "completions": 7,
            "parallelism": 3,
            "completionMode": "Indexed",
            "template": template("many", restartPolicy="Never"),
        },
    }
    await jobs.create(body)

    async def complete() -> Object | None:
        job = await jobs.get("many", where)
        return job if meta.condition_is_true(job, "Complete") else None

    job = await eventually("the Job is complete", complete)
    assert (job["status"]["succeeded"], job["status"]["completedIndexes"]) == (7, "0-6")
    found = await pods_of(client, where, "many")
    assert len(found) == 7

    async def released() -> bool:
        return not any(meta.finalizers(p) for p in await pods_of(client, where, "many"))

    await eventually("all pods lost their finalizer", released)


async def test_a_job_that_fails_too_often_says_why(client: Client) -> None:
    where = await namespace(client, "failing")
    jobs = client.resource("batch/v1", "jobs")
    spec = {"backoffLimit": 0, "template": template("bad", "fail:3", restartPolicy="Never")}
    await jobs.create({"metadata": {"name": "bad", "namespace": where}, "spec": spec})

    async def failed() -> Object | None:
        return meta.get_condition(await jobs.get("bad", where), "Failed")

    condition = await eventually("the Job has failed", failed)
    assert condition["reason"] == "BackoffLimitExceeded"
    assert len(await pods_of(client, where, "bad")) == 1


async def test_a_silent_node_is_tainted_and_its_pods_move(client: Client, hollow: Hollow) -> None:
    where = await namespace(client, "moving")
    wanted = workload("Deployment", "web", where, replicas=3)
    # Gone as soon as the taint is there, instead of five minutes later.
    wanted["spec"]["template"]["spec"]["tolerations"] = [
        {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    ]
    await client.resource("apps/v1", "deployments").create(wanted)
    await rolled_out(client, where, "web", 3)
    lost = next(p["spec"]["nodeName"] for p in await pods_of(client, where, "web"))
    nodes = client.resource("v1", "nodes")
    hollow.silent.add(lost)
    hollow.exclude(lost)

    async def tainted() -> bool:
        node = await nodes.get(lost)
        effects = {t["effect"] for t in node["spec"].get("taints") or () if t["key"] == UNREACHABLE}
        return effects == {"NoSchedule", "NoExecute"}

    await eventually("the silent node is tainted", tainted)
    ready = meta.get_condition(await nodes.get(lost), "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")

    async def moved() -> bool:
        places = [p["spec"].get("nodeName") for p in await pods_of(client, where, "web")]
        return len(places) == 3 and lost not in places

    await eventually("three pods elsewhere", moved)
    hollow.silent.clear()
    await hollow.set_ready(lost, "True")

    async def healed() -> bool:
        return not (await nodes.get(lost))["spec"].get("taints")

    await eventually("the node is back without taints", healed)


async def test_a_quota_is_counted_charged_and_replenished(client: Client) -> None:
    where = await namespace(client, "rationed")
    quotas, maps = client.resource("v1", "resourcequotas"), client.resource("v1", "configmaps")
    hard = {"pods": "2", "configmaps": "3", "count/deployments.apps": "1", "services": "5"}
    await quotas.create({"metadata": {"name": "q", "namespace": where}, "spec": {"hard": hard}})

    async def used(**wanted: str) -> bool:
        found = (await quotas.get("q", where)).get("status") or {}
        counted = found.get("used") or {}
        return found.get("hard") == hard and all(counted.get(name) == amount for name, amount in wanted.items())

    # The root certificate is a ConfigMap too.
    await eventually("the first count", lambda: used(pods="0", configmaps="1", services="0"))
    await client.resource("apps/v1", "deployments").create(workload("Deployment", "web", where, replicas=3))

    async def as_many_as_allowed() -> bool:
        return len(await pods_of(client, where, "web")) == 2

    await eventually("two of three pods", as_many_as_allowed)
    await eventually("the charge", lambda: used(pods="2", **{"count/deployments.apps": "1"}))
    sets = client.resource("apps/v1", "replicasets")

    async def complaint() -> str:
        (found,) = (await sets.list(where))["items"]
        condition = meta.get_condition(found, "ReplicaFailure") or {}
        return str(condition.get("message") or "")

    assert "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in await eventually(
        "the failure", complaint
    )
    for name in ("a", "b"):
        await maps.create({"metadata": {"name": name, "namespace": where}})
    with pytest.raises(ApiError, match="exceeded quota: q, requested: configmaps=1, used: configmaps=3"):
        await maps.create({"metadata": {"name": "c", "namespace": where}})
    await maps.delete("a", where)
    await eventually("what was deleted is given back", lambda: used(configmaps="2"))
    await maps.create({"metadata": {"name": "c", "namespace": where}})
    await client.resource("apps/v1", "deployments").delete("web", where)
    await eventually("everything is given back", lambda: used(pods="0", **{"count/deployments.apps": "0"}))


async def test_a_claim_in_use_outlives_its_deletion(client: Client) -> None:
    where = await namespace(client, "protected")
    claims, pods = client.resource("v1", "persistentvolumeclaims"), client.resource("v1", "pods")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    for name in ("used", "idle"):
        await claims.create({"metadata": {"name": name, "namespace": where}, "spec": spec})
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "used"}}
    pod = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume]}
    await pods.create({"metadata": {"name": "p", "namespace": where}, "spec": pod})

    async def bound() -> bool:
        return bool((await pods.get("p", where))["spec"].get("nodeName"))

    await eventually("the pod has a node", bound)
    for name in ("used", "idle"):
        await claims.delete(name, where)

    async def left() -> list[str]:
        return [meta.name(c) for c in (await claims.list(where))["items"]]

    async def only_the_used_one() -> bool:
        return await left() == ["used"]

    await eventually("the idle claim goes", only_the_used_one)
    assert meta.is_deleting(await claims.get("used", where))
    await pods.delete("p", where, grace_period_seconds=0)

    async def none() -> bool:
        return not await left()

    await eventually("the claim follows its pod", none)


async def test_when_the_leader_is_killed_another_goes_on(client: Client, server: ApiServer, manager: Manager) -> None:
    leases = client.resource("coordination.k8s.io/v1", "leases")
    before = (await leases.get("kube-controller-manager", "kube-system"))["spec"]["holderIdentity"]
    standby = Manager(server, server.folder / "standby", "standby")
    try:
        manager.stop(signal.SIGKILL)

        async def taken() -> bool:
            lease = await leases.get("kube-controller-manager", "kube-system")
            return lease["spec"].get("holderIdentity") not in ("", before)

        await eventually("the Lease has a new holder", taken)
        where = await namespace(client, "afterwards")
        await client.resource("apps/v1", "deployments").create(workload("Deployment", "web", where, replicas=2))
        await rolled_out(client, where, "web", 2)
    finally:
        standby.stop()
