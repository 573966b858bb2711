"""What each filter lets through and what each score prefers."""

import collections
from typing import Any

import pytest

from apimachinery.selectors import Selector, from_set
from scheduler.plugins.image_locality import normalized_image
from scheduler.plugins.taints import tolerates
from scheduler.pod import PodInfo
from tests.scheduler.objects import Cluster, info, node

ZONE = "topology.kubernetes.io/zone"


def require(**nodeselector: Any) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": nodeselector}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]}


# --- node selectors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        (expression("disk", "In", "ssd", "nvme"), {"fast"}),
        (expression("disk", "NotIn", "ssd"), {"slow", "bare"}),
        (expression("disk", "Exists"), {"fast", "slow"}),
        (expression("disk", "DoesNotExist"), {"bare"}),
        (expression("cores", "Gt", "8"), {"fast"}),
        (expression("cores", "Lt", "8"), {"slow"}),
        ({"nodeSelectorTerms": [{}]}, set()),
        ({"nodeSelectorTerms": [*expression("disk", "In", "ssd")["nodeSelectorTerms"],
                                *expression("disk", "In", "hdd")["nodeSelectorTerms"]]}, {"fast", "slow"}),
    ],
)  # fmt: skip
def test_required_node_affinity(selector: dict[str, Any], fits: set[str]) -> None:
    cluster = Cluster(
        node("fast", labels={"disk": "ssd", "cores": "16"}),
        node("slow", labels={"disk": "hdd", "cores": "4"}),
        node("bare"),
    )
    assert cluster.feasible(affinity=require(**selector)) == fits


def test_node_selector_and_affinity_must_both_hold() -> None:
    cluster = Cluster(node("a", labels={"x": "1"}), node("b", labels={"x": "1", "y": "1"}))
    assert cluster.feasible(nodeSelector={"x": "1"}, affinity=require(**expression("y", "Exists"))) == {"b"}
    failure = cluster.refusal(nodeSelector={"x": "2"})
    assert str(failure) == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."


def test_preferred_node_affinity_weighs() -> None:
    cluster = Cluster(node("a"), node("b", labels={"disk": "ssd"}))
    cluster.run("busy", on="b", requests={"cpu": "1", "memory": "1Gi"})
    prefer = [{"weight": 80, "preference": expression("disk", "In", "ssd")["nodeSelectorTerms"][0]}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": prefer}}
    assert cluster.place("indifferent") == "a"
    assert cluster.place("choosy", affinity=affinity) == "b"


# --- taints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "other"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_a_toleration_matches_by_key_value_and_effect(toleration: dict[str, str], expected: bool) -> None:
    assert tolerates(toleration, ("k", "v", "NoSchedule")) is expected


def test_prefer_no_schedule_only_makes_a_node_less_welcome() -> None:
    cluster = Cluster(node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}]), node("b"))
    cluster.run("busy", on="b", requests={"cpu": "3", "memory": "6Gi"})
    assert cluster.place("intolerant") == "b"
    assert cluster.place("tolerant", tolerations=[{"operator": "Exists"}]) == "a"


def test_a_cordoned_node_takes_only_pods_that_tolerate_it() -> None:
    cluster = Cluster(node("a", unschedulable=True))
    assert cluster.feasible() == set()
    assert cluster.feasible(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]) == {"a"}


# --- resources and ports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ({"cpu": "5"}, "Insufficient cpu"),
        ({"memory": "9Gi"}, "Insufficient memory"),
        ({"ephemeral-storage": "51Gi"}, "Insufficient ephemeral-storage"),
        ({"example.com/gpu": "1"}, "Insufficient example.com/gpu"),
    ],
)
def test_what_is_lacking_is_named_and_cannot_be_helped_by_evictions(requests: dict[str, str], reason: str) -> None:
    rejection = Cluster(node("a")).refusal(requests=requests).rejections["a"]
    assert rejection.reasons == (reason,)
    assert not rejection.resolvable


def test_a_full_node_could_be_helped_by_evictions() -> None:
    cluster = Cluster(node("a", pods="1"))
    cluster.run("only", on="a")
    rejection = cluster.refusal().rejections["a"]
    assert (rejection.reasons, rejection.resolvable) == (("Too many pods",), True)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"hostPort": 80}, False),
        ({"hostPort": 81}, True),
        ({"hostPort": 80, "protocol": "UDP"}, True),
        ({"hostPort": 80, "hostIP": "10.0.0.2"}, True),
        ({"hostPort": 80, "hostIP": "10.0.0.1"}, False),
    ],
)
def test_host_ports_conflict_by_address_protocol_and_number(wanted: dict[str, Any], fits: bool) -> None:
    cluster = Cluster(node("a"))
    cluster.run("server", on="a", ports=[{"hostPort": 80, "hostIP": "10.0.0.1"}])
    assert bool(cluster.feasible(ports=[wanted])) is fits


def test_cpu_and_memory_are_used_up_evenly() -> None:
    cluster = Cluster(node("a", cpu="10", memory="10Gi"), node("b", cpu="10", memory="10Gi"))
    cluster.run("cpu-heavy", on="a", requests={"cpu": "5", "memory": "1Gi"})
    cluster.run("memory-heavy", on="b", requests={"cpu": "1", "memory": "5Gi"})
    assert cluster.place("more-memory", requests={"cpu": "1", "memory": "4Gi"}) == "a"


# --- images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("web", "web:latest"),
        ("web:1", "web:1"),
        ("host:5000/web", "host:5000/web:latest"),
        ("a/b@sha256:1", "a/b@sha256:1"),
    ],
)
def test_images_are_looked_up_as_nodes_report_them(name: str, normal: str) -> None:
    assert normalized_image(name) == normal


def test_a_node_that_has_the_big_image_is_preferred() -> None:
    cluster = Cluster(node("a"), node("b", images=[{"names": ["web:1"], "sizeBytes": 900 * 2**20}]), node("c"))
    assert cluster.place("p") == "b"


# --- topology spread --------------------------------------------------------------------------------------------


def constraint(key: str = ZONE, when: str = "DoNotSchedule", **more: Any) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}},
        **more,
    }


def zones(*names: str) -> list[dict[str, Any]]:
    return [node(f"n{i}", labels={ZONE: zone}) for i, zone in enumerate(names)]


def test_hard_spreading_keeps_the_skew() -> None:
    cluster = Cluster(*zones("a", "a", "b"))
    places = collections.Counter()
    for i in range(6):
        name = cluster.place(f"p{i}", labels={"app": "web"}, topologySpreadConstraints=[constraint()])
        places["b" if name == "n2" else "a"] += 1
    assert places == {"a": 3, "b": 3}


def test_a_node_without_the_label_is_told_apart_from_a_crowded_one() -> None:
    cluster = Cluster(*zones("a", "b"), node("bare"))
    cluster.run("w", on="n0", labels={"app": "web"})
    cluster.cache.set_node(node("n1", labels={ZONE: "b"}, unschedulable=True))
    failure = cluster.refusal(labels={"app": "web"}, topologySpreadConstraints=[constraint(nodeTaintsPolicy="Ignore")])
    assert str(failure) == (
        "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
        "1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) were unschedulable."
    )


def test_min_domains_count_missing_domains_as_empty() -> None:
    cluster = Cluster(*zones("a"))
    cluster.run("w", on="n0", labels={"app": "web"})
    assert cluster.feasible(labels={"app": "web"}, topologySpreadConstraints=[constraint()]) == {"n0"}
    assert cluster.feasible(labels={"app": "web"}, topologySpreadConstraints=[constraint(minDomains=2)]) == set()


def test_nodes_that_the_affinity_excludes_are_not_counted() -> None:
    cluster = Cluster(*zones("a", "b"))
    cluster.run("w", on="n0", labels={"app": "web"})
    asked = {"labels": {"app": "web"}, "nodeSelector": {ZONE: "a"}}
    assert cluster.feasible(**asked, topologySpreadConstraints=[constraint()]) == {"n0"}
    assert cluster.feasible(**asked, topologySpreadConstraints=[constraint(nodeAffinityPolicy="Ignore")]) == set()


def test_match_label_keys_spread_each_revision_by_itself() -> None:
    cluster = Cluster(*zones("a", "b"))
    cluster.run("old", on="n0", labels={"app": "web", "revision": "1"})
    asked = {"labels": {"app": "web", "revision": "2"}}
    assert cluster.feasible(**asked, topologySpreadConstraints=[constraint()]) == {"n1"}
    assert cluster.feasible(**asked, topologySpreadConstraints=[constraint(matchLabelKeys=["revision"])]) == {
        "n0",
        "n1",
    }


def test_terminating_pods_do_not_count() -> None:
    cluster = Cluster(*zones("a", "b"))
    leaving = info("leaving", node_name="n0", labels={"app": "web"})
    leaving.deleting = True
    cluster.cache.set_pod(leaving)
    assert cluster.feasible(labels={"app": "web"}, topologySpreadConstraints=[constraint()]) == {"n0", "n1"}


class AppSelectors:
    def selector(self, pod: PodInfo) -> Selector | None:
        return from_set({"app": pod.labels["app"]}) if "app" in pod.labels else None


def test_pods_of_a_workload_are_spread_over_hosts_by_default() -> None:
    cluster = Cluster(node("a"), node("b"), node("c"), selectors=AppSelectors())
    for i in range(3):
        cluster.run(f"other{i}", on="a", requests={"cpu": "100m", "memory": "100Mi"})
    places = collections.Counter(cluster.place(f"p{i}", labels={"app": "web"}) for i in range(6))
    assert places == {"a": 2, "b": 2, "c": 2}


def test_pods_of_a_workload_are_spread_over_zones_by_default() -> None:
    cluster = Cluster(*zones("a", "a", "a", "b"), selectors=AppSelectors())
    places = {cluster.place(f"p{i}", labels={"app": "web"}) == "n3" for i in range(2)}
    assert places == {True, False}


# --- pods and pods ----------------------------------------------------------------------------------------------


def pod_term(key: str = "kubernetes.io/hostname", app: str = "web", **more: Any) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def near(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def far(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def test_required_affinity_follows_the_topology() -> None:
    cluster = Cluster(*zones("a", "a", "b"))
    cluster.run("w", on="n0", labels={"app": "web"})
    assert cluster.feasible(affinity=near(pod_term())) == {"n0"}
    assert cluster.feasible(affinity=near(pod_term(ZONE))) == {"n0", "n1"}
    assert cluster.feasible(affinity=near(pod_term(), pod_term(app="db"))) == set()


def test_the_first_of_a_group_may_start_anywhere() -> None:
    cluster = Cluster(*zones("a", "b"))
    assert cluster.feasible(affinity=near(pod_term())) == set()
    assert cluster.feasible(labels={"app": "web"}, affinity=near(pod_term())) == {"n0", "n1"}


def test_required_anti_affinity_works_in_both_directions() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.run("w", on="a", labels={"app": "web"}, affinity=far(pod_term(app="db")))
    assert cluster.feasible(affinity=far(pod_term())) == {"b"}
    assert cluster.feasible(labels={"app": "db"}) == {"b"}
    cluster.cache.set_node(node("b", unschedulable=True))
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in str(cluster.refusal(labels={"app": "db"}))
    assert "1 node(s) didn't match pod anti-affinity rules" in str(cluster.refusal(affinity=far(pod_term())))


def test_terms_look_into_their_own_namespace_unless_told_otherwise() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.cache.namespace_labels["other"] = {"team": "x"}
    cluster.run("w", on="a", namespace="other", labels={"app": "web"})
    assert cluster.feasible(affinity=near(pod_term())) == set()
    assert cluster.feasible(affinity=near(pod_term(namespaces=["other"]))) == {"a"}
    assert cluster.feasible(affinity=near(pod_term(namespaceSelector={"matchLabels": {"team": "x"}}))) == {"a"}
    assert cluster.feasible(affinity=near(pod_term(namespaceSelector={}))) == {"a"}
    assert cluster.feasible(affinity=near(pod_term(namespaceSelector={"matchLabels": {"team": "y"}}))) == set()


def prefer(kind: str, term: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}}


def test_preferences_pull_and_push() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.run("w", on="a", labels={"app": "web"}, requests={"cpu": "1", "memory": "1Gi"})
    assert cluster.place("with", affinity=prefer("podAffinity", pod_term())) == "a"
    assert cluster.place("without", affinity=prefer("podAntiAffinity", pod_term())) == "b"


def test_placed_pods_pull_those_they_like() -> None:
    cluster = Cluster(node("a"), node("b"))
    liking = prefer("podAffinity", pod_term(app="db"))
    cluster.run("w", on="a", affinity=liking, requests={"cpu": "1", "memory": "1Gi"})
    assert cluster.place("liked", labels={"app": "db"}) == "a"
