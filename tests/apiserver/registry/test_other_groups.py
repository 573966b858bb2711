"""Networking, policy, rbac, autoscaling, storage and the API server's own configuration."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from apiserver.registry.autoscaling import to_v1, to_v2
from tests.apiserver.registry.made import changed, create, refusals, row, update, update_refusals

RBAC = "rbac.authorization.k8s.io"


def thing(api_version: str, kind: str, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": namespace} if namespace else {"name": "x"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def ingress(**spec: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return thing("networking.k8s.io/v1", "Ingress", spec={"rules": [rule], **spec})


def hpa(version: str = "v2", **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return thing(
        f"autoscaling/{version}", "HorizontalPodAutoscaler", spec={"scaleTargetRef": target, "maxReplicas": 5, **spec}
    )


def claim(**spec: Any) -> dict[str, Any]:
    storage = {"requests": {"storage": "1Gi"}}
    return thing("v1", "PersistentVolumeClaim", spec={"accessModes": ["ReadWriteOnce"], "resources": storage, **spec})


def volume(**spec: Any) -> dict[str, Any]:
    source = {"hostPath": {"path": "/data"}}
    return thing(
        "v1",
        "PersistentVolume",
        "",
        spec={"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, **source, **spec},
    )


def binding(**fields: Any) -> dict[str, Any]:
    subjects = [{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "ns"}]
    return thing(f"{RBAC}/v1", "RoleBinding", roleRef={"kind": "Role", "name": "r"}, subjects=subjects, **fields)


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (ingress(rules=[]), "spec: Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified"),
        (changed(ingress(), "spec/rules/0/http/paths/0/pathType", None), "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"),
        (changed(ingress(), "spec/rules/0/http/paths/0/path", "x"), 'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path'),
        (changed(ingress(), "spec/rules/0/http/paths/0/backend/service/port", {}), "spec.rules[0].http.paths[0].backend: Required value: port name or number is required"),
        (thing("networking.k8s.io/v1", "NetworkPolicy", spec={"ingress": [{"from": [{}]}]}), "spec.ingress[0].from[0]: Required value: must specify a peer"),
        (thing("policy/v1", "PodDisruptionBudget", spec={"maxUnavailable": "200%"}), 'spec.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:"200%"}: must not be greater than 100%'),
        (thing("scheduling.k8s.io/v1", "PriorityClass", "", value=2_000_000_000), "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
        (thing(f"{RBAC}/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"]}]), "rules[0].verbs: Required value: verbs must contain at least one value"),
        (thing(f"{RBAC}/v1", "Role", rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]), 'rules[0].nonResourceURLs: Invalid value: []string{"/x"}: namespaced rules cannot apply to non-resource URLs'),
        (changed(binding(), "subjects/1/name", ""), "subjects[1].name: Required value"),
        (changed(binding(), "roleRef/kind", "Rule"), 'roleRef.kind: Unsupported value: "Rule": supported values: "Role", "ClusterRole"'),
        (hpa(maxReplicas=0), "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
        (hpa(minReplicas=9), "spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"),
        (claim(accessModes=[]), "spec.accessModes: Required value: at least 1 access mode is required"),
        (claim(resources={}), "spec.resources[storage]: Required value"),
        (volume(hostPath=None), "spec: Required value: must specify a volume type"),
        (volume(nfs={"server": "s", "path": "/p"}), "spec.nfs: Forbidden: may not specify more than 1 volume type"),
        (thing("storage.k8s.io/v1", "StorageClass", ""), "provisioner: Required value"),
        (thing("certificates.k8s.io/v1", "CertificateSigningRequest", "", spec={"request": "YQ=="}), "spec.signerName: Required value"),
    ],
)  # fmt: skip
def test_rules(obj: dict[str, Any], why: str) -> None:
    assert why in refusals(obj)


def test_defaults_of_networking() -> None:
    policy = create(thing("networking.k8s.io/v1", "NetworkPolicy", spec={"egress": [{"ports": [{"port": 53}]}]}))
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["egress"][0]["ports"][0]["protocol"] == "TCP"
    assert row(policy)[1] == "<none>"
    made = create(ingress(ingressClassName="nginx"))
    assert row(made) == ["x", "nginx", "a.example", "", "80", "60s"]
    assert made["status"] == {"loadBalancer": {}}


def test_a_binding_says_whose_group_its_names_are_in() -> None:
    made = create(binding())
    assert made["roleRef"]["apiGroup"] == RBAC
    assert made["subjects"][0]["apiGroup"] == RBAC
    assert "apiGroup" not in made["subjects"][1]
    assert row(made) == ["x", "Role/r", "60s", "ann", "", "ns/bot"]
    (why,) = update_refusals(made, roleRef={"kind": "Role", "name": "other"})
    assert why.endswith("cannot change roleRef")


def test_role_names_may_have_colons() -> None:
    role = thing(f"{RBAC}/v1", "ClusterRole", "")
    role["metadata"]["name"] = "system:node"
    assert row(create(role)) == ["system:node", "2024-01-01T00:00:00Z"]


def test_an_autoscaler_aims_at_cpu_unless_told_otherwise() -> None:
    made = create(hpa())
    target = {"type": "Utilization", "averageUtilization": 80}
    assert made["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert row(made) == ["x", "Deployment/web", "cpu: <unknown>/80%", "1", 5, 0, "60s"]


def test_both_versions_of_an_autoscaler_are_one_object() -> None:
    pods = {
        "type": "Pods",
        "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}},
    }
    made = create(hpa(behavior={"scaleDown": {"selectPolicy": "Min"}}))
    made["spec"]["metrics"].append(pods)
    old = to_v1(made)
    assert old["spec"]["targetCPUUtilizationPercentage"] == 80
    assert "metrics" not in old["spec"]
    assert to_v2(old) == made
    assert to_v2(made) is made
    assert to_v1(old) is old
    foreign = hpa("v1")
    foreign["metadata"]["annotations"] = {"autoscaling.alpha.kubernetes.io/metrics": "{broken"}
    assert "metrics" not in to_v2(foreign)["spec"]


def test_claims_and_volumes() -> None:
    made = create(claim())
    assert made["status"] == {"phase": "Pending"}
    assert row(made) == ["x", "Pending", "", "", "", "", "<unset>", "60s", "Filesystem"]
    assert update(made, spec__volumeName="v")["spec"]["volumeName"] == "v"
    (why,) = update_refusals(made, spec__accessModes=["ReadWriteMany"])
    assert why.startswith("spec: Forbidden: spec is immutable after creation")
    kept = create(volume())
    assert row(kept) == ["x", "1Gi", "RWO", "Retain", "Pending", "", "", "<unset>", "", "60s", "Filesystem"]
    (why,) = update_refusals(kept, spec__hostPath={"path": "/other"})
    assert why.startswith(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
    )


def test_the_default_storage_class_is_marked() -> None:
    sc = thing("storage.k8s.io/v1", "StorageClass", "", provisioner="x.example/p")
    sc["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert row(create(sc)) == ["x (default)", "x.example/p", "Delete", "Immediate", False, "60s"]


def test_webhooks_get_their_defaults() -> None:
    hook = {
        "name": "a.b.example", "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
    }  # fmt: skip
    config = thing("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", webhooks=[hook])
    made = create(config)["webhooks"][0]
    assert (made["failurePolicy"], made["timeoutSeconds"], made["reinvocationPolicy"]) == ("Fail", 10, "Never")
    assert made["clientConfig"]["service"]["port"] == 443
    assert made["rules"][0]["scope"] == "*"
    assert "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun" in refusals(
        changed(config, "webhooks/0/sideEffects", None)
    )
