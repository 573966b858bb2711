"""The patch that a client-side apply computes, against hand-worked examples."""

from typing import Any

from apimachinery.patch import json_merge, strategic_diff
from apimachinery.schema.definitions import schema_of_kind


def patch(last: dict[str, Any], wanted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of_kind("apps", "v1", "Deployment")
    assert schema is not None
    return strategic_diff.three_way(last, wanted, live, schema)


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


def test_nothing_changes_when_the_live_object_holds_what_is_wanted_and_more() -> None:
    wanted = deployment({"name": "web", "image": "a"}, replicas=2)
    live = deployment({"name": "web", "image": "a", "imagePullPolicy": "Always"}, replicas=2, paused=False)
    assert patch(wanted, wanted, live) == {}


def test_what_others_put_into_a_list_is_no_change_either() -> None:
    wanted = deployment({"name": "web", "image": "a"})
    live = deployment({"name": "injected", "image": "s"}, {"name": "web", "image": "a"})
    assert patch(wanted, wanted, live) == {}


def test_what_the_user_dropped_is_deleted_and_what_others_set_stays() -> None:
    before = {"metadata": {"labels": {"mine": "1"}}}
    live = {"metadata": {"labels": {"mine": "1", "theirs": "2"}}}
    assert patch(before, {"metadata": {"labels": {}}}, live) == {"metadata": {"labels": {"mine": None}}}


def test_lists_merge_by_their_key() -> None:
    live = deployment({"name": "web", "image": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "injected"})
    found = patch(deployment({"name": "web", "image": "a"}), deployment({"name": "web", "image": "b"}), live)
    assert found["spec"]["template"]["spec"] == {
        "containers": [{"name": "web", "image": "b"}],
        "$setElementOrder/containers": [{"name": "web"}],
    }


def test_a_dropped_list_element_is_deleted_by_its_key() -> None:
    before = deployment({"name": "web"}, {"name": "sidecar"})
    found = patch(before, deployment({"name": "web"}), before)
    assert found["spec"]["template"]["spec"]["containers"] == [{"$patch": "delete", "name": "sidecar"}]


def test_without_a_schema_lists_are_replaced_and_maps_merge() -> None:
    last = {"spec": {"list": [1, 2], "mine": 1}}
    live = {"spec": {"list": [1, 2], "mine": 1, "theirs": 2}}
    assert json_merge.three_way(last, {"spec": {"list": [1]}}, live) == {"spec": {"list": [1], "mine": None}}
    assert json_merge.three_way(last, last, live) == {}
