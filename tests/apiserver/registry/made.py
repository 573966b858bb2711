"""Objects as the API server would hold them: decoded, defaulted, created."""

import copy
from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import by_kind
from apimachinery.schema import decode_object
from apiserver.registry import STRATEGIES, Strategy

Object = dict[str, Any]


def strategy_of(obj: Object) -> Strategy:
    resource = by_kind(obj["apiVersion"], obj["kind"])
    assert resource is not None
    return STRATEGIES[resource]


def create(obj: Object) -> Object:
    """What a POST stores; raises what it is refused with."""
    strategy = strategy_of(obj)
    made = decode_object(copy.deepcopy(obj), strategy.resource)
    assert made.strict == []
    strategy.default(made.obj)
    strategy.before_create(made.obj, "2024-01-01T00:00:00Z")
    made.obj["metadata"]["resourceVersion"] = "1"
    return made.obj


def update(old: Object, **changes: Any) -> Object:
    """What a PUT stores: ``spec__replicas=3`` sets a field, None removes it."""
    new = copy.deepcopy(old)
    for path, value in changes.items():
        set_at(new, path.replace("__", "/"), value)
    strategy = strategy_of(old)
    decoded = decode_object(new, strategy.resource)
    assert decoded.strict == []
    strategy.default(decoded.obj)
    strategy.before_update(decoded.obj, old)
    return decoded.obj


def set_at(obj: Object, path: str, value: Any) -> Object:
    at: Any = obj
    *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for p in parents:
        at = at.setdefault(p, {}) if isinstance(at, dict) else at[p]
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return obj


def changed(obj: Object, path: str, value: Any) -> Object:
    return set_at(copy.deepcopy(obj), path, value)


def refusals(obj: Object) -> list[str]:
    """The messages with which a creation is refused."""
    with pytest.raises(StatusError) as error:
        create(obj)
    assert error.value.code == 422
    return [f"{c['field']}: {c['message']}" for c in error.value.causes]


def update_refusals(old: Object, **changes: Any) -> list[str]:
    with pytest.raises(StatusError) as error:
        update(old, **changes)
    assert error.value.code == 422
    return [f"{c['field']}: {c['message']}" for c in error.value.causes]


def status_refusals(old: Object, **changes: Any) -> list[str]:
    """The messages with which a PUT of ``/status`` is refused."""
    new = copy.deepcopy(old)
    for path, value in changes.items():
        set_at(new, path.replace("__", "/"), value)
    with pytest.raises(StatusError) as error:
        strategy_of(old).before_status_update(new, old)
    assert error.value.code == 422
    return [f"{c['field']}: {c['message']}" for c in error.value.causes]


def row(obj: Object, now: float = 1704067260.0) -> list[Any]:
    """The cells a minute after ``create`` says the object was made."""
    return strategy_of(obj).cells(obj, now)


def pod(**spec: Any) -> Object:
    containers = spec.pop("containers", [{"name": "c", "image": "nginx:1.27"}])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": containers, **spec},
    }


def workload(kind: str, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod()["spec"]},
            **spec,
        },
    }


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}, **spec},
    }


def core(kind: str, namespace: str = "default", **fields: Any) -> Object:
    metadata: Object = {"name": "x"}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}
