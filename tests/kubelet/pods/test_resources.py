from typing import Any

from kubelet.pods.resources import linux_resources, oom_score_adj, pod_requests, qos_class
from tests.kubelet.making import container, pod

Object = dict[str, Any]
MEMORY = 10 << 30


def asking(name: str = "c", limits: Object | None = None, **requests: str) -> Object:
    return container(name, resources={"requests": requests, "limits": limits or {}})


def test_cpu_and_memory_become_shares_quota_and_bytes() -> None:
    wanted = asking(limits={"cpu": "500m", "memory": "64Mi"}, cpu="250m")
    found = linux_resources(pod(wanted), wanted, MEMORY)
    assert (found.cpu_shares, found.cpu_quota, found.cpu_period) == (256, 50_000, 100_000)
    assert found.memory_limit_in_bytes == 64 << 20


def test_without_a_request_the_limit_is_requested_and_without_both_the_least() -> None:
    limited, free = asking(limits={"cpu": "2"}), container()
    assert linux_resources(pod(limited), limited, MEMORY).cpu_shares == 2048
    found = linux_resources(pod(free), free, MEMORY)
    assert (found.cpu_shares, found.cpu_quota, found.memory_limit_in_bytes) == (2, 0, 0)


def test_quality_of_service_decides_who_dies_first() -> None:
    guaranteed = asking(limits={"cpu": "1", "memory": "1Gi"})
    burstable = asking(memory="5Gi")
    assert qos_class(pod(guaranteed)) == "Guaranteed"
    assert qos_class(pod(burstable)) == "Burstable"
    assert qos_class(pod()) == "BestEffort"
    assert oom_score_adj(pod(guaranteed), guaranteed, MEMORY) == -997
    assert oom_score_adj(pod(burstable), burstable, MEMORY) == 500
    assert oom_score_adj(pod(), container(), MEMORY) == 1000
    tiny = asking(memory="1Mi")
    assert oom_score_adj(pod(tiny), tiny, MEMORY) == 999
    assert oom_score_adj(pod(priority=2_000_001_000), container(), MEMORY) == -997


def test_a_pod_reserves_what_runs_together_or_its_greediest_step() -> None:
    sidecar = {**asking("s", cpu="100m"), "restartPolicy": "Always"}
    of = pod(asking("a", cpu="200m"), asking("b", cpu="300m"), init=[asking("i", cpu="1")])
    assert pod_requests(of)["cpu"] == 1000
    assert pod_requests(pod(asking("a", cpu="200m"), init=[sidecar]))["cpu"] == 300
    assert pod_requests(pod(asking("a", cpu="200m"), init=[sidecar, asking("i", cpu="1")]))["cpu"] == 1100
    assert pod_requests(pod(asking("a", cpu="1"), overhead={"cpu": "50m"}))["cpu"] == 1050
