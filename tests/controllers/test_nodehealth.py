from typing import Any

import pytest

from apimachinery import meta
from controllers import nodehealth
from controllers.nodehealth import NOT_READY, UNREACHABLE, disruption, eviction_time, silenced, wanted_taints
from tests.controllers.objects import NOW, node, pod, stamp

Object = dict[str, Any]
LATER = stamp(-1)


def keys(taints: list[Object] | None) -> set[tuple[str, str]]:
    return {(t["key"], t["effect"]) for t in taints or ()}


def test_a_silent_node_is_unknown_in_everything_it_used_to_report() -> None:
    conditions = silenced(node(), LATER)
    assert conditions is not None
    assert {c["type"]: c["status"] for c in conditions} == dict.fromkeys(
        ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"), "Unknown"
    )
    ready = next(c for c in conditions if c["type"] == "Ready")
    assert (ready["reason"], ready["lastTransitionTime"]) == ("NodeStatusUnknown", LATER)
    again = node()
    again["status"]["conditions"] = conditions
    assert silenced(again, LATER) is None


def test_a_node_that_never_reported_is_told_apart() -> None:
    conditions = silenced(node(ready=None), LATER)
    assert conditions is not None
    assert conditions[0]["reason"] == "NodeStatusNeverUpdated"


@pytest.mark.parametrize(("state", "key"), [("False", NOT_READY), ("Unknown", UNREACHABLE)])
def test_a_node_that_is_not_ready_is_tainted_in_both_ways(state: str, key: str) -> None:
    assert keys(wanted_taints(node(ready=state), evict=True, now=LATER)) == {(key, "NoSchedule"), (key, "NoExecute")}
    assert keys(wanted_taints(node(ready=state), evict=False, now=LATER)) == {(key, "NoSchedule")}


def test_a_new_node_that_has_not_reported_takes_no_pods_but_keeps_those_it_has() -> None:
    assert keys(wanted_taints(node(ready=None), evict=True, now=LATER)) == {(NOT_READY, "NoSchedule")}


def test_taints_go_with_their_cause_and_those_of_others_stay() -> None:
    mine = {"key": "team", "value": "a", "effect": "NoExecute"}
    old = [{"key": NOT_READY, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    assert wanted_taints(node(taints=[*old, mine]), evict=True, now=LATER) == [mine]
    assert wanted_taints(node(taints=[mine]), evict=True, now=LATER) is None


def test_unreachable_replaces_not_ready() -> None:
    old = [{"key": NOT_READY, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    found = wanted_taints(node(ready="Unknown", taints=old), evict=True, now=LATER)
    assert keys(found) == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}


def test_a_cordoned_node_is_tainted_and_pressure_too() -> None:
    found = node(unschedulable=True)
    found["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    assert keys(wanted_taints(found, evict=True, now=LATER)) == {
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    }


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["True", "Unknown"], "normal"),
        (["Unknown"], "full"),
        (["True"], "normal"),
        (["Unknown"] * 3 + ["True"] * 2, "partial"),
        (["Unknown"] * 2 + ["True"], "normal"),
    ],
)
def test_a_zone_is_disrupted_by_how_many_of_its_nodes_are_not_ready(states: list[str], expected: str) -> None:
    assert disruption(states, 0.55) == expected


def evicted_at(tolerations: list[Object], *taints: Object) -> float | None:
    return eviction_time(pod(spec={"tolerations": tolerations}), list(taints), NOW)


def test_a_pod_leaves_when_its_shortest_toleration_ends() -> None:
    taint = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": stamp(100)}
    short = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    longer = {**short, "tolerationSeconds": 900}
    assert evicted_at([short, longer], taint) == meta.parse_time(stamp(100)) + 300
    assert evicted_at([], taint) == 0.0
    assert evicted_at([{"operator": "Exists"}], taint) is None
    assert evicted_at([short]) is None


def test_every_taint_must_be_tolerated() -> None:
    taint = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": stamp()}
    other = {"key": "gpu", "value": "broken", "effect": "NoExecute", "timeAdded": stamp()}
    tolerations = [{"key": UNREACHABLE, "operator": "Exists"}]
    assert evicted_at(tolerations, taint, other) == 0.0
    assert evicted_at([*tolerations, {"key": "gpu", "value": "broken"}], taint, other) is None


def test_a_taint_without_a_time_counts_from_when_it_was_first_seen() -> None:
    toleration = {"key": "gpu", "operator": "Exists", "tolerationSeconds": 10}
    assert evicted_at([toleration], {"key": "gpu", "effect": "NoExecute"}) == NOW + 10


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "value": "1"}, True),
        ({"key": "a", "value": "2"}, False),
        ({"key": "a", "value": "1", "effect": "NoSchedule"}, False),
        ({"key": "b", "operator": "Exists"}, False),
    ],
)
def test_tolerations_match_by_key_value_and_effect(toleration: Object, tolerated: bool) -> None:
    assert nodehealth.tolerates(toleration, {"key": "a", "value": "1", "effect": "NoExecute"}) is tolerated
