"""Create, update, patch and apply as the API server sees them, on deployments and pods."""

from copy import deepcopy
from typing import Any

import pytest

from apimachinery.apply import FieldManager, fields, same_but_times
from apimachinery.apply.managed import ManagedFieldsError, decode
from apimachinery.errors import StatusError
from tests.apimachinery.apply.deployments import (
    DEPLOYMENT,
    MANAGER,
    POD,
    PODS,
    STATUS,
    Object,
    T,
    deployment,
    owners,
    stored,
    times,
    with_containers,
)

_REPLICAS = {"f:spec": {"f:replicas": {}}}
_SILENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


def _applied(live: Object | None, config: Object, manager: str, i: int = 1, force: bool = False) -> Object:
    """What is stored after an apply."""
    return stored(MANAGER.apply(live, config, manager, force=force, now=T[i]))


def _updated(live: Object | None, new: Object, manager: str, i: int = 2) -> Object:
    return MANAGER.update(live, new, manager, now=T[i])


def _spec(live: Object, **spec: Any) -> Object:
    return {**live, "spec": {**live["spec"], **spec}}


# --- create and update --------------------------------------------------------------------------------------------


def test_who_creates_owns_what_the_object_says() -> None:
    config = deployment(
        replicas=2,
        selector={"matchLabels": {"app": "x"}},
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        template={"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    )
    config["metadata"]["labels"] = {"app": "x"}
    created = _updated(None, stored(config, uid=""), "kubectl-create")
    # As `kubectl create` on a cluster shows it: no "." on what every deployment has, none on its type and name.
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": T[2],
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:strategy": {
                        "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
                        "f:type": {},
                    },
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}
                            }
                        },
                    },
                },
            },
        }
    ]
    assert list(created["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]) == [
        "f:replicas",
        "f:selector",
        "f:strategy",
        "f:template",
    ]


def test_who_changes_a_field_takes_it_from_the_others() -> None:
    created = stored(_updated(None, stored(deployment(replicas=1, paused=True), uid=""), "a", 1))
    scaled = _updated(created, _spec(created, replicas=2), "b")
    assert owners(scaled) == {("a", "Update"): {"f:spec": {"f:paused": {}}}, ("b", "Update"): _REPLICAS}
    assert times(scaled) == {"a": T[1], "b": T[2]}


def test_who_removes_a_field_takes_it_from_its_owners_and_owns_nothing() -> None:
    created = stored(_updated(None, stored(deployment(replicas=1, paused=True), uid=""), "a", 1))
    without = {**created, "spec": {k: v for k, v in created["spec"].items() if k != "paused"}}
    assert owners(_updated(created, without, "b")) == {("a", "Update"): _REPLICAS}


def test_a_second_update_of_a_manager_adds_to_its_entry() -> None:
    created = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    again = _updated(created, _spec(created, paused=True), "a")
    assert owners(again) == {("a", "Update"): {"f:spec": {"f:paused": {}, "f:replicas": {}}}}
    assert times(again) == {"a": T[2]}


def test_an_update_that_changes_nothing_leaves_the_entries_alone() -> None:
    created = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    assert _updated(created, deepcopy(created), "b") == created


def test_a_status_update_owns_status_only() -> None:
    created = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    new = {**_spec(created, replicas=5), "status": {"replicas": 1}}
    found = STATUS.update(created, new, "controller", now=T[2])
    assert owners(found) == {("a", "Update"): _REPLICAS, ("controller", "Update"): {"f:status": {"f:replicas": {}}}}
    assert [e.get("subresource") for e in found["metadata"]["managedFields"]] == [None, "status"]
    # And the main resource does not own status, whatever is sent there.
    assert owners(_updated(None, {**created, "status": {"replicas": 5}, "metadata": {"name": "x"}}, "b")) == {
        ("b", "Update"): _REPLICAS
    }


def test_without_a_name_the_manager_is_unknown() -> None:
    assert list(owners(_updated(None, stored(deployment(replicas=1), uid=""), ""))) == [("unknown", "Update")]


def test_objects_without_owners_stay_without_until_somebody_applies() -> None:
    live = stored(deployment(replicas=1))
    assert "managedFields" not in _updated(live, _spec(live, replicas=2), "b")["metadata"]
    applied = _applied(live, deployment(paused=True), "kubectl")
    assert owners(applied) == {
        ("kubectl", "Apply"): {"f:spec": {"f:paused": {}}},
        ("before-first-apply", "Update"): _REPLICAS,
    }


def test_nothing_given_is_changed() -> None:
    live = stored(_updated(None, stored(with_containers({"name": "c"}, replicas=1), uid=""), "a", 1))
    new = _spec(live, replicas=2)
    before = deepcopy((live, new))
    _updated(live, new, "b")
    config = with_containers({"name": "c", "image": "x"})
    MANAGER.apply(live, config, "kubectl", force=True)
    assert (live, new) == before
    assert config == with_containers({"name": "c", "image": "x"})


def test_a_subresource_about_a_few_fields_owns_no_others() -> None:
    pod = stored({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}, "", POD)
    live = PODS.update(None, pod, "a", now=T[1])
    live["metadata"]["uid"] = "u"
    debug = FieldManager(
        POD, "", "v1", "Pod", subresource="ephemeralcontainers", only=fields("spec.ephemeralContainers")
    )
    new = {**live, "spec": {**live["spec"], "hostname": "h", "ephemeralContainers": [{"name": "d"}]}}
    assert owners(debug.update(live, new, "kubectl-debug"))["kubectl-debug", "Update"] == {
        "f:spec": {"f:ephemeralContainers": {".": {}, 'k:{"name":"d"}': {".": {}, "f:name": {}}}}
    }


# --- managedFields that clients send ------------------------------------------------------------------------------


def _sent(entries: Any) -> Object:
    live = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    new = _spec(live, replicas=2)
    return _updated(live, {**new, "metadata": {**new["metadata"], "managedFields": entries}}, "b")


@pytest.mark.parametrize("entries", [[], [{}]])
def test_an_empty_list_forgets_all_owners(entries: Any) -> None:
    assert "managedFields" not in _sent(entries)["metadata"]


def test_entries_that_a_client_changed_are_taken() -> None:
    entry = {"manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
    found = _sent([{**entry, "time": T[3], "fieldsV1": {"f:spec": {"f:paused": {".": {}}}}}])
    assert owners(found) == {("me", "Apply"): {"f:spec": {"f:paused": {}}}, ("b", "Update"): _REPLICAS}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"operation": "Steal"}, "operation must be `Apply` or `Update`"),
        ({"apiVersion": ""}, "apiVersion must not be empty"),
        ({"fieldsType": ""}, "missing fieldsType in managed fields entry 0"),
        ({"fieldsType": "FieldsV2"}, 'invalid fieldsType "FieldsV2" in managed fields entry 0'),
        ({"fieldsV1": {"spec": {}}}, "error decoding set: missing colon: spec"),
    ],
)
def test_entries_that_cannot_be_understood_mean_those_of_the_live_object(change: Object, complaint: str) -> None:
    entry = {"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
    with pytest.raises(ManagedFieldsError, match=complaint):
        decode([entry | change])
    assert owners(_sent([entry | change])) == {("b", "Update"): _REPLICAS}


def test_a_subresource_takes_no_entries_from_clients() -> None:
    live = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    new = {**live, "metadata": {**live["metadata"], "managedFields": []}, "status": {"replicas": 1}}
    assert len(owners(STATUS.update(live, new, "controller"))) == 2


def test_an_object_whose_lists_cannot_be_walked_keeps_its_owners() -> None:
    live = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    broken = _spec(live, template={"spec": {"containers": [{"image": "x"}, None]}})
    assert owners(_updated(live, broken, "b")) == {("a", "Update"): _REPLICAS}


# --- apply --------------------------------------------------------------------------------------------------------


def test_what_an_applier_says_is_what_it_owns() -> None:
    # As clusters show it: a null and an empty struct are said, defaults are not owned.
    config = with_containers(
        {"name": "c", "image": "i", "resources": {}}, strategy={}, selector={"matchLabels": {"a": "b"}}
    )
    config["spec"]["template"]["metadata"] = {"creationTimestamp": None, "labels": {"a": "b"}}
    config["status"] = {}
    container = {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}
    template = {
        "f:metadata": {"f:creationTimestamp": {}, "f:labels": {"f:a": {}}},
        "f:spec": {"f:containers": {'k:{"name":"c"}': container}},
    }
    assert owners(_applied(None, config, "m")) == {
        ("m", "Apply"): {"f:spec": {"f:selector": {}, "f:strategy": {}, "f:template": template}}
    }


def test_applying_the_same_again_changes_nothing() -> None:
    live = _applied(None, with_containers({"name": "c", "image": "i"}, replicas=1), "m", 1)
    assert MANAGER.apply(live, with_containers({"name": "c", "image": "i"}, replicas=1), "m", now=T[9]) == live


def test_the_same_value_is_shared_and_survives_either_owner() -> None:
    live = _applied(None, deployment(replicas=1, paused=True), "a", 1)
    live = _applied(live, deployment(replicas=1), "b", 2)
    assert owners(live)["b", "Apply"] == _REPLICAS
    live = _applied(live, deployment(paused=True), "a", 3)
    assert live["spec"]["replicas"] == 1
    assert owners(live)["a", "Apply"] == {"f:spec": {"f:paused": {}}}
    gone = _applied(live, _SILENT, "b", 4)
    assert "replicas" not in gone["spec"]
    assert list(owners(gone)) == [("a", "Apply")]


def test_another_value_is_a_conflict_named_field_by_field() -> None:
    live = _applied(None, with_containers({"name": "c", "image": "i"}, replicas=1), "a", 1)
    live = _updated(live, _spec(live, paused=True), "kubectl-edit")
    config = with_containers({"name": "c", "image": "j"}, replicas=2, paused=False)
    with pytest.raises(StatusError) as caught:
        MANAGER.apply(live, config, "b")
    image = '.spec.template.spec.containers[name="c"].image'
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n'
        f"- .spec.replicas\n- {image}\n"
        'conflicts with "kubectl-edit" using apps/v1:\n- .spec.paused'
    )
    assert caught.value.details == {
        "causes": [
            {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".spec.replicas"},
            {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": image},
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl-edit" using apps/v1',
                "field": ".spec.paused",
            },
        ]
    }


def test_one_conflict_is_told_in_one_line() -> None:
    live = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    with pytest.raises(StatusError) as caught:
        MANAGER.apply(live, deployment(replicas=2), "b")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "a" using apps/v1: .spec.replicas'


def test_a_conflict_with_a_subresource_names_it() -> None:
    scale = FieldManager(DEPLOYMENT, "apps", "v1", "Deployment", subresource="scale")
    live = stored(_updated(None, stored(deployment(replicas=1), uid=""), "a", 1))
    live = scale.update(live, _spec(live, replicas=3), "hpa")
    with pytest.raises(
        StatusError, match=r'conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas'
    ):
        MANAGER.apply(live, deployment(replicas=2), "b")


def test_force_takes_the_field() -> None:
    live = _applied(None, deployment(replicas=1, paused=True), "a", 1)
    live = _applied(live, deployment(replicas=2), "b", 2, force=True)
    assert live["spec"]["replicas"] == 2
    assert owners(live) == {("a", "Apply"): {"f:spec": {"f:paused": {}}}, ("b", "Apply"): _REPLICAS}
    assert times(live) == {"a": T[1], "b": T[2]}


def test_what_is_no_longer_said_goes_away_unless_nobody_said_it() -> None:
    live = _applied(None, with_containers({"name": "c", "image": "i"}, {"name": "d", "image": "i"}, replicas=1), "a", 1)
    defaulted = _spec(live, revisionHistoryLimit=10)
    found = _applied(defaulted, with_containers({"name": "c", "image": "i"}), "a", 2)
    assert [c["name"] for c in found["spec"]["template"]["spec"]["containers"]] == ["c"]
    assert "replicas" not in found["spec"]
    assert found["spec"]["revisionHistoryLimit"] == 10


def test_an_element_that_somebody_else_owns_in_part_stays_in_part() -> None:
    live = _applied(None, with_containers({"name": "c", "image": "i", "tty": True}), "a", 1)
    live = _applied(live, with_containers({"name": "c", "workingDir": "/w"}), "b", 2)
    found = _applied(live, with_containers({"name": "x"}), "a", 3)
    assert found["spec"]["template"]["spec"]["containers"] == [
        {"name": "c", "workingDir": "/w", "resources": {}},
        {"name": "x", "resources": {}},
    ]


def test_the_last_label_of_an_applier_goes_and_the_name_stays() -> None:
    config = deployment(replicas=1)
    live = _applied(None, {**config, "metadata": {"name": "web", "labels": {"a": "b"}}}, "a", 1)
    found = _applied(live, config, "a", 2)
    assert found["metadata"]["name"] == "web"
    assert found["metadata"]["uid"] == "u-1"
    assert "labels" not in found["metadata"]


def test_an_applier_that_says_nothing_has_no_entry() -> None:
    live = _applied(None, deployment(replicas=1), "a", 1)
    found = _applied(live, _SILENT, "a", 2)
    assert "managedFields" not in found["metadata"]


def test_status_in_a_configuration_is_not_owned_by_the_main_resource() -> None:
    live = _applied(None, {**deployment(replicas=1), "status": {"replicas": 1}}, "a", 1)
    assert owners(live) == {("a", "Apply"): _REPLICAS}


def test_an_empty_struct_is_something_said() -> None:
    assert owners(_applied(None, deployment(), "a", 1)) == {("a", "Apply"): {"f:spec": {}}}


def test_a_configuration_of_another_kind_or_with_owners_is_refused() -> None:
    with pytest.raises(StatusError, match="invalid object type: /v1, Kind=Pod") as caught:
        MANAGER.apply(None, {"apiVersion": "v1", "kind": "Pod"}, "a")
    assert caught.value.code == 400
    config = deployment(replicas=1)
    with pytest.raises(StatusError, match=r"metadata.managedFields must be nil"):
        MANAGER.apply(None, {**config, "metadata": {"name": "x", "managedFields": []}}, "a")


def test_a_configuration_that_does_not_fit_the_schema_is_upstreams_error_500() -> None:
    with pytest.raises(StatusError) as caught:
        MANAGER.apply(None, deployment(replica=1), "a")
    assert (caught.value.code, caught.value.reason) == (500, "")
    assert caught.value.message == (
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): "
        ".spec.replica: field not declared in schema"
    )


def test_a_live_object_that_does_not_fit_is_told_too() -> None:
    live = stored(deployment(replicas=1))
    broken = _spec(live, template={"spec": {"volumes": [{"name": "v"}, None]}})
    with pytest.raises(StatusError) as caught:
        MANAGER.apply(broken, deployment(paused=True), "a")
    assert caught.value.message == (
        "failed to create typed live object (/web; apps/v1, Kind=Deployment): "
        ".spec.template.spec.volumes: element 1: associative list with keys may not have a null element"
    )


# --- versions and kinds without a schema --------------------------------------------------------------------------


def _entry(manager: str, api_version: str, owned: Object) -> Object:
    return {
        "manager": manager, "operation": "Update", "apiVersion": api_version, "time": T[0],
        "fieldsType": "FieldsV1", "fieldsV1": owned,
    }  # fmt: skip


def test_owners_at_a_version_that_is_gone_are_forgotten() -> None:
    live = stored(deployment(replicas=1))
    live["metadata"]["managedFields"] = [
        _entry("old", "extensions/v1beta1", _REPLICAS),
        _entry("new", "apps/v1", _REPLICAS),
    ]
    assert list(owners(_updated(live, _spec(live, replicas=2), "b"))) == [("b", "Update")]
    assert list(owners(_updated(live, _spec(live, paused=True), "b"))) == [("new", "Update"), ("b", "Update")]


def test_owners_at_another_version_are_asked_in_their_own_words() -> None:
    def convert(obj: Object, version: str) -> tuple[Object, None] | None:
        if version == obj.get("apiVersion"):
            return obj, None
        names = ("count", "size") if version == "example.com/v2" else ("size", "count")
        if version not in ("example.com/v1", "example.com/v2"):
            return None
        out = {k: v for k, v in obj.items() if k != names[0]} | {"apiVersion": version}
        return (out | {names[1]: obj[names[0]]} if names[0] in obj else out), None

    v1, v2 = (FieldManager(None, "example.com", v, "Thing", convert=convert) for v in ("v1", "v2"))
    one = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    two = {**one, "apiVersion": "example.com/v2"}
    live = v1.apply(None, {**one, "count": 1, "other": 1}, "a", now=T[1])
    seen = convert(live, "example.com/v2")
    assert seen is not None
    with pytest.raises(StatusError) as caught:
        v2.apply(seen[0], {**two, "size": 2}, "b")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "a": .count'
    moved = v2.apply(seen[0], {**two, "size": 1}, "a", now=T[2])
    assert moved["size"] == 1
    assert "other" not in moved
    assert owners(moved) == {("a", "Apply"): {"f:size": {}}}


def test_kinds_without_a_schema_have_granular_maps_and_atomic_lists() -> None:
    things = FieldManager(None, "example.com", "v1", "Thing", reset=fields("status"))

    def thing(**more: Any) -> Object:
        return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, **more}

    live = things.apply(None, thing(spec={"map": {"a": 1}, "list": [1]}), "a", now=T[1])
    live["metadata"]["uid"] = "u"
    live = things.apply(live, thing(spec={"map": {"b": 2}}), "b", now=T[2])
    assert live["spec"] == {"map": {"a": 1, "b": 2}, "list": [1]}
    # Maps are said by everyone who says something in them.
    assert owners(live)["b", "Apply"] == {"f:spec": {".": {}, "f:map": {".": {}, "f:b": {}}}}
    with pytest.raises(StatusError, match=r"Apply failed with 1 conflict.*: .spec.list$"):
        things.apply(live, thing(spec={"list": [1, 2]}), "b")
    live = things.update(live, {**live, "spec": {**live["spec"], "list": [1, 2]}}, "c", now=T[3])
    assert owners(live)["c", "Update"] == {"f:spec": {"f:list": {}}}
    found = things.apply(live, thing(spec={"map": {}}), "a", now=T[4])
    assert found["spec"] == {"map": {"b": 2}, "list": [1, 2]}


def test_a_number_that_becomes_true_is_a_change() -> None:
    things = FieldManager(None, "example.com", "v1", "Thing")
    config = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "flag": 1}
    live = things.apply(None, config, "a", now=T[1])
    found = things.apply(live, {**config, "flag": True}, "a", now=T[2])
    assert found["flag"] is True
    assert times(found) == {"a": T[2]}


# --- the times of owners ------------------------------------------------------------------------------------------


def test_a_write_that_only_moves_times_is_recognized() -> None:
    live = _applied(None, deployment(replicas=1), "a", 1)
    later = deepcopy(live)
    later["metadata"]["managedFields"][0]["time"] = T[9]
    assert same_but_times(live, later)
    assert not same_but_times(live, _spec(later, replicas=2))
    later["metadata"]["managedFields"][0]["fieldsV1"] = {"f:spec": {"f:paused": {}}}
    assert not same_but_times(live, later)
    assert not same_but_times(live, stored(deployment(replicas=1)))


def test_the_entries_of_a_pod_in_its_life() -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    created = PODS.update(None, stored(pod, "", POD), "kube-controller-manager", now=T[1])
    created["metadata"]["uid"] = "u"
    kubelet = FieldManager(POD, "", "v1", "Pod", subresource="status", reset=fields("spec"))
    ready = {"type": "Ready", "status": "True", "lastProbeTime": None}
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [ready], "containerStatuses": []}
    running = kubelet.update(created, {**created, "status": status}, "kubelet", now=T[2])
    condition = {'k:{"type":"Ready"}': {".": {}, "f:lastProbeTime": {}, "f:status": {}, "f:type": {}}}
    assert owners(running)["kubelet", "Update"] == {
        "f:status": {
            "f:conditions": {".": {}, **condition},
            "f:containerStatuses": {},
            "f:phase": {},
            "f:podIPs": {".": {}, 'k:{"ip":"10.0.0.1"}': {".": {}, "f:ip": {}}},
        }
    }
    later = kubelet.update(running, {**running, "status": {**status, "phase": "Failed"}}, "kubelet", now=T[3])
    assert owners(later) == owners(running)
    assert times(later) == {"kube-controller-manager": T[1], "kubelet": T[3]}
