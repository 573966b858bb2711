"""The patch that apply computes, against hand-worked examples (its effect on a server is tested end to end)."""

from typing import Any

from apimachinery.schema.definitions import schema_of_kind
from cli.threeway import three_way_patch

DEPLOYMENT = schema_of_kind("apps", "v1", "Deployment")


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


def test_nothing_changes_when_the_live_object_holds_what_is_wanted_and_more() -> None:
    wanted = deployment({"name": "web", "image": "a"}, replicas=2)
    live = deployment({"name": "web", "image": "a", "imagePullPolicy": "Always"}, replicas=2, paused=False)
    assert three_way_patch(DEPLOYMENT, wanted, wanted, live) == {}


def test_a_changed_scalar_is_set() -> None:
    live = deployment({"name": "web", "image": "a"}, replicas=1)
    wanted = deployment({"name": "web", "image": "a"}, replicas=3)
    assert three_way_patch(DEPLOYMENT, live, wanted, live) == {"spec": {"replicas": 3}}


def test_what_the_user_dropped_is_deleted_and_what_others_set_stays() -> None:
    before = {"metadata": {"labels": {"mine": "1"}}}
    live = {"metadata": {"labels": {"mine": "1", "theirs": "2"}}}
    patch = three_way_patch(DEPLOYMENT, before, {"metadata": {"labels": {}}}, live)
    assert patch == {"metadata": {"labels": {"mine": None}}}


def test_lists_merge_by_their_key() -> None:
    live = deployment(
        {"name": "web", "image": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "injected", "image": "s"}
    )
    before = deployment({"name": "web", "image": "a"})
    wanted = deployment({"name": "web", "image": "b"})
    patch = three_way_patch(DEPLOYMENT, before, wanted, live)["spec"]["template"]["spec"]
    assert patch == {"containers": [{"name": "web", "image": "b"}], "$setElementOrder/containers": [{"name": "web"}]}


def test_a_dropped_list_element_is_deleted_by_its_key() -> None:
    before = deployment({"name": "web"}, {"name": "sidecar"})
    wanted = deployment({"name": "web"})
    patch = three_way_patch(DEPLOYMENT, before, wanted, before)["spec"]["template"]["spec"]
    assert patch["containers"] == [{"$patch": "delete", "name": "sidecar"}]


def test_primitive_lists_with_merge_strategy_are_edited_by_value() -> None:
    schema = schema_of_kind("", "v1", "Namespace")
    before = {"metadata": {"finalizers": ["a/x", "b/x"]}}
    wanted = {"metadata": {"finalizers": ["b/x", "c/x"]}}
    live = {"metadata": {"finalizers": ["a/x", "b/x", "theirs/x"]}}
    patch = three_way_patch(schema, before, wanted, live)["metadata"]
    assert patch["finalizers"] == ["c/x"]
    assert patch["$deleteFromPrimitiveList/finalizers"] == ["a/x"]


def test_a_changed_volume_source_names_the_keys_to_retain() -> None:
    def volumes(**source: Any) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"volumes": [{"name": "v", **source}]}}}}

    before = volumes(emptyDir={})
    patch = three_way_patch(DEPLOYMENT, before, volumes(configMap={"name": "c"}), before)
    change = patch["spec"]["template"]["spec"]["volumes"][0]
    assert change == {"name": "v", "emptyDir": None, "configMap": {"name": "c"}, "$retainKeys": ["configMap", "name"]}


def test_without_a_schema_lists_are_replaced() -> None:
    assert three_way_patch(None, {}, {"spec": {"list": [1]}}, {"spec": {"list": [1, 2]}}) == {"spec": {"list": [1]}}
