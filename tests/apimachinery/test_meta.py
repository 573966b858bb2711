"""Stamps, owners, finalizers and conditions."""

import re
from typing import Any

from apimachinery import meta


def test_times_have_one_form() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", meta.now_rfc3339())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", meta.now_micro())
    assert meta.format_time(0) == "1970-01-01T00:00:00Z"
    assert meta.format_micro(1.5) == "1970-01-01T00:00:01.500000Z"
    assert meta.parse_time("1970-01-01T00:00:01.500000Z") == 1.5
    assert meta.parse_time("1970-01-01T01:00:00+01:00") == 0


def test_generated_names_fit_a_label() -> None:
    name = meta.generate_name("x" * 80)
    assert len(name) == 63
    assert re.fullmatch(r"web-[bcdfghjklmnpqrstvwxz2456789]{5}", meta.generate_name("web-"))


def test_keys_name_an_object_in_a_cache() -> None:
    assert meta.key({"metadata": {"namespace": "a", "name": "b"}}) == "a/b"
    assert meta.key({"metadata": {"name": "b"}}) == "b"
    assert meta.split_key("a/b") == ("a", "b")
    assert meta.split_key("b") == ("", "b")


def test_a_controller_owns_what_it_creates() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs", "uid": "1"}}
    pod = {"metadata": {"name": "p", "ownerReferences": [{"uid": "0"}, meta.controller_reference(owner)]}}
    assert meta.is_controlled_by(pod, owner)
    assert meta.controller_of(pod) == meta.controller_reference(owner)
    assert meta.controller_of({"metadata": {}}) is None


def test_finalizers_come_and_go_once() -> None:
    obj: dict[str, Any] = {"metadata": {}}
    assert meta.add_finalizer(obj, "a/b")
    assert not meta.add_finalizer(obj, "a/b")
    assert meta.remove_finalizer(obj, "a/b")
    assert not meta.remove_finalizer(obj, "a/b")
    assert obj == {"metadata": {}}


def test_the_transition_time_moves_only_with_the_status() -> None:
    status: dict[str, Any] = {}
    assert meta.set_condition(status, {"type": "Ready", "status": "False", "reason": "Starting"}, "t1")
    assert meta.set_condition(status, {"type": "Ready", "status": "False", "reason": "Waiting"}, "t2")
    assert status["conditions"] == [
        {"type": "Ready", "status": "False", "reason": "Waiting", "lastTransitionTime": "t1"}
    ]
    assert not meta.set_condition(status, {"type": "Ready", "status": "False", "reason": "Waiting"}, "t3")
    assert meta.set_condition(status, {"type": "Ready", "status": "True"}, "t4")
    assert status["conditions"] == [{"type": "Ready", "status": "True", "lastTransitionTime": "t4"}]
    assert meta.condition_is_true({"status": status}, "Ready")
    assert meta.remove_condition(status, "Ready")
    assert not meta.remove_condition(status, "Ready")
