"""The way over from client-side apply, which only the manager "kubectl" goes."""

import json
from typing import Any

import pytest

from apimachinery.apply.lastapplied import ANNOTATION
from apimachinery.errors import StatusError
from tests.apimachinery.apply.deployments import MANAGER, Object, T, deployment, owners, stored


def _client_side(config: Object, annotation: str | None = None) -> Object:
    """An object that kubectl had applied from the client's side."""
    text = json.dumps(config) if annotation is None else annotation
    obj = {**config, "metadata": {**config["metadata"], "annotations": {ANNOTATION: text}}}
    return stored(MANAGER.update(None, stored(obj, uid=""), "kubectl-client-side-apply", now=T[1]))


def _applied(live: Object, config: Object, manager: str = "kubectl", **more: Any) -> Object:
    return stored(MANAGER.apply(live, config, manager, now=T[2], **more))


def test_kubectl_does_not_conflict_with_its_own_client_side_apply() -> None:
    live = _client_side(deployment(replicas=1))
    found = _applied(live, deployment(replicas=2))
    assert found["spec"]["replicas"] == 2
    assert owners(found)["kubectl", "Apply"] == {"f:spec": {"f:replicas": {}}}
    assert "f:spec" not in owners(found)["kubectl-client-side-apply", "Update"]


def test_the_annotation_follows_for_those_who_read_it() -> None:
    found = _applied(_client_side(deployment(replicas=1)), deployment(replicas=2))
    text = found["metadata"]["annotations"][ANNOTATION]
    assert text == '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":2}}\n'


def test_other_managers_conflict_and_leave_the_annotation_alone() -> None:
    live = _client_side(deployment(replicas=1))
    with pytest.raises(StatusError, match=r'conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'):
        _applied(live, deployment(replicas=2), "argocd")
    found = _applied(live, deployment(replicas=2), "argocd", force=True)
    assert json.loads(found["metadata"]["annotations"][ANNOTATION])["spec"] == {"replicas": 1}


def test_what_was_changed_since_is_a_conflict_and_only_that() -> None:
    live = _client_side(deployment(replicas=1, paused=True))
    live = MANAGER.update(live, {**live, "spec": {**live["spec"], "replicas": 5}}, "hpa", now=T[3])
    with pytest.raises(StatusError) as caught:
        _applied(live, deployment(replicas=2, paused=False))
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "hpa" using apps/v1: .spec.replicas'


@pytest.mark.parametrize("annotation", ["", "{", "[]", json.dumps({"apiVersion": "v1"}), json.dumps(deployment(x=1))])
def test_an_annotation_that_says_nothing_usable_helps_nobody(annotation: str) -> None:
    with pytest.raises(StatusError, match="Apply failed with 1 conflict"):
        _applied(_client_side(deployment(replicas=1), annotation), deployment(replicas=2))


def test_an_annotation_that_would_be_too_large_goes_away() -> None:
    config = deployment(replicas=1)
    config["metadata"]["annotations"] = {"big": "x" * 140_000}
    live = _client_side(deployment(replicas=1))
    assert list(_applied(live, config)["metadata"]["annotations"]) == ["big"]


def test_objects_without_the_annotation_get_none() -> None:
    live = stored(MANAGER.apply(None, deployment(replicas=1), "kubectl", now=T[1]))
    assert "annotations" not in _applied(live, deployment(replicas=2))["metadata"]
