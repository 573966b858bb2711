import collections

import pytest

from scheduler.algorithm import nodes_to_find
from scheduler.diagnosis import Unschedulable
from tests.scheduler.objects import Cluster, info, node


def test_a_pod_goes_to_the_emptier_node() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.run("busy", on="a", requests={"cpu": "2", "memory": "4Gi"})
    assert cluster.place("new", requests={"cpu": "100m", "memory": "100Mi"}) == "b"


def test_equally_good_nodes_are_chosen_at_random() -> None:
    chosen = collections.Counter(Cluster(node("a"), node("b"), node("c"), seed=seed).place("p") for seed in range(60))
    assert set(chosen) == {"a", "b", "c"}


def test_replicas_fill_nodes_evenly_and_exactly() -> None:
    cluster = Cluster(*(node(f"n{i}", cpu="1") for i in range(4)))
    places = collections.Counter(cluster.place(f"p{i}", requests={"cpu": "250m"}) for i in range(16))
    assert places == {"n0": 4, "n1": 4, "n2": 4, "n3": 4}
    assert str(cluster.refusal(requests={"cpu": "250m"})) == "0/4 nodes are available: 4 Insufficient cpu."


def test_a_verdict_is_forgotten_when_its_node_changes() -> None:
    cluster = Cluster(node("a", cpu="1"))
    asked = {"requests": {"cpu": "1"}}
    assert cluster.place("first", **asked) == "a"
    assert cluster.refusal(**asked).rejections["a"].reasons == ("Insufficient cpu",)
    cluster.cache.forget("uid-first")
    assert cluster.place("second", **asked) == "a"
    cluster.cache.set_node(node("a", cpu="2"))
    assert cluster.place("third", **asked) == "a"


def test_no_nodes_at_all() -> None:
    assert str(Cluster().refusal()) == "no nodes available to schedule pods"


def test_a_refusal_counts_every_reason() -> None:
    tainted = [{"key": "disk", "value": "broken", "effect": "NoSchedule"}]
    cluster = Cluster(
        node("a", cpu="1"), node("b", cpu="1", memory="1Mi"), node("c", taints=tainted), node("d", unschedulable=True)
    )
    failure = cluster.refusal(requests={"cpu": "2", "memory": "1Gi"})
    assert str(failure) == (
        "0/4 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {disk: broken}, "
        "1 node(s) were unschedulable, 2 Insufficient cpu."
    )
    assert failure.plugins == {"NodeResourcesFit", "TaintToleration", "NodeUnschedulable"}


def test_a_pod_that_names_its_nodes_by_affinity_asks_only_those() -> None:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    cluster = Cluster(node("a"), node("b", cpu="1"))
    assert cluster.place("daemon", affinity=affinity, requests={"cpu": "1"}) == "b"
    assert str(cluster.refusal(affinity=affinity, requests={"cpu": "1"})) == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_affinity_terms_that_exclude_each_other_are_told_as_such() -> None:
    fields = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in ("a", "b")]
    term = {"matchFields": fields}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    failure = Cluster(node("a"), node("b")).refusal(affinity=affinity)
    assert str(failure) == "0/2 nodes are available: pod affinity terms conflict."
    assert failure.plugins == {"NodeAffinity"}


@pytest.mark.parametrize(("total", "wanted"), [(1, 1), (99, 99), (100, 100), (1000, 420), (5000, 500), (10000, 500)])
def test_large_clusters_are_searched_in_part(total: int, wanted: int) -> None:
    assert nodes_to_find(total) == wanted


def test_a_search_goes_on_where_the_last_one_ended() -> None:
    cluster = Cluster(*(node(f"n{i}") for i in range(300)))
    enough = nodes_to_find(300)
    first, second = (int(cluster.place(f"p{i}").removeprefix("n")) for i in range(2))
    assert first < enough <= second < 2 * enough


def test_zones_take_turns_in_the_order_of_the_search() -> None:
    def labels(zone: str) -> dict[str, str]:
        return {"topology.kubernetes.io/zone": zone}

    nodes = [*(node(f"a{i}", labels=labels("a")) for i in range(3)), node("b0", labels=labels("b"))]
    assert [n.name for n in Cluster(*nodes).cache.nodes] == ["a0", "b0", "a1", "a2"]


def test_room_is_kept_for_a_nominated_pod_against_lower_priorities_only() -> None:
    cluster = Cluster(node("a", cpu="1"))
    waiting = info("waiting", requests={"cpu": "1"}, priority=100)
    cluster.nominator.nominate(waiting, "a")
    assert cluster.refusal("low", requests={"cpu": "1"}, priority=10).rejections["a"].reasons == ("Insufficient cpu",)
    assert cluster.algorithm.decide(info("high", requests={"cpu": "1"}, priority=1000)).node.name == "a"
    assert cluster.algorithm.decide(waiting).node.name == "a"


def test_a_nominated_pod_takes_the_node_it_was_promised() -> None:
    cluster = Cluster(node("a"), node("b"), node("c"))
    cluster.run("busy", on="b", requests={"cpu": "3"})
    waiting = info("waiting", requests={"cpu": "1"}, priority=1)
    cluster.nominator.nominate(waiting, "b")
    assert cluster.algorithm.decide(waiting).node.name == "b"


def test_a_long_message_is_cut_to_what_an_event_can_carry() -> None:
    taints = [[{"key": f"k{i}", "value": "x" * 60, "effect": "NoSchedule"}] for i in range(40)]
    failure = Cluster(*(node(f"n{i}", taints=t) for i, t in enumerate(taints))).refusal()
    assert len(str(failure)) == 1024
    assert str(failure).endswith(" ...")


def test_unschedulable_says_what_came_of_preemption() -> None:
    failure = Unschedulable(1, Cluster(node("a", cpu="1")).refusal(requests={"cpu": "2"}).rejections)
    failure.post_filter = "preemption: not eligible due to preemptionPolicy=Never."
    assert str(failure) == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    )


def test_pods_of_one_shape_differ_only_in_what_no_node_cares_about() -> None:
    one, other = info("one", labels={"a": "b"}, priority=3), info("other", namespace="elsewhere")
    assert one.shape == other.shape
    assert info("bigger", requests={"cpu": "1"}).shape != one.shape
