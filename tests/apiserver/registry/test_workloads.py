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
    status_refusals,
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
    missing = [] if kind == "DaemonSet" else ["spec.selector: Required value"]
    assert refusals(changed(good, "spec/selector", None)) == [*missing, MISMATCH]
    limited = "ReplicaSet" if kind == "Deployment" else kind
    assert refusals(changed(good, "spec/template/spec/activeDeadlineSeconds", 5)) == [
        f"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in {limited} is not Supported"
    ]
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
        ("spec/strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}: may not be 0 when `maxSurge` is 0"),
        ("spec/strategy", {"rollingUpdate": {"maxUnavailable": "101%"}}, 'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:"101%"}: must not be greater than 100%'),
        ("spec/strategy", {"rollingUpdate": {"maxSurge": "many"}}, "spec.strategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:\"many\"}: a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"),
        ("spec/minReadySeconds", 600, "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"),
        ("spec/strategy", {"type": "Slow"}, 'spec.strategy: Unsupported value: apps.DeploymentStrategy{Type:"Slow", RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}: supported values: "Recreate", "RollingUpdate"'),
        ("metadata/name", "Bad_Name", None),
    ],
)  # fmt: skip
def test_rules_of_deployments(path: str, value: Any, why: str | None) -> None:
    found = refusals(changed(workload("Deployment"), path, value))
    assert (
        why in found if why else found[0].startswith('metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123')
    )


INT = 'intstr.IntOrString{Type:0, IntVal:%d, StrVal:""}'


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("metadata/name", "a.b", ['metadata.name: Invalid value: "a.b": must not contain dots']),
        ("spec/serviceName", "A", ["spec.serviceName: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]),
        ("spec/podManagementPolicy", "Random", ["spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'"]),
        ("spec/updateStrategy", {"type": "Never"}, ["spec.updateStrategy: Invalid value: apps.StatefulSetUpdateStrategy{Type:\"Never\", RollingUpdate:(*apps.RollingUpdateStatefulSetStrategy)(nil)}: must be 'RollingUpdate' or 'OnDelete'"]),
        ("spec/updateStrategy", {"type": "OnDelete", "rollingUpdate": {"partition": 1}}, ["spec.updateStrategy.rollingUpdate: Invalid value: apps.RollingUpdateStatefulSetStrategy{Partition:1, MaxUnavailable:(*intstr.IntOrString)(nil)}: only allowed for updateStrategy 'RollingUpdate'"]),
        ("spec/updateStrategy", {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}, ["spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0", f"spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: {INT % 0}: cannot be 0"]),
        ("spec/persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Keep"}, ['spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values: "Retain", "Delete"']),
        ("spec/ordinals", {"start": -1}, ["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"]),
    ],
)  # fmt: skip
def test_rules_of_stateful_sets(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(workload("StatefulSet"), path, value)) == causes


def test_a_stateful_set_with_an_old_service_name_can_still_be_changed() -> None:
    old = changed(create(workload("StatefulSet")), "spec/serviceName", "OLD")
    assert update(old, spec__replicas=3)["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("strategy", "causes"),
    [
        ({"type": "Slow"}, ['spec.updateStrategy: Unsupported value: apps.DaemonSetUpdateStrategy{Type:"Slow", RollingUpdate:(*apps.RollingUpdateDaemonSet)(nil)}: supported values: "RollingUpdate", "OnDelete"']),
        ({"rollingUpdate": {"maxUnavailable": 0}}, ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
        ({"rollingUpdate": {"maxSurge": 2}}, [f"spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: {INT % 2}: may not be set when maxUnavailable is non-zero"]),
        ({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "200%"}}, ['spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:"200%"}: must not be greater than 100%']),
    ],
)  # fmt: skip
def test_rules_of_daemon_sets(strategy: Any, causes: list[str]) -> None:
    assert refusals(changed(workload("DaemonSet"), "spec/updateStrategy", strategy)) == causes


READY = "status.availableReplicas: Invalid value: 2: cannot be greater than"


@pytest.mark.parametrize(
    ("kind", "status", "causes"),
    [
        ("Deployment", {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}, [f"{READY} readyReplicas"]),
        ("ReplicaSet", {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}, [f"{READY} readyReplicas"]),
        ("StatefulSet", {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}, [f"{READY} status.readyReplicas"]),
        ("StatefulSet", {"replicas": 1, "currentReplicas": 2}, ["status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas"]),
        ("ReplicaSet", {"replicas": 1, "fullyLabeledReplicas": 2}, ["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas"]),
        ("Deployment", {"unavailableReplicas": -1}, ["status.unavailableReplicas: Invalid value: -1: must be greater than or equal to 0"]),
        ("DaemonSet", {"numberReady": -1}, ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"]),
        ("Deployment", {"collisionCount": 1}, ["status.collisionCount: Invalid value: 1: cannot be decremented"]),
        ("StatefulSet", {"collisionCount": None}, ["status.collisionCount: Invalid value: 0: cannot be decremented"]),
        ("DaemonSet", {"collisionCount": 0}, ["status.collisionCount: Invalid value: 0: cannot be decremented"]),
    ],
)  # fmt: skip
def test_rules_of_statuses(kind: str, status: dict[str, Any], causes: list[str]) -> None:
    made = changed(create(workload(kind)), "status", {} if kind == "ReplicaSet" else {"collisionCount": 2})
    report = {k: v for k, v in {**made["status"], **status}.items() if v is not None}
    assert status_refusals(made, status=report) == causes


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
