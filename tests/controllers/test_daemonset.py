from typing import Any

import pytest

from apimachinery import meta
from controllers.daemonset.placement import make_pod, should_run, target_of
from controllers.daemonset.plan import reconcile
from controllers.nodematch import matches
from tests.controllers.objects import NOW, metadata, node, pod, template

Object = dict[str, Any]


def daemon_set(**spec: Any) -> Object:
    body = {"selector": {"matchLabels": {"app": "agent"}}, "template": template(labels={"app": "agent"}), **spec}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata("agent"), "spec": body, "status": {}}


def nodes(count: int) -> list[Object]:
    return [node(f"n{number}") for number in range(count)]


def daemon(where: str, revision: str = "new", **facts: Any) -> Object:
    return pod(
        f"agent-{where}-{revision}", node=where, labels={"app": "agent", "controller-revision-hash": revision}, **facts
    )


def taint(effect: str, key: str = "gpu") -> Object:
    return {"key": key, "effect": effect}


def test_every_node_without_a_pod_gets_one() -> None:
    plan = reconcile(daemon_set(), nodes(3), [daemon("n1")], "new", NOW)
    assert plan.create == ["n0", "n2"]
    assert plan.status["desiredNumberScheduled"] == 3
    assert plan.status["currentNumberScheduled"] == 1


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (node(), (True, True)),
        (node(taints=[taint("NoSchedule")]), (False, True)),
        (node(taints=[taint("NoExecute")]), (False, False)),
        (node(taints=[taint("PreferNoSchedule")]), (True, True)),
        (node(taints=[taint("NoExecute", "node.kubernetes.io/unreachable")]), (True, True)),
        (node(unschedulable=True, taints=[taint("NoSchedule", "node.kubernetes.io/unschedulable")]), (True, True)),
    ],
)
def test_taints_decide_where_a_daemon_starts_and_where_it_may_stay(found: Object, expected: tuple[bool, bool]) -> None:
    assert should_run(daemon_set(), found) == expected


def test_selectors_and_affinity_choose_nodes() -> None:
    fast = node()
    fast["metadata"]["labels"] = {"disk": "fast"}
    assert matches({"nodeSelector": {"disk": "fast"}}, fast)
    assert not matches({"nodeSelector": {"disk": "slow"}}, fast)

    def required(*terms: Object) -> Object:
        chosen = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        return {"affinity": {"nodeAffinity": chosen}}

    expression = {"key": "disk", "operator": "In", "values": ["fast"]}
    name = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
    assert matches(required({"matchExpressions": [expression], "matchFields": [name]}), fast)
    assert not matches(required({"matchExpressions": [{**expression, "operator": "NotIn"}]}), fast)
    assert not matches(required({}), fast), "an empty term chooses nothing"
    assert matches(required({}, {"matchFields": [name]}), fast), "one term of several is enough"


def test_a_pod_is_made_for_one_node_and_tolerates_its_troubles() -> None:
    revision = {
        "metadata": {"labels": {"controller.kubernetes.io/hash": "h"}},
        "data": {"spec": {"template": {**template(), "$patch": "replace"}}},
    }
    made = make_pod(daemon_set(), revision, "n7")
    assert target_of(made) == "n7"
    assert meta.labels(made)["controller-revision-hash"] == "h"
    assert {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"} in made["spec"][
        "tolerations"
    ]


def test_pods_go_where_they_may_not_stay_and_of_two_the_younger() -> None:
    world = nodes(2)
    world[0]["spec"]["taints"] = [taint("NoExecute")]
    older, younger = daemon("n1", age=100), daemon("n1", age=10)
    younger["metadata"]["name"] = "younger"
    plan = reconcile(daemon_set(), world, [daemon("n0"), older, younger], "new", NOW)
    assert {meta.name(p) for p in plan.delete} == {"agent-n0-new", "younger"}


def test_a_failed_daemon_is_removed_and_told() -> None:
    plan = reconcile(daemon_set(), nodes(1), [daemon("n0", phase="Failed", ready=False)], "new", NOW)
    assert len(plan.delete) == len(plan.failed) == 1
    assert plan.create == []


def test_an_update_takes_no_more_pods_than_may_be_unavailable() -> None:
    own = [daemon(f"n{n}", "old") for n in range(5)]
    assert len(reconcile(daemon_set(), nodes(5), own, "new", NOW).delete) == 1
    rolling = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}}
    assert len(reconcile(daemon_set(**rolling), nodes(5), own, "new", NOW).delete) == 3
    own[0] = daemon("n0", "new", ready=False)
    assert reconcile(daemon_set(), nodes(5), own, "new", NOW).delete == []


def test_an_old_pod_that_is_unavailable_anyway_is_replaced_beside_the_budget() -> None:
    own = [daemon("n0", "old", ready=False), daemon("n1", "old")]
    plan = reconcile(daemon_set(), nodes(2), own, "new", NOW)
    assert [meta.name(p) for p in plan.delete] == ["agent-n0-old"]


def test_on_delete_leaves_old_pods_alone() -> None:
    own = [daemon("n0", "old")]
    plan = reconcile(daemon_set(updateStrategy={"type": "OnDelete"}), nodes(1), own, "new", NOW)
    assert plan.delete == []
    assert "updatedNumberScheduled" not in plan.status


def test_with_surge_the_new_pod_comes_before_the_old_one_goes() -> None:
    rolling = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
    old = [daemon("n0", "old"), daemon("n1", "old")]
    plan = reconcile(daemon_set(**rolling), nodes(2), old, "new", NOW)
    assert (plan.create, plan.delete) == (["n0"], [])
    both = [*old, daemon("n0", "new", age=1)]
    plan = reconcile(daemon_set(**rolling), nodes(2), both, "new", NOW)
    assert [meta.name(p) for p in plan.delete] == ["agent-n0-old"]
