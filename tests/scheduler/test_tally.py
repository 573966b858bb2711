"""A tally that follows the changes always knows what a fresh count would find."""

from hypothesis import given, settings
from hypothesis import strategies as st

from apimachinery.selectors import from_set
from scheduler.cache import Cache
from scheduler.tally import Tallies, Tally
from tests.scheduler.objects import info, node

ZONE = "topology.kubernetes.io/zone"
NODES, PODS, ZONES = ("a", "b", "c"), tuple(f"p{i}" for i in range(6)), ("x", "y", "")

changes = st.lists(
    st.one_of(
        st.tuples(st.just("node"), st.sampled_from(NODES), st.sampled_from(ZONES)),
        st.tuples(st.just("gone"), st.sampled_from(NODES), st.just("")),
        st.tuples(st.just("pod"), st.sampled_from(PODS), st.sampled_from(NODES)),
        st.tuples(st.just("other"), st.sampled_from(PODS), st.sampled_from(NODES)),
        st.tuples(st.just("ended"), st.sampled_from(PODS), st.just("")),
        st.tuples(st.just("look"), st.just(""), st.just("")),
    ),
    max_size=40,
)


def apply(cache: Cache, kind: str, name: str, detail: str) -> None:
    if kind == "node":
        cache.set_node(node(name, labels={ZONE: detail} if detail else None))
    elif kind == "gone":
        cache.remove_node(name)
    elif kind == "ended":
        cache.remove_pod(f"uid-{name}")
    else:
        labels = {"app": "web" if kind == "pod" else "db"}
        cache.set_pod(info(name, node_name=detail, labels=labels))


def fresh(cache: Cache) -> tuple[dict[str, int], dict[str, int]]:
    counts = {n.name: sum(p.labels["app"] == "web" for p in n.pods.values()) for n in cache.nodes}
    by_value: dict[str, int] = {}
    for n in cache.nodes:
        if ZONE in n.labels:
            by_value[n.labels[ZONE]] = by_value.get(n.labels[ZONE], 0) + counts[n.name]
    return counts, by_value


@settings(max_examples=300, deadline=None)
@given(changes)
def test_a_tally_that_follows_equals_a_fresh_count(story: list[tuple[str, str, str]]) -> None:
    cache = Cache()
    tally = Tally(frozenset(("default",)), from_set({"app": "web"}), terminating=True)
    for kind, name, detail in [*story, ("look", "", "")]:
        if kind != "look":
            apply(cache, kind, name, detail)
            continue
        tally.catch_up(cache)
        counts, by_value = fresh(cache)
        assert {n.name: tally.counts[n.name] for n in cache.nodes} == counts
        assert tally.by_value(cache, ZONE) == by_value


def test_a_tally_survives_a_long_line_of_nodes_that_come_and_go() -> None:
    cache = Cache()
    tally = Tally(frozenset(("default",)), from_set({"app": "web"}), terminating=True)
    for number in range(300):
        cache.set_node(node(f"n{number}", labels={ZONE: "x"}))
        cache.set_pod(info(f"p{number}", node_name=f"n{number}", labels={"app": "web"}))
        tally.catch_up(cache)
        assert tally.by_value(cache, ZONE) == {"x": 1}
        cache.remove_pod(f"uid-p{number}")
        cache.remove_node(f"n{number}")
    tally.catch_up(cache)
    assert tally.by_value(cache, ZONE) == {}


def test_equal_questions_share_a_tally_and_nothing_is_not_everything() -> None:
    tallies, here = Tallies(), frozenset(("default",))
    one = tallies.of(here, from_set({"app": "web"}), terminating=False)
    assert tallies.of(here, from_set({"app": "web"}), terminating=False) is one
    assert tallies.of(here, from_set({"app": "web"}), terminating=True) is not one
    assert tallies.of(here, from_set({}), terminating=False) is not one
