"""What webhook configurations and admission policies may say."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from tests.apiserver.registry.made import Object, changed, create, refusals, update

GROUP = "admissionregistration.k8s.io/v1"
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
HOOK = {
    "name": "a.b.example", "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "sideEffects": "None",
    "admissionReviewVersions": ["v1"], "rules": [RULE],
}  # fmt: skip
FORM = "; desired format: https://host[/path]"


def thing(kind: str, **fields: Any) -> Object:
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": "x.example"}, **fields}


def hooks(*changes: Object) -> Object:
    return thing("MutatingWebhookConfiguration", webhooks=[{**HOOK, **c} for c in changes or ({},)])


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("name", "", ["name: Required value"]),
        ("name", "a.example", ['name: Invalid value: "a.example": should be a domain with at least three segments separated by dots']),
        ("rules/0/operations", ["*", "CREATE"], ['rules[0].operations: Invalid value: []string{"*", "CREATE"}: if \'*\' is present, must not specify other operations']),
        ("rules/0/operations", ["READ"], ['rules[0].operations[0]: Unsupported value: "READ": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"']),
        ("rules/0/apiGroups", [], ["rules[0].apiGroups: Required value"]),
        ("rules/0/apiGroups", ["*", "apps"], ['rules[0].apiGroups: Invalid value: []string{"*", "apps"}: if \'*\' is present, must not specify other API groups']),
        ("rules/0/apiVersions", [""], ["rules[0].apiVersions[0]: Required value"]),
        ("rules/0/resources", ["pods/*", "pods/log"], ['rules[0].resources[1]: Invalid value: "pods/log": if \'pods/*\' is present, must not specify pods/log']),
        ("rules/0/resources", ["*", "pods"], ['rules[0].resources: Invalid value: []string{"*", "pods"}: if \'*\' is present, must not specify other resources without subresources']),
        ("rules/0/scope", "Here", ['rules[0].scope: Unsupported value: "Here": supported values: "*", "Cluster", "Namespaced"']),
        ("failurePolicy", "Guess", ['failurePolicy: Unsupported value: "Guess": supported values: "Fail", "Ignore"']),
        ("matchPolicy", "Guess", ['matchPolicy: Unsupported value: "Guess": supported values: "Equivalent", "Exact"']),
        ("sideEffects", "Some", ['sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"']),
        ("timeoutSeconds", 31, ["timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"]),
        ("reinvocationPolicy", "Twice", ['reinvocationPolicy: Unsupported value: "Twice": supported values: "IfNeeded", "Never"']),
        ("clientConfig", {}, ["clientConfig: Required value: exactly one of url or service is required"]),
        ("clientConfig", {"url": "http://me@/?a#b"}, [f"clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme{FORM}", f'clientConfig.url: Invalid value: "": host must be specified{FORM}', 'clientConfig.url: Invalid value: "me": user information is not permitted in the URL', 'clientConfig.url: Invalid value: "b": fragments are not permitted in the URL', 'clientConfig.url: Invalid value: "a": query parameters are not permitted in the URL']),
        ("clientConfig", {"service": {"port": 70000}}, ["clientConfig.service.name: Required value: service name is required", "clientConfig.service.namespace: Required value: service namespace is required", "clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive"]),
        ("clientConfig/service/path", "/a//b", ['clientConfig.service.path: Invalid value: "/a//b": segment[1] may not be empty']),
        ("matchConditions", [{"name": "a"}, {"name": "a", "expression": "true"}], ["matchConditions[0].expression: Required value", 'matchConditions[1].name: Duplicate value: "a"']),
        ("admissionReviewVersions", ["v2", "v2"], ['admissionReviewVersions[1]: Invalid value: "v2": duplicate version', 'admissionReviewVersions: Invalid value: []string{"v2", "v2"}: must include at least one of v1, v1beta1']),
    ],
)  # fmt: skip
def test_webhooks(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(hooks(), f"webhooks/0/{path}", value)) == [f"webhooks[0].{c}" for c in causes]


def test_webhooks_have_names_of_their_own() -> None:
    assert refusals(hooks({}, {})) == ['webhooks[1].name: Duplicate value: "a.b.example"']


def test_what_old_webhooks_do_wrong_they_may_go_on_doing() -> None:
    old = changed(create(hooks({}, {"name": "c.d.example"})), "webhooks/1/name", "a.b.example")
    old["webhooks"][0]["sideEffects"] = "Unknown"
    assert update(old, webhooks__0__timeoutSeconds=3)["webhooks"][0]["sideEffects"] == "Unknown"


def policy(**spec: Any) -> Object:
    constraints = {"resourceRules": [RULE]}
    return thing(
        "ValidatingAdmissionPolicy",
        spec={"matchConstraints": constraints, "validations": [{"expression": "true"}], **spec},
    )


ONE = "validations or auditAnnotations must contain at least one item"


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("failurePolicy", "Guess", ['spec.failurePolicy: Unsupported value: "Guess": supported values: "Fail", "Ignore"']),
        ("paramKind", {"apiVersion": "a/b/c", "kind": "A"}, ['spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c']),
        ("paramKind", {}, ["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"]),
        ("matchConstraints", None, ["spec.matchConstraints: Required value"]),
        ("matchConstraints", {}, ["spec.matchConstraints.resourceRules: Required value"]),
        ("matchConstraints/resourceRules/0/resourceNames", ["a", "a"], ['spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a"']),
        ("variables", [{"name": "in"}], ['spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier', "spec.variables[0].expression: Required value: expression is not specified"]),
        ("validations", [], [f"spec.validations: Required value: {ONE}", f"spec.auditAnnotations: Required value: {ONE}"]),
        ("validations", [{"expression": " "}], ["spec.validations[0].expression: Required value: expression is not specified"]),
        ("validations/0/message", "a\nb", ['spec.validations[0].message: Invalid value: "a\\nb": message must not contain line breaks']),
        ("validations/0/messageExpression", " ", ['spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified']),
        ("validations/0/reason", "Mood", ['spec.validations[0].reason: Unsupported value: "Mood": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"']),
        ("auditAnnotations", [{"key": "a", "valueExpression": "b"}, {"key": "a"}], ["spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified", 'spec.auditAnnotations[1].key: Duplicate value: "a"']),
    ],
)  # fmt: skip
def test_policies(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(policy(), f"spec/{path}", value)) == causes


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("policyName", "", ["spec.policyName: Required value"]),
        ("paramRef", {}, ["spec.paramRef: Required value: one of name or selector must be specified", "spec.paramRef.parameterNotFoundAction: Required value"]),
        ("paramRef", {"name": "a", "selector": {}, "parameterNotFoundAction": "Guess"}, ["spec.paramRef.name: Forbidden: name and selector are mutually exclusive", "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive", 'spec.paramRef.parameterNotFoundAction: Unsupported value: "Guess": supported values: "Deny", "Allow"']),
        ("validationActions", [], ["spec.validationActions: Required value: at least one validation action is required"]),
        ("validationActions", ["Deny", "Deny"], ['spec.validationActions[1]: Duplicate value: "Deny"']),
        ("validationActions", ["Shout"], ['spec.validationActions[0]: Unsupported value: "Shout": supported values: "Audit", "Deny", "Warn"']),
        ("validationActions", ["Deny", "Warn"], ['spec.validationActions: Invalid value: []string{"Deny", "Warn"}: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)']),
        ("matchResources", {"matchPolicy": "Guess"}, ['spec.matchResouces.matchPolicy: Unsupported value: "Guess": supported values: "Equivalent", "Exact"']),
    ],
)  # fmt: skip
def test_policy_bindings(path: str, value: Any, causes: list[str]) -> None:
    spec = {"policyName": "x", "validationActions": ["Deny"]}
    binding = thing("ValidatingAdmissionPolicyBinding", spec=spec)
    assert refusals(changed(binding, f"spec/{path}", value)) == causes
