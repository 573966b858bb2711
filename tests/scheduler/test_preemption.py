import random
from typing import Any

import pytest

from scheduler.preemption import Candidate, NotPreempting, preempt
from tests.scheduler.objects import Cluster, info, node

ONE_CPU = {"requests": {"cpu": "1"}}


def make_room(cluster: Cluster, budgets: Any = (), **kwargs: Any) -> Candidate:
    preemptor = info("preemptor", **{**ONE_CPU, "priority": 100, **kwargs})
    failure = cluster.refusal("preemptor", **{**ONE_CPU, "priority": 100, **kwargs})
    return preempt(preemptor, failure, cluster.algorithm, budgets, random.Random(1))


def names(candidate: Candidate) -> list[str]:
    return [victim.name for victim in candidate.victims]


def started(minute: int) -> dict[str, str]:
    return {"startTime": f"2026-01-01T00:{minute:02}:00Z"}


def budget(allowed: int, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }


def test_as_few_as_possible_are_evicted() -> None:
    cluster = Cluster(node("a", cpu="2"))
    cluster.run("small", on="a", requests={"cpu": "500m"}, priority=1)
    cluster.run("large", on="a", requests={"cpu": "1500m"}, priority=1)
    assert names(make_room(cluster)) == ["large"]


def test_pods_of_equal_priority_are_left_alone() -> None:
    cluster = Cluster(node("a", cpu="1"))
    cluster.run("peer", on="a", priority=100, **ONE_CPU)
    with pytest.raises(NotPreempting) as refused:
        make_room(cluster)
    assert str(refused.value) == "0/1 nodes are available: 1 No preemption victims found for incoming pod."


def test_nodes_that_evictions_cannot_help_are_told_apart() -> None:
    cluster = Cluster(node("a", cpu="500m"), node("b", unschedulable=True))
    with pytest.raises(NotPreempting) as refused:
        make_room(cluster)
    assert str(refused.value) == "0/2 nodes are available: 2 Preemption is not helpful for scheduling."


def test_the_node_that_loses_the_lower_priority_is_chosen() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", cpu="1"))
    cluster.run("important", on="a", priority=50, **ONE_CPU)
    cluster.run("humble", on="b", priority=5, **ONE_CPU)
    assert make_room(cluster).node_name == "b"


def test_of_equal_losses_the_younger_pod_goes() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", cpu="1"))
    cluster.run("old", on="a", priority=5, status=started(1), **ONE_CPU)
    cluster.run("young", on="b", priority=5, status=started(2), **ONE_CPU)
    assert make_room(cluster).node_name == "b"


def test_a_disruption_budget_is_respected_where_there_is_a_choice() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", cpu="1"))
    cluster.run("protected", on="a", labels={"app": "db"}, priority=1, **ONE_CPU)
    cluster.run("free", on="b", priority=50, **ONE_CPU)
    assert make_room(cluster, [budget(0, app="db")]).node_name == "b"
    assert make_room(cluster, [budget(1, app="db")]).node_name == "a"


def test_without_a_choice_even_a_budget_is_violated() -> None:
    cluster = Cluster(node("a", cpu="1"))
    cluster.run("protected", on="a", labels={"app": "db"}, priority=1, **ONE_CPU)
    candidate = make_room(cluster, [budget(0, app="db")])
    assert (names(candidate), candidate.violations) == (["protected"], 1)


def test_a_pod_may_be_forbidden_to_preempt() -> None:
    cluster = Cluster(node("a", cpu="1"))
    cluster.run("low", on="a", priority=1, **ONE_CPU)
    with pytest.raises(NotPreempting) as refused:
        make_room(cluster, preemptionPolicy="Never")
    assert str(refused.value) == "not eligible due to preemptionPolicy=Never."
    assert not refused.value.clear


def test_anti_affinity_is_a_reason_to_evict() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "noisy"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster = Cluster(node("a"))
    cluster.run("noisy", on="a", labels={"app": "noisy"}, priority=1)
    cluster.run("quiet", on="a", priority=1)
    assert names(make_room(cluster, affinity=affinity)) == ["noisy"]


def test_a_pod_whose_victims_are_still_ending_waits() -> None:
    cluster = Cluster(node("a", cpu="1"))
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    victim = info("victim", node_name="a", priority=1, status={"conditions": [condition]}, **ONE_CPU)
    victim.deleting = True
    cluster.cache.set_pod(victim)
    cluster.nominator.nominate(info("preemptor", priority=100, **ONE_CPU), "a")
    with pytest.raises(NotPreempting) as refused:
        make_room(cluster)
    assert str(refused.value) == "not eligible due to a terminating pod on the nominated node."
