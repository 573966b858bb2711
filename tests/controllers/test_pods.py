from typing import Any

import pytest

from apimachinery import meta
from controllers import pods
from tests.controllers.objects import NOW, pod, replica_set, stamp, template


def order(*candidates: dict[str, Any]) -> list[str]:
    return [meta.name(p) for p in pods.deletion_order(candidates, candidates, NOW)]


def test_pods_that_would_be_missed_least_go_first() -> None:
    found = order(
        pod("old", age=100_000, ready_for=90_000),
        pod("young", age=100, ready_for=50),
        pod("restarting", age=100_000, ready_for=90_000, restarts=5),
        pod("cheap", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"}),
        pod("unready", ready=False),
        pod("pending", phase="Pending", ready=False),
        pod("unscheduled", phase="Pending", ready=False, node=""),
    )
    assert found == ["unscheduled", "pending", "unready", "cheap", "young", "restarting", "old"]


def test_of_two_on_one_node_one_goes_before_the_only_one_of_another() -> None:
    found = order(pod("a", node="node-1"), pod("b", node="node-2"), pod("c", node="node-1"))
    assert found[-1] == "b"


@pytest.mark.parametrize(
    ("text", "cost"), [("10", 10), ("-3", -3), ("0", 0), ("01", 0), ("1.5", 0), ("", 0), ("9999999999", 0)]
)
def test_a_deletion_cost_is_a_plain_32_bit_integer(text: str, cost: int) -> None:
    assert pods.deletion_cost(pod(annotations={pods.DELETION_COST: text})) == cost


def test_a_pod_is_available_once_it_has_been_ready_for_long_enough() -> None:
    found = pod(ready_for=30)
    assert pods.is_available(found, 30, NOW)
    assert not pods.is_available(found, 31, NOW)
    assert not pods.is_available(pod(ready=False), 0, NOW)


def test_a_pod_from_a_template_belongs_to_its_owner() -> None:
    owner = replica_set()
    source = template()
    source["metadata"].update(annotations={"a": "b"}, finalizers=["x/y"], creationTimestamp=stamp())
    made = pods.from_template(source, owner)
    assert made["metadata"] == {
        "generateName": "web-abc-",
        "namespace": "shop",
        "labels": {"app": "web"},
        "annotations": {"a": "b"},
        "finalizers": ["x/y"],
        "ownerReferences": [meta.controller_reference(owner)],
    }
    assert made["spec"] == source["spec"]
