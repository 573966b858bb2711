"""kill -9 of any one process: the cluster recovers by itself, and its pods never notice."""

import signal
import urllib.request

import pytest

from tests.e2e.running import Running, deployment, eventually, node_port_service

pytestmark = [pytest.mark.cluster, pytest.mark.root]

PROCESSES = (
    "etcd-0",
    "apiserver-0",
    "scheduler",
    "controllers",
    "kubelet-node-1",
    "proxy-node-1",
    "supervisor",
    "guard",
)


def address_of(cluster: Running, service: str) -> str:
    from cluster.spec import Spec

    port = cluster.get("service", service)["spec"]["ports"][0]["nodePort"]
    return f"http://{Spec.load(cluster.home).node_address('node-1')}:{port}/"


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return str(answer.read().decode().strip())


def restarts(cluster: Running) -> dict[str, tuple[str, int]]:
    """Pod -> (its first container's id, restart count)."""
    return {
        pod["metadata"]["name"]: (status["containerID"], status["restartCount"])
        for pod in cluster.get("pods", "-l", "app=web")["items"]
        for status in pod["status"]["containerStatuses"]
    }


def test_whichever_process_is_killed_the_cluster_recovers_by_itself(two_nodes: Running) -> None:
    cluster = two_nodes
    cluster.apply(deployment("web", 2), node_port_service("web"))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout=90)
    url = address_of(cluster, "web")
    eventually(lambda: page(url), "the Service answers")
    before = restarts(cluster)
    for round_number, name in enumerate(PROCESSES):
        killed = cluster.record(name)
        killed.kill(signal.SIGKILL)
        eventually(
            lambda name=name, killed=killed: cluster.record(name).pid != killed.pid, f"{name} is started again", 20
        )
        eventually(cluster.healthy, f"all is well after {name} was killed", 60)
        # Every component takes part in a change: store, API server, controllers, scheduler, kubelet.
        wanted = 3 if round_number % 2 == 0 else 2
        cluster.kubectl("scale", "deployment/web", f"--replicas={wanted}")
        eventually(
            lambda wanted=wanted: (
                cluster.get("deployment", "web")["status"].get("availableReplicas") == wanted
                and len(cluster.get("pods", "-l", "app=web")["items"]) == wanted
            ),
            f"{wanted} replicas after {name} was killed",
        )
        eventually(lambda: page(url), f"the Service answers after {name} was killed", 20)
    survivors = {name: seen for name, seen in restarts(cluster).items() if name in before}
    assert survivors, "scaling down takes the youngest pods first"
    for name, seen in survivors.items():
        assert seen == before[name], f"the container of {name} was restarted"
    cluster.kubectl("delete", "deployment,service", "web", "--wait=true")


def test_writes_go_on_after_the_leader_of_three_store_members_is_killed(cluster: Running) -> None:
    cluster.up("--etcd", "3", "--apiservers", "2")
    for number in range(3):
        # Whoever leads: each member is killed once, so the leader is among them.
        name = f"etcd-{number}"
        killed = cluster.record(name)
        killed.kill(signal.SIGKILL)
        eventually(
            lambda number=number: (
                cluster.kubectl_run("create", "configmap", f"after-{number}", check=False).returncode == 0
            ),
            f"a write after {name} was killed",
            20,
        )
        eventually(cluster.healthy, f"{name} is back", 60)
    assert {f"after-{n}" for n in range(3)} <= {c["metadata"]["name"] for c in cluster.get("configmaps")["items"]}
