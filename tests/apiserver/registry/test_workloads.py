"""Deployments and their kin."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from apiserver.registry.scale import apply_scale, scale_of, validate_scale
from tests.apiserver.registry.made import (
    changed,
    create,
    pod,
    refusals,
    row,
    strategy_of,
    update,
    update_refusals,
    workload,
)


def test_a_deployment_gets_upstreams_defaults() -> None:
    spec = create(workload("Deployment"))["spec"]
    assert spec.pop("template")["metadata"] == {"labels": {"app": "web"}, "creationTimestamp": None}
    assert spec == {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def test_defaults_of_the_others() -> None:
    replica_set = create(workload("ReplicaSet"))
    assert replica_set["spec"]["replicas"] == 1
    assert replica_set["status"] == {"replicas": 0}
    stateful = create(workload("StatefulSet", serviceName="web"))["spec"]
    assert stateful["podManagementPolicy"] == "OrderedReady"
    assert stateful["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert stateful["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    daemon = create(workload("DaemonSet"))["spec"]
    assert daemon["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}


def test_zero_replicas_are_not_defaulted() -> None:
    assert create(workload("Deployment", replicas=0))["spec"]["replicas"] == 0


MISMATCH = 'spec.template.metadata.labels: Invalid value: map[string]string{"app":"web"}: `selector` does not match template `labels`'


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"])
def test_rules_that_all_share(kind: str) -> None:
    good = workload(kind)
    assert refusals(changed(good, "spec/selector", {"matchLabels": {"app": "other"}})) == [MISMATCH]
    assert "spec.selector: Required value" in refusals(changed(good, "spec/selector", None))
    (why,) = refusals(changed(good, "spec/selector", {}))
    assert why.startswith("spec.selector: Invalid value: ")
    assert f"empty selector is invalid for {'deployment' if kind == 'ReplicaSet' else kind.lower()}" in why
    assert refusals(changed(good, "spec/template/spec/restartPolicy", "Never")) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]
    assert refusals(changed(good, "spec/template/spec/containers", [])) == [
        "spec.template.spec.containers: Required value"
    ]
    made = create(good)
    with_other = {"selector": {"matchLabels": {"app": "x"}}, "labels": {"app": "x"}}
    refused = update_refusals(
        made, spec__selector=with_other["selector"], spec__template__metadata__labels=with_other["labels"]
    )
    immutable = "updates to statefulset spec" if kind == "StatefulSet" else "field is immutable"
    assert len(refused) == 1
    assert immutable in refused[0]
    if kind != "StatefulSet":
        assert refused[0] == (
            'spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"app":"x"}, '
            "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
        )


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec/replicas", -1, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("spec/strategy", {"type": "Recreate", "rollingUpdate": {}}, "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
        ("spec/strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"),
        ("spec/strategy", {"rollingUpdate": {"maxUnavailable": "101%"}}, 'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%'),
        ("spec/strategy", {"rollingUpdate": {"maxSurge": "many"}}, "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"many\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"),
        ("spec/minReadySeconds", 600, "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"),
        ("metadata/name", "Bad_Name", None),
    ],
)  # fmt: skip
def test_rules_of_deployments(path: str, value: Any, why: str | None) -> None:
    found = refusals(changed(workload("Deployment"), path, value))
    assert (
        why in found if why else found[0].startswith('metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123')
    )


def test_the_generation_counts_what_a_controller_has_to_do() -> None:
    made = create(workload("Deployment"))
    assert update(made, metadata__labels={"a": "b"})["metadata"]["generation"] == 1
    assert update(made, spec__replicas=3)["metadata"]["generation"] == 2
    assert update(made, metadata__annotations={"a": "b"})["metadata"]["generation"] == 2
    assert update(made, metadata__generation=9)["metadata"]["generation"] == 1


def test_an_unchanged_object_stays_byte_for_byte() -> None:
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        made = create(workload(kind))
        assert update(made) == made


def test_status_belongs_to_the_controller() -> None:
    made = create(workload("Deployment"))
    reported = changed(changed(made, "status/replicas", 2), "spec/replicas", 9)
    strategy_of(made).before_status_update(reported, made)
    assert reported["spec"]["replicas"] == 1
    assert reported["status"]["replicas"] == 2
    assert reported["metadata"]["generation"] == 1
    assert update(made, status__replicas=5)["status"] == {}


def test_rows() -> None:
    made = create(workload("Deployment", replicas=3))
    made["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}
    assert row(made) == ["web", "2/3", 3, 2, "60s", "c", "nginx:1.27", "app=web"]
    replicas = create(workload("ReplicaSet", replicas=3))
    replicas["status"] = {"replicas": 3, "readyReplicas": 1}
    assert row(replicas) == ["web", 3, 3, 1, "60s", "c", "nginx:1.27", "app=web"]
    stateful = create(workload("StatefulSet", replicas=2))
    assert row(stateful) == ["web", "0/2", "60s", "c", "nginx:1.27"]
    daemon = create(workload("DaemonSet"))
    assert row(daemon) == ["web", 0, 0, 0, 0, 0, "<none>", "60s", "c", "nginx:1.27", "app=web"]


def test_a_replication_controller_takes_its_selector_from_the_template() -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod()["spec"]}
    made = create(
        {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": "r", "namespace": "d"},
            "spec": {"template": template},
        }
    )
    assert made["spec"]["selector"] == {"app": "web"}
    assert made["metadata"]["labels"] == {"app": "web"}
    assert scale_of(made)["status"]["selector"] == "app=web"


def test_scale_is_one_form_for_all() -> None:
    made = create(workload("Deployment", replicas=3))
    made["status"] = {"replicas": 2}
    scale = scale_of(made)
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "app=web"}
    assert scale["metadata"]["resourceVersion"] == "1"
    apply_scale(made, {"spec": {"replicas": 5}})
    assert made["spec"]["replicas"] == 5
    apply_scale(made, {"spec": {}})
    assert made["spec"]["replicas"] == 0
    assert [str(e) for e in validate_scale({"spec": {"replicas": -1}})] == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]
