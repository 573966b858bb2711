from typing import Any

import pytest

from apimachinery.apply import fieldset
from apimachinery.apply.element import ElementError
from apimachinery.apply.merge import fields_of, merge, reconciled, remove
from apimachinery.apply.shape import DEDUCED, shape_of
from tests.apimachinery.apply.deployments import POD, schema

_POD = shape_of(POD)
_META = _POD.fields["metadata"][1]
_SPEC = _POD.fields["spec"][1]


def _finalizers(live: str, config: str) -> str:
    merged = merge({"finalizers": list(live)}, {"finalizers": list(config)}, _META)
    return "".join(merged["finalizers"])


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("abc", "abc", "abc"),
        ("abc", "x", "abcx"),
        ("abc", "cb", "acb"),
        ("abc", "ca", "bca"),
        ("b", "abc", "abc"),
        ("abcde", "1b2ed", "a1bc2ed"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
    ],
)
def test_merged_lists_keep_both_orders_where_they_can(live: str, config: str, merged: str) -> None:
    assert _finalizers(live, config) == merged


def test_elements_merge_by_their_keys() -> None:
    live = {"containers": [{"name": "a", "image": "1", "tty": True}, {"name": "b"}]}
    merged = merge(live, {"containers": [{"name": "a", "image": "2"}]}, _SPEC)
    assert merged == {"containers": [{"name": "a", "image": "2", "tty": True}, {"name": "b"}]}
    assert live["containers"][0]["image"] == "1", "the live object was changed"


def test_a_port_without_a_protocol_is_the_tcp_port() -> None:
    container = _SPEC.fields["containers"][1].element
    assert container is not None
    live = {"ports": [{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]}
    merged = merge(live, {"ports": [{"containerPort": 80, "name": "http"}]}, container)
    assert [p.get("name") for p in merged["ports"]] == [None, "http"]


def test_what_is_atomic_is_replaced() -> None:
    live = {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "a"}]}
    config = {"nodeSelector": {"b": "1"}, "tolerations": [{"key": "b"}]}
    assert merge(live, config, _SPEC) == config


def test_a_null_does_not_empty_a_map_but_is_said() -> None:
    assert merge({"labels": {"a": "1"}}, {"labels": None}, _META) == {"labels": {"a": "1"}}
    assert merge({"labels": {}}, {"labels": None}, _META) == {"labels": None}
    assert fields_of({"metadata": {"labels": None}}, _POD) == {"f:metadata": {"f:labels": {}}}


def test_without_a_schema_a_value_may_become_another_type() -> None:
    assert merge({"a": {"b": 1}}, {"a": 5}, DEDUCED) == {"a": 5}
    assert merge({"a": 5}, {"a": {"b": 1}}, DEDUCED) == {"a": {"b": 1}}
    assert merge({"a": {"b": 1}, "l": [1]}, {"a": {"c": 2}, "l": [2]}, DEDUCED) == {"a": {"b": 1, "c": 2}, "l": [2]}


def test_the_fields_of_an_object_are_its_leaves_entries_and_elements() -> None:
    obj = {
        "metadata": {"labels": {"app": "x"}, "finalizers": ["f"], "annotations": {}},
        "spec": {
            "containers": [{"name": "c", "args": ["a"], "resources": {"limits": {"cpu": "1"}}}],
            "securityContext": {},
            "volumes": [],
        },
    }
    container = {".": {}, "f:args": {}, "f:name": {}, "f:resources": {"f:limits": {"f:cpu": {}}}}
    assert fields_of(obj, _POD) == {
        "f:metadata": {"f:annotations": {}, "f:finalizers": {'v:"f"': {}}, "f:labels": {"f:app": {}}},
        "f:spec": {"f:containers": {'k:{"name":"c"}': container}, "f:securityContext": {}},
    }


def test_an_element_without_any_key_has_no_place() -> None:
    shape = shape_of(schema("flowcontrol.apiserver.k8s.io", "FlowSchema"))
    with pytest.raises(ElementError, match='omits all key fields \\["type"\\]'):
        fields_of({"status": {"conditions": [{"status": "True"}]}}, shape)


def test_removing_leaves_null_where_nothing_is_left() -> None:
    obj: dict[str, Any] = {
        "metadata": {"labels": {"a": "1"}, "finalizers": ["x"]},
        "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d"}]},
    }
    gone = fieldset.from_paths(
        [
            ("f:metadata", "f:labels", "f:a"),
            ("f:metadata", "f:finalizers", 'v:"x"'),
            ("f:spec", "f:containers", 'k:{"name":"d"}'),
            ("f:spec", "f:containers", 'k:{"name":"c"}', "f:image"),
        ]
    )
    assert remove(obj, gone, _POD) == {
        "metadata": {"labels": None, "finalizers": None},
        "spec": {"containers": [{"name": "c"}]},
    }


def test_what_became_atomic_is_owned_as_a_whole() -> None:
    owned = {"f:spec": {"f:nodeSelector": {"f:a": {}}, "f:containers": {'k:{"name":"c"}': {"f:args": {"i:0": {}}}}}}
    assert reconciled(owned, _POD) == {
        "f:spec": {"f:nodeSelector": {}, "f:containers": {'k:{"name":"c"}': {"f:args": {}}}}
    }
    fine = {"f:spec": {"f:nodeSelector": {}}, "f:unknown": {"f:x": {}}}
    assert reconciled(fine, _POD) is fine
