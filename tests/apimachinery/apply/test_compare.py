from typing import Any

from apimachinery.apply.compare import compare, same
from apimachinery.apply.shape import DEDUCED, shape_of
from tests.apimachinery.apply.deployments import DEPLOYMENT, POD, schema

Object = dict[str, Any]
_POD = shape_of(POD)


def _pod(**spec: Any) -> Object:
    return {"spec": spec}


def test_a_field_that_is_added_modified_or_removed() -> None:
    old, new = _pod(nodeName="a", hostname="h"), _pod(nodeName="b", subdomain="s")
    assert compare(old, new, _POD) == (
        {"f:spec": {"f:nodeName": {}, "f:subdomain": {}}},
        {"f:spec": {"f:hostname": {}}},
    )


def test_an_element_that_appears_is_owned_with_all_below_it() -> None:
    old = _pod(containers=[])
    new = _pod(containers=[{"name": "web", "image": "x", "resources": {}, "ports": [{"containerPort": 80}]}])
    port = {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}
    web = {".": {}, "f:image": {}, "f:name": {}, "f:ports": {".": {}, **port}, "f:resources": {}}
    assert compare(old, new, _POD) == ({"f:spec": {"f:containers": {'k:{"name":"web"}': web}}}, {})


def test_an_element_that_goes_away_goes_with_all_below_it() -> None:
    old = _pod(containers=[{"name": "web", "image": "x"}, {"name": "log"}])
    changed, removed = compare(old, _pod(containers=[{"name": "log"}]), _POD)
    assert changed == {}
    assert removed == {"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}, "f:name": {}}}}}


def test_the_order_of_identified_elements_does_not_matter() -> None:
    a, b = {"name": "a"}, {"name": "b"}
    assert compare(_pod(containers=[a, b]), _pod(containers=[b, a]), _POD) == ({}, {})


def test_what_is_atomic_changes_as_a_whole() -> None:
    old, new = _pod(nodeSelector={"a": "1", "b": "1"}), _pod(nodeSelector={"a": "2"})
    assert compare(old, new, _POD) == ({"f:spec": {"f:nodeSelector": {}}}, {})
    labels = {"spec": {"selector": {"matchLabels": {"a": "1"}}}}
    assert compare({"spec": {}}, labels, shape_of(DEPLOYMENT)) == ({"f:spec": {"f:selector": {}}}, {})


def test_members_of_a_set_come_and_go_one_by_one() -> None:
    old, new = {"metadata": {"finalizers": ["a", "b"]}}, {"metadata": {"finalizers": ["b", "c"]}}
    changed, removed = compare(old, new, _POD)
    assert changed == {"f:metadata": {"f:finalizers": {'v:"c"': {}}}}
    assert removed == {"f:metadata": {"f:finalizers": {'v:"a"': {}}}}


def test_an_explicit_null_is_a_value() -> None:
    condition = {"type": "Ready", "lastProbeTime": None}
    changed, _ = compare({"status": {}}, {"status": {"conditions": [condition]}}, _POD)
    ready = {'k:{"type":"Ready"}': {".": {}, "f:lastProbeTime": {}, "f:type": {}}}
    assert changed == {"f:status": {"f:conditions": {".": {}, **ready}}}


def test_elements_that_share_an_identity_are_compared_together() -> None:
    a, b = {"name": "x", "value": "1"}, {"name": "x", "value": "2"}

    def env(*items: Object) -> Object:
        return _pod(containers=[{"name": "c", "env": list(items)}])

    def at(below: Object) -> Object:
        return {"f:spec": {"f:containers": {'k:{"name":"c"}': {"f:env": {'k:{"name":"x"}': below}}}}}

    assert compare(env(a, b), env(a, b), _POD) == ({}, {})
    assert compare(env(a, b), env(b, a), _POD) == (at({}), {})
    whole = {".": {}, "f:name": {}, "f:value": {}}
    assert compare(env(a, b), env(a), _POD) == (at(whole), at({}))
    assert compare(env(a), env(a, b), _POD) == (at({}), at(whole))


def test_claim_references_are_granular_and_secret_references_are_not() -> None:
    shape = shape_of(schema("", "PersistentVolume"))
    claim = {"spec": {"claimRef": {"name": "a", "uid": "1"}}}
    renamed = {"spec": {"claimRef": {"name": "b", "uid": "1"}}}
    assert compare(claim, renamed, shape)[0] == {"f:spec": {"f:claimRef": {"f:name": {}}}}
    pulls = shape_of(schema("", "Secret"))
    old = {"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}
    new = {"metadata": {"ownerReferences": [{"uid": "1", "name": "b"}]}}
    assert compare(old, new, pulls)[0] == {"f:metadata": {"f:ownerReferences": {'k:{"uid":"1"}': {}}}}


def test_without_a_schema_maps_are_granular_and_lists_are_not() -> None:
    old = {"a": {"b": 1, "c": [1]}, "d": {"e": 1}, "f": 1}
    new = {"a": {"b": 1, "c": [2]}, "d": 5, "f": {"g": 1}}
    changed, removed = compare(old, new, DEDUCED)
    assert changed == {"f:a": {"f:c": {}}, "f:d": {}, "f:f": {".": {}, "f:g": {}}}
    assert removed == {"f:d": {"f:e": {}}}


def test_true_is_not_one() -> None:
    assert not same({"a": [1]}, {"a": [True]})
    assert same({"a": [1.0]}, {"a": [1]})
    assert compare({"a": {"b": 1}}, {"a": {"b": True}}, DEDUCED) == ({"f:a": {"f:b": {}}}, {})
