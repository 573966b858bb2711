"""Rules of metadata."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from tests.apiserver.registry.made import core, create, refusals, update, update_refusals


def with_metadata(**metadata: Any) -> dict[str, Any]:
    obj = core("ConfigMap")
    obj["metadata"] |= metadata
    return obj


OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "a/b"}, "metadata.name: Invalid value: \"a/b\": may not contain '/'"),
        ({"namespace": ""}, "metadata.namespace: Required value"),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, 'metadata.finalizers: Invalid value: []string{"orphan", "foregroundDeletion"}: finalizer orphan and foregroundDeletion cannot be both set'),
        ({"ownerReferences": [{**OWNER, "uid": ""}]}, 'metadata.ownerReferences.uid: Invalid value: "": uid must not be empty'),
        ({"annotations": {"a": "x" * (1 << 18)}}, "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"labels": {"a": "b c"}}, None),
    ],
)  # fmt: skip
def test_rules(metadata: dict[str, Any], why: str | None) -> None:
    found = refusals(with_metadata(**metadata))
    assert why in found if why else found[0].startswith('metadata.labels: Invalid value: "b c": a valid label must')


def test_only_one_owner_controls() -> None:
    owners = [{**OWNER, "controller": True}, {**OWNER, "name": "q", "uid": "2", "controller": True}]
    (why,) = refusals(with_metadata(ownerReferences=owners))
    assert why.endswith('Found "true" in references for Pod/p and Pod/q')


def test_cluster_wide_kinds_have_no_namespace() -> None:
    assert refusals(core("Namespace", "default")) == ["metadata.namespace: Forbidden: not allowed on this type"]


def test_what_the_system_set_stays() -> None:
    made = create(with_metadata())
    again = update(made, metadata__creationTimestamp="2000-01-01T00:00:00Z", metadata__uid=None, metadata__generation=4)
    assert again["metadata"] == made["metadata"]
    refused = update_refusals(made, metadata__name="y", metadata__uid="other")
    assert refused == [
        'metadata.name: Invalid value: "y": field is immutable',
        'metadata.uid: Invalid value: "other": field is immutable',
    ]


def test_finalizers_are_not_added_to_what_is_going() -> None:
    made = create(with_metadata(finalizers=["a/b"]))
    made["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    update(made, metadata__finalizers=None)
    assert update_refusals(made, metadata__finalizers=["a/b", "c/d"]) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"c/d"}'
    ]
