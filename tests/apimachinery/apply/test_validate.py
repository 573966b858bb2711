from typing import Any

import pytest

from apimachinery.apply.validate import TypedError, check
from tests.apimachinery.apply.deployments import DEPLOYMENT, deployment, with_containers

_CONTAINERS = ".spec.template.spec.containers"
_A = _CONTAINERS + '[name="a"]'
_STRING = "expected string, got &value.valueUnstructured{Value:%s}"
_NULL = ": element 0: associative list with keys may not have a null element"
_NUMBER = "expected numeric (int or float), got "
_PORTS = [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (deployment(replica=1), ".spec.replica: field not declared in schema"),
        (deployment(replicas="3"), ".spec.replicas: " + _NUMBER + "string"),
        (deployment(replicas=True), ".spec.replicas: " + _NUMBER + "bool"),
        (deployment(paused="yes"), ".spec.paused: expected boolean, got &{yes}"),
        (deployment(strategy=[1, "a"]), ".spec.strategy: expected map, got &{[1 a]}"),
        (
            deployment(strategy={"rollingUpdate": {"maxSurge": {}}}),
            ".spec.strategy.rollingUpdate.maxSurge: expected any scalar, got &{map[]}",
        ),
        (with_containers({"name": 3}), _CONTAINERS + "[name=3].name: " + _STRING % 3),
        (with_containers({"name": "a", "image": ["x"]}), _A + ".image: " + _STRING % '[]interface {}{"x"}'),
        (with_containers({"name": "a", "args": [1]}), _A + ".args[0]: " + _STRING % 1),
        (
            deployment(template={"spec": {"containers": {"name": "a"}}}),
            f"{_CONTAINERS}: expected list, got &{{map[name:a]}}",
        ),
        (with_containers({"name": "a"}, {"name": "a"}), f'{_CONTAINERS}: duplicate entries for key [name="a"]'),
        (
            deployment(template={"spec": {"containers": [None]}}),
            f"{_CONTAINERS}: element 0: associative list with keys may not have a null element",
        ),
        (
            with_containers({"name": "a", "ports": _PORTS}),
            _A + '.ports: duplicate entries for key [containerPort=80,protocol="TCP"]',
        ),
    ],
)
def test_what_does_not_fit_is_told_in_upstreams_words(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TypedError) as caught:
        check(config, DEPLOYMENT)
    assert str(caught.value) == complaint


def test_several_complaints_are_listed() -> None:
    with pytest.raises(TypedError) as caught:
        check(deployment(paused=1, replicas="1"), DEPLOYMENT)
    assert str(caught.value) == (
        "errors:\n  .spec.paused: expected boolean, got &{1}\n  .spec.replicas: expected numeric (int or float), got string"
    )


def test_nulls_fit_everywhere_and_live_objects_may_have_duplicates() -> None:
    check(deployment(replicas=None, strategy=None, template={"spec": {"containers": None}}), DEPLOYMENT)
    check(with_containers({"name": "a"}, {"name": "a"}), DEPLOYMENT, duplicates=True)
    check({"anything": [None]}, None)
