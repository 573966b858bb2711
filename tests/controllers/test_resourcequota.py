"""How much of a quota there is: counted by kind, and what the loop makes of it."""

from typing import Any

import pytest

from apimachinery.quantity import parse
from apimachinery.resourcequota import Evaluator, evaluators, total
from controllers.resourcequota import is_lower, named_kinds, same, status

Object = dict[str, Any]
NOW = 1_000_000.0
BY_KIND = evaluators(lambda: NOW)


def usage(plural: str, obj: Object) -> dict[str, str]:
    obj = {"metadata": {"name": "x"}, **obj}
    return {name: str(amount) for name, amount in BY_KIND["", plural].usage(obj).items()}


def container(restart: str = "", **requests: str) -> Object:
    policy = {"restartPolicy": restart} if restart else {}
    return {"name": "c", "resources": {"requests": requests}, **policy}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container(cpu="1"), container(cpu="250m")]}, "1250m"),
        ({"containers": [container(cpu="1")], "initContainers": [container(cpu="3"), container(cpu="2")]}, "3"),
        ({"containers": [container(cpu="1")], "initContainers": [container("Always", cpu="1"), container(cpu="2")]}, "3"),
        ({"containers": [container(cpu="1")], "overhead": {"cpu": "100m"}}, "1100m"),
    ],
)  # fmt: skip
def test_a_pod_uses_what_its_hungriest_moment_asks_for(spec: Object, cpu: str) -> None:
    used = usage("pods", {"spec": spec})
    assert used["requests.cpu"] == used["cpu"] == cpu
    assert used["pods"] == used["count/pods"] == "1"


def test_extended_resources_and_huge_pages_count_by_their_requests() -> None:
    spec = {"containers": [container(**{"example.com/gpu": "2", "hugepages-2Mi": "4Mi"})]}
    used = usage("pods", {"spec": spec})
    assert used["requests.example.com/gpu"] == "2"
    assert "example.com/gpu" not in used
    assert used["hugepages-2Mi"] == used["requests.hugepages-2Mi"] == "4Mi"


@pytest.mark.parametrize(
    "gone",
    [
        {"status": {"phase": "Succeeded"}},
        {"metadata": {"name": "x", "deletionTimestamp": "1970-01-12T13:46:00Z", "deletionGracePeriodSeconds": 30}},
    ],
    ids=["over", "stuck in its deletion"],
)
def test_a_pod_that_is_done_is_an_object_but_uses_nothing(gone: Object) -> None:
    assert usage("pods", {"spec": {"containers": [container(cpu="1")]}, **gone}) == {"count/pods": "1"}


def test_a_pod_on_its_way_out_still_counts() -> None:
    metadata = {"name": "x", "deletionTimestamp": "1970-01-12T13:46:30Z", "deletionGracePeriodSeconds": 30}
    assert usage("pods", {"metadata": metadata, "spec": {"containers": []}})["pods"] == "1"


def test_a_resize_counts_the_larger_until_it_is_done() -> None:
    pod = {
        "spec": {"containers": [container(cpu="1")]},
        "status": {"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]},
    }
    assert usage("pods", pod)["requests.cpu"] == "2"


@pytest.mark.parametrize(
    ("selector", "spec", "matches"),
    [
        ({"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}, {"priorityClassName": "a"}, True),
        ({"scopeName": "PriorityClass", "operator": "NotIn", "values": ["a"]}, {"priorityClassName": "a"}, False),
        ({"scopeName": "PriorityClass", "operator": "NotIn", "values": ["a"]}, {}, True),
        ({"scopeName": "PriorityClass", "operator": "DoesNotExist"}, {}, True),
        ({"scopeName": "PriorityClass", "operator": "Exists"}, {}, False),
        ({"scopeName": "Terminating", "operator": "Exists"}, {"activeDeadlineSeconds": 0}, True),
        ({"scopeName": "NotTerminating", "operator": "Exists"}, {"activeDeadlineSeconds": 0}, False),
        (
            {"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"},
            {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": {"namespaceSelector": {}}}]}}},
            True,
        ),
        (
            {"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"},
            {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k"}]}}},
            False,
        ),
    ],
)  # fmt: skip
def test_scopes_take_pods_in_by_their_spec(selector: Object, spec: Object, matches: bool) -> None:
    assert BY_KIND["", "pods"].in_scope(selector, {"metadata": {}, "spec": spec}) is matches


def test_claims_count_in_whole_bytes_and_by_class() -> None:
    spec = {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}}
    assert usage("persistentvolumeclaims", {"spec": spec}) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "2",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "2",
    }


def test_a_load_balancer_without_node_ports_counts_only_those_it_names() -> None:
    ports = [{"port": 1, "nodePort": 30000}, {"port": 2}]
    spec = {"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": False}
    used = usage("services", {"spec": spec})
    assert (used["services.nodeports"], used["services.loadbalancers"]) == ("1", "1")


def test_a_total_has_every_resource_that_the_kind_tracks() -> None:
    quota = {"spec": {"hard": {"pods": "1", "requests.cpu": "1", "count/jobs.batch": "1"}}}
    pods = [{"metadata": {}, "spec": {"containers": [container(cpu="1")]}}] * 3
    used = total(quota, BY_KIND["", "pods"], pods)
    assert {n: str(a) for n, a in used.items()} == {"pods": "3", "requests.cpu": "3"}
    assert {n: str(a) for n, a in total(quota, Evaluator("batch", "jobs"), []).items()} == {"count/jobs.batch": "0"}


def test_the_kinds_that_a_quota_names() -> None:
    hard = {"count/deployments.apps": "1", "count/pods": "1", "secrets": "1", "requests.cpu": "1", "count/events": "1"}
    assert named_kinds(hard) == {("apps", "deployments"), ("", "pods"), ("", "secrets")}


def test_a_status_keeps_what_nobody_could_count_and_drops_what_is_no_longer_limited() -> None:
    quota = {"spec": {"hard": {"pods": "2", "count/x.y": "1"}}, "status": {"used": {"count/x.y": "1", "old": "1"}}}
    fresh = status(quota, {"pods": parse("1"), "cpu": parse("1")})
    assert fresh == {"hard": {"pods": "2", "count/x.y": "1"}, "used": {"count/x.y": "1", "pods": "1"}}
    assert same(fresh, {"hard": {"pods": "2000m", "count/x.y": "1"}, "used": fresh["used"]})
    assert not same(fresh, {"hard": fresh["hard"]})


def test_only_giving_back_waits() -> None:
    assert is_lower({"cpu": "900m", "pods": "3"}, {"cpu": "1", "pods": "1"})
    assert not is_lower({"cpu": "1000m", "pods": "3"}, {"cpu": "1"})
