"""Strategic merge patches: lists merge by key, directives work, order follows the rules, and computed patches arrive."""

import copy
from random import Random
from typing import Any

import pytest

from apimachinery.patch import PatchError
from apimachinery.patch.strategic import apply
from apimachinery.patch.strategic_diff import three_way, two_way
from apimachinery.resources import by_kind
from apimachinery.schema import Schema, decode, schema_for
from tests.apimachinery.objects import mergeable


def schema(api_version: str, kind: str) -> Schema:
    row = by_kind(api_version, kind)
    assert row is not None
    return schema_for(row)


DEPLOYMENT, POD, SERVICE = schema("apps/v1", "Deployment"), schema("v1", "Pod"), schema("v1", "Service")


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


A, B, SIDECAR = {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}, {"name": "sidecar", "image": "s"}


def names(obj: dict[str, Any]) -> list[str]:
    return [c["name"] for c in obj["spec"]["containers"]]


def test_elements_merge_by_their_key() -> None:
    merged = apply(pod(A, B), pod({"name": "b", "image": "b:2"}), POD)
    assert {c["name"]: c["image"] for c in merged["spec"]["containers"]} == {"a": "a:1", "b": "b:2"}


def test_new_elements_come_where_the_patch_wants_them() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c"}],
        }
    }
    assert names(apply(pod(A, B), patch, POD)) == ["b", "c", "a"]


def test_elements_that_only_the_server_knows_keep_their_place() -> None:
    patch = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert names(apply(pod(SIDECAR, A, B), patch, POD)) == ["sidecar", "b", "a"]
    assert names(apply(pod(A, B, SIDECAR), patch, POD)) == ["b", "a", "sidecar"]


def test_an_element_can_be_deleted() -> None:
    assert apply(pod(A, B), pod({"$patch": "delete", "name": "a"}), POD) == pod(B)


def test_a_list_can_be_replaced() -> None:
    assert apply(pod(A, B), pod({"$patch": "replace"}, SIDECAR), POD) == pod(SIDECAR)


def test_a_map_can_be_replaced_and_emptied() -> None:
    live = pod(A, nodeSelector={"x": "1", "y": "2"})
    assert apply(live, {"spec": {"nodeSelector": {"$patch": "replace", "z": "3"}}}, POD)["spec"]["nodeSelector"] == {
        "z": "3"
    }
    assert apply(live, {"spec": {"nodeSelector": {"$patch": "delete"}}}, POD)["spec"]["nodeSelector"] == {}


def test_null_removes() -> None:
    assert apply(pod(A, nodeName="n"), {"spec": {"nodeName": None, "hostname": None}}, POD) == pod(A)


def test_nulls_inside_what_is_new_do_nothing() -> None:
    merged = apply(pod(A), {"spec": {"securityContext": {"runAsUser": None, "fsGroup": 1}}}, POD)
    assert merged["spec"]["securityContext"] == {"fsGroup": 1}


def test_lists_without_a_merge_key_are_replaced() -> None:
    live = pod({"name": "a", "args": ["x", "y"]})
    assert apply(live, pod({"name": "a", "args": ["z"]}), POD) == pod({"name": "a", "args": ["z"]})


def test_lists_of_words_merge_without_repetition() -> None:
    live: dict[str, Any] = {"metadata": {"finalizers": ["a", "b"]}}
    assert apply(live, {"metadata": {"finalizers": ["b", "c"]}}, POD)["metadata"]["finalizers"] == ["a", "b", "c"]
    removed = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}}
    assert apply(live, removed, POD)["metadata"]["finalizers"] == ["b"]


def test_retained_keys_change_the_member_of_a_union() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply(live, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_nothing_that_was_given_is_changed() -> None:
    live, patch = pod(A, B), pod({"$patch": "delete", "name": "a"}, {"name": "b", "image": None})
    before = copy.deepcopy((live, patch))
    apply(live, patch, POD)
    assert (live, patch) == before


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        (pod({"image": "x"}), "map: map[image:x] does not contain declared merge key: name"),
        (pod({"$patch": "merge", "name": "a"}), "merging lists cannot yet be specified in the patch"),
        (pod({"$patch": "explode", "name": "a"}), "unknown patch type: explode in map: map[$patch:explode name:a]"),
        ({"spec": {"$patch": "explode"}}, "unknown patch type: explode in map: map[$patch:explode]"),
        ({"spec": {"$setElementOrder/containers": {}}}, "expected a []interface {}, but received a map[string]interface {}"),
        ({"spec": {"$setElementOrder": []}}, "invalid patch format of setElementOrder list"),
        ({"spec": {"$deleteFromPrimitiveList": ["x"]}}, "invalid patch format of primitive list"),
        ({"spec": {"$retainKeys": "x"}}, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["a"], "nodeName": "x"}}, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}}, "The order in patch list:"),
        (pod("x"), "list element types are not identical"),  # type: ignore[arg-type]
        ([], "cannot unmarshal"),
    ],
)  # fmt: skip
def test_bad_patches_are_told(patch: Any, why: str) -> None:
    with pytest.raises(PatchError) as error:
        apply(pod(A, B), patch, POD)
    assert str(error.value).startswith(why) or why in str(error.value)
    assert error.value.code in (400, 422)


def normal(value: dict[str, Any], of: Schema) -> dict[str, Any]:
    """As it would be stored: empty optional lists and maps do not exist there."""
    decoded: dict[str, Any] = decode(of, value)[0]
    return decoded


@pytest.mark.parametrize("kind", [("apps/v1", "Deployment"), ("v1", "Pod"), ("v1", "Service"), ("v1", "Node")])
def test_a_computed_patch_leads_to_the_new_object(kind: tuple[str, str]) -> None:
    of = schema(*kind)
    for seed in range(150):
        random = Random(seed)
        original, modified = normal(mergeable(of, random), of), normal(mergeable(of, random), of)
        patch = two_way(original, modified, of)
        assert normal(apply(original, patch, of), of) == modified, seed
        assert two_way(modified, modified, of) == {}


@pytest.mark.parametrize("kind", [("apps/v1", "Deployment"), ("v1", "Pod"), ("v1", "Service")])
def test_three_way_apply_reaches_what_is_wanted_and_then_rests(kind: tuple[str, str]) -> None:
    of = schema(*kind)
    for seed in range(150):
        random = Random(seed)
        last, wanted = normal(mergeable(of, random), of), normal(mergeable(of, random), of)
        # What is live is what was applied last: then three ways are two.
        assert normal(apply(last, three_way(last, wanted, last, of), of), of) == wanted, seed
        assert three_way(wanted, wanted, wanted, of) == {}


@pytest.mark.parametrize("kind", [("v1", "Pod"), ("v1", "Service")])
def test_three_way_apply_never_removes_what_it_did_not_set(kind: tuple[str, str]) -> None:
    of = schema(*kind)
    for seed in range(150):
        random = Random(seed)
        wanted, others = normal(mergeable(of, random), of), normal(mergeable(of, random), of)
        merged = apply(others, three_way({}, wanted, others, of), of)
        kept = set(others.get("metadata", {}).get("annotations") or ()) | set(others["spec"].get("nodeSelector") or ())
        now = set(merged.get("metadata", {}).get("annotations") or ()) | set(merged["spec"].get("nodeSelector") or ())
        assert kept <= now, seed
        names_before = {repr(c.get("name")) for c in others["spec"].get("containers") or ()}
        assert names_before <= {repr(c.get("name")) for c in merged["spec"].get("containers") or ()}, seed


def test_apply_removes_only_what_the_last_apply_had() -> None:
    x, y, z = ({"name": name, "value": "1"} for name in "XYZ")
    last = pod({"name": "a", "image": "1", "env": [x, y]}, nodeName="n")
    wanted = pod({"name": "a", "image": "2", "env": [x]})
    live = pod({"name": "a", "image": "1", "tty": True, "env": [x, y, z]}, SIDECAR, nodeName="n", priority=5)
    patch = three_way(last, wanted, live, POD)
    assert patch == {
        "spec": {
            "nodeName": None,
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [
                {
                    "name": "a",
                    "image": "2",
                    "$setElementOrder/env": [{"name": "X"}],
                    "env": [{"$patch": "delete", "name": "Y"}],
                }
            ],
        }
    }
    merged = apply(live, patch, POD)
    assert merged["spec"]["priority"] == 5
    assert names(merged) == ["a", "sidecar"]
    assert merged["spec"]["containers"][0] == {"name": "a", "image": "2", "tty": True, "env": [x, z]}


def test_a_changed_union_says_which_keys_stay() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    wanted = {"spec": {"strategy": {"type": "Recreate"}}}
    patch = three_way(wanted, wanted, live, DEPLOYMENT)
    assert patch == {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply(live, patch, DEPLOYMENT) == wanted
