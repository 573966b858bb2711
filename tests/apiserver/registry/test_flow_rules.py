"""What flow schemas match, and what priority levels give."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from tests.apiserver.registry.made import Object, changed, create, refusals, status_refusals

SUBJECT = {"kind": "User", "user": {"name": "a"}}
RESOURCES = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
VERBS = '"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"'


def thing(kind: str, **spec: Any) -> Object:
    return {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def schema() -> Object:
    rule = {"subjects": [SUBJECT], "resourceRules": [RESOURCES]}
    return thing("FlowSchema", priorityLevelConfiguration={"name": "low"}, rules=[rule])


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("matchingPrecedence", -1, ["matchingPrecedence: Invalid value: -1: must be a positive value"]),
        ("matchingPrecedence", 10001, ["matchingPrecedence: Invalid value: 10001: must not be greater than 10000"]),
        ("matchingPrecedence", 1, ["matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"]),
        ("distinguisherMethod", {"type": "ByMood"}, ['distinguisherMethod.type: Unsupported value: flowcontrol.FlowDistinguisherMethod{Type:"ByMood"}: supported values: "ByNamespace", "ByUser"']),
        ("priorityLevelConfiguration", {"name": ""}, ["priorityLevelConfiguration.name: Required value: must reference a priority level"]),
        ("rules/0", {}, ["rules[0].subjects: Required value: subjects must contain at least one value", "rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"]),
        ("rules/0/subjects/0/kind", "Robot", ['rules[0].subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"']),
        ("rules/0/subjects/0/kind", "Group", ["rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'", "rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'"]),
        ("rules/0/subjects/0", {"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": ""}}, ["rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account"]),
        ("rules/0/resourceRules/0/verbs", ["fly"], [f'rules[0].resourceRules[0].verbs: Unsupported value: []string{{"fly"}}: supported values: {VERBS}']),
        ("rules/0/resourceRules/0/namespaces", [], ["rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace"]),
        ("rules/0/nonResourceRules", [{"verbs": ["*"], "nonResourceURLs": ["a", "/a//b", "/*/b"]}], ['rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash', 'rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a//b": must not contain double slash', 'rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/*/b": wildcard can only do suffix matching']),
    ],
)  # fmt: skip
def test_flow_schemas(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(schema(), f"spec/{path}", value)) == [f"spec.{c}" for c in causes]


def level() -> Object:
    queuing = {"queues": 64, "handSize": 6, "queueLengthLimit": 50}
    limited = {"limitResponse": {"type": "Queue", "queuing": queuing}}
    return thing("PriorityLevelConfiguration", type="Limited", limited=limited)


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("type", "Exempt", ["type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'", "limited: Forbidden: must be nil if the type is not Limited"]),
        ("type", "Free", ['type: Unsupported value: "Free": supported values: "Exempt", "Limited"']),
        ("limited", None, ["limited: Required value: must not be empty when type is Limited"]),
        ("limited/nominalConcurrencyShares", -1, ["limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer"]),
        ("limited/lendablePercent", 101, ["limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"]),
        ("limited/borrowingLimitPercent", -1, ["limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer"]),
        ("limited/limitResponse/type", "Reject", ["limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited"]),
        ("limited/limitResponse/type", "Wait", ['limited.limitResponse.type: Unsupported value: "Wait": supported values: "Queue", "Reject"']),
        ("limited/limitResponse/queuing/handSize", 65, ["limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)"]),
        ("limited/limitResponse/queuing/handSize", 11, ["limited.limitResponse.queuing.handSize: Invalid value: 11: required entropy bits of deckSize 64 and handSize 11 should not be greater than 60"]),
        ("limited/limitResponse/queuing/queues", -1, ["limited.limitResponse.queuing.queues: Invalid value: -1: must be positive", "limited.limitResponse.queuing.handSize: Invalid value: 6: should not be greater than queues (-1)"]),
    ],
)  # fmt: skip
def test_priority_levels(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(level(), f"spec/{path}", value)) == [f"spec.{c}" for c in causes]


def test_conditions_have_types_of_their_own() -> None:
    conditions = [{"type": "Dangling"}, {"type": "Dangling"}, {}]
    assert status_refusals(create(schema()), status__conditions=conditions) == [
        'status.conditions[1].type: Duplicate value: "Dangling"',
        "status.conditions[2].type: Required value: must not be empty",
    ]
