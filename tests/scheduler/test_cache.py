from scheduler.event import Event
from tests.scheduler.objects import Cluster, info, node


def free_cpu(cluster: Cluster, name: str) -> int:
    found = cluster.cache.get(name)
    assert found is not None
    return found.allocatable.cpu - found.cpu


def test_an_assumed_pod_counts_until_it_is_forgotten() -> None:
    cluster = Cluster(node("a"))
    cluster.cache.assume(info("p", requests={"cpu": "1"}), "a")
    assert free_cpu(cluster, "a") == 3000
    cluster.cache.forget("uid-p")
    assert free_cpu(cluster, "a") == 4000


def test_the_servers_word_confirms_an_assumption_without_counting_twice() -> None:
    cluster = Cluster(node("a"))
    cluster.cache.assume(info("p", requests={"cpu": "1"}), "a")
    cluster.run("p", on="a", requests={"cpu": "1"})
    assert not cluster.cache.is_assumed("uid-p")
    cluster.cache.forget("uid-p")
    assert free_cpu(cluster, "a") == 3000


def test_the_servers_word_corrects_a_wrong_assumption() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.cache.assume(info("p", requests={"cpu": "1"}), "a")
    cluster.run("p", on="b", requests={"cpu": "1"})
    assert (free_cpu(cluster, "a"), free_cpu(cluster, "b")) == (4000, 3000)


def test_pods_may_be_known_before_their_node() -> None:
    cluster = Cluster()
    cluster.run("early", on="late", requests={"cpu": "1"})
    assert not cluster.cache.nodes
    cluster.cache.set_node(node("late"))
    assert free_cpu(cluster, "late") == 3000


def test_a_node_that_comes_back_still_has_its_pods() -> None:
    cluster = Cluster(node("a"))
    cluster.run("p", on="a", requests={"cpu": "1"})
    cluster.cache.remove_node("a")
    assert cluster.cache.get("a") is None
    cluster.cache.set_node(node("a"))
    assert free_cpu(cluster, "a") == 3000


def test_a_sign_of_life_changes_nothing_that_decisions_see() -> None:
    cluster = Cluster(node("a"))
    before = cluster.cache.get("a").generation
    alive = node("a")
    alive["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    _, change = cluster.cache.set_node(alive)
    assert not change
    assert cluster.cache.get("a").generation == before


def test_what_changed_about_a_node_is_told() -> None:
    cluster = Cluster(node("a"))
    assert cluster.cache.set_node(node("b"))[1] == Event.NODE_ADD
    assert cluster.cache.set_node(node("a", cpu="8"))[1] == Event.NODE_ALLOCATABLE
    assert cluster.cache.set_node(node("a", cpu="8", labels={"x": "y"}))[1] == Event.NODE_LABELS
    assert cluster.cache.set_node(node("a", cpu="8", labels={"x": "y"}, unschedulable=True))[1] == Event.NODE_TAINTS


def test_a_status_update_of_a_placed_pod_changes_nothing_that_decisions_see() -> None:
    cluster = Cluster(node("a"))
    cluster.run("p", on="a")
    before = cluster.cache.get("a").generation
    cluster.run("p", on="a", status={"phase": "Running", "startTime": "2026-01-01T00:00:00Z"})
    assert cluster.cache.get("a").generation == before
    assert cluster.cache.pod("uid-p").pod["status"]["phase"] == "Running"


def test_images_are_counted_by_node() -> None:
    images = [{"names": ["web:1"], "sizeBytes": 10}]
    cluster = Cluster(node("a", images=images), node("b", images=images), node("c"))
    assert cluster.cache.image_nodes("web:1") == 2
    cluster.cache.remove_node("a")
    cluster.cache.set_node(node("b"))
    assert cluster.cache.image_nodes("web:1") == 0


def test_removing_an_unknown_pod_is_nothing() -> None:
    cluster = Cluster(node("a"))
    cluster.cache.remove_pod("uid-unknown")
    cluster.cache.remove_node("unknown")
    assert cluster.cache.sizes() == {"nodes": 1, "pods": 0, "assumed_pods": 0}
