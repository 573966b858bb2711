from typing import Any

import pytest

from controllers.disruption import desired_healthy, status
from tests.controllers.objects import NOW, metadata, pod, stamp


def budget(**spec: Any) -> dict[str, Any]:
    return {"metadata": metadata("budget"), "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 2}, (3, 2)),
        ({"minAvailable": "50%"}, (5, 3)),
        ({"maxUnavailable": 1}, (5, 4)),
        ({"maxUnavailable": "30%"}, (5, 3)),
        ({"maxUnavailable": 9}, (5, 0)),
    ],
)
def test_percentages_and_maxima_are_of_what_the_owners_want(spec: dict[str, Any], expected: tuple[int, int]) -> None:
    assert desired_healthy(budget(**spec), 3, 5) == expected


def test_healthy_pods_beyond_the_wanted_may_go() -> None:
    found, _ = status(budget(minAvailable=1), [pod("a"), pod("b"), pod("c", ready=False)], 3, NOW)
    assert (found["currentHealthy"], found["desiredHealthy"], found["disruptionsAllowed"]) == (2, 1, 1)
    (condition,) = found["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed",
        "True",
        "SufficientPods",
    )


def test_a_pod_whose_eviction_was_granted_is_not_healthy_any_more_for_a_while() -> None:
    seen = budget(minAvailable=1)
    seen["status"] = {"disruptedPods": {"a": stamp(60), "gone": stamp(60), "forgotten": stamp(600)}}
    found, recheck = status(seen, [pod("a"), pod("b"), pod("forgotten")], 3, NOW)
    assert found["disruptedPods"] == {"a": stamp(60)}
    assert recheck == 60
    assert found["currentHealthy"] == 2


def test_without_pods_nothing_may_be_disrupted() -> None:
    found, _ = status(budget(maxUnavailable=1), [], 0, NOW)
    assert found["disruptionsAllowed"] == 0
