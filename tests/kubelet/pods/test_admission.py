from typing import Any

import pytest

from kubelet.pods.admission import refuse
from tests.kubelet.making import container, pod

Object = dict[str, Any]


def node(taints: list[Object] | None = None, **allocatable: str) -> Object:
    return {
        "metadata": {"name": "n1", "labels": {"disk": "ssd", "size": "3"}},
        "spec": {"taints": taints or []},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3", **allocatable}},
    }


def asking(cpu: str, name: str = "web") -> Object:
    return pod(container(resources={"requests": {"cpu": cpu}}), name=name)


def test_a_pod_that_fits_is_taken() -> None:
    assert refuse(asking("500m"), node(), [asking("1", "other")]) is None


def test_too_much_cpu_is_out_of_cpu_in_upstreams_words() -> None:
    assert refuse(asking("1500m"), node(), [asking("1", "other")]) == (
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
    )


def test_too_many_pods_are_out_of_pods() -> None:
    refusal = refuse(pod(), node(), [pod(name=str(i)) for i in range(3)])
    assert refusal == ("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3")


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        ([{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]}], True),
        ([{"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}], False),
        ([{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["2"]}]}], True),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}], False),
        ([{}, {"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}], True),
        ([{}], False),
    ],
)
def test_node_affinity_has_to_hold(terms: list[Object], fits: bool) -> None:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    refusal = refuse(pod(affinity={"nodeAffinity": required}), node(), [])
    assert (refusal is None) == fits
    if refusal:
        assert refusal[0] == "NodeAffinity"


def test_a_node_selector_has_to_hold() -> None:
    assert refuse(pod(nodeSelector={"disk": "ssd"}), node(), []) is None
    assert refuse(pod(nodeSelector={"disk": "hdd"}), node(), []) is not None


def test_only_no_execute_taints_keep_a_bound_pod_away() -> None:
    hard = [{"key": "k", "value": "v", "effect": "NoExecute"}]
    assert refuse(pod(), node([{"key": "k", "effect": "NoSchedule"}]), []) is None
    refusal = refuse(pod(), node(hard), [])
    assert refusal is not None
    assert refusal[0] == "TaintToleration"
    for toleration in ({"operator": "Exists"}, {"key": "k", "value": "v"}, {"key": "k", "operator": "Exists"}):
        assert refuse(pod(tolerations=[toleration]), node(hard), []) is None
    assert refuse(pod(tolerations=[{"key": "k", "value": "other"}]), node(hard), []) is not None


def test_host_ports_are_taken_once() -> None:
    def port(**fields: Any) -> Object:
        return pod(container(ports=[{"containerPort": 80, "hostPort": 8080, **fields}]))

    refusal = refuse(port(), node(), [port()])
    assert refusal is not None
    assert refusal[0] == "NodePorts"
    assert refuse(port(), node(), [port(protocol="UDP")]) is None
    assert refuse(port(hostIP="10.0.0.1"), node(), [port(hostIP="10.0.0.2")]) is None
    assert refuse(port(hostIP="10.0.0.1"), node(), [port()]) is not None
