"""Pods: defaults, rules, what may change, and what kubectl prints of them."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import by_kind
from apiserver.registry.pod import PodStrategy, bind, validate_binding
from apiserver.registry.pod_defaults import default_template
from tests.apiserver.registry.made import changed, create, pod, refusals, row, strategy_of, update, update_refusals

POD = by_kind("v1", "Pod")
assert POD is not None


def test_a_bare_pod_gets_upstreams_defaults() -> None:
    made = create(pod())
    assert made["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "nginx:1.27",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1", "IfNotPresent"), ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"), ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)  # fmt: skip
def test_images_that_may_have_changed_are_pulled(image: str, policy: str) -> None:
    made = create(pod(containers=[{"name": "c", "image": image}]))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_defaults_reach_into_probes_volumes_and_environment() -> None:
    made = create(
        pod(
            containers=[
                {
                    "name": "c",
                    "image": "i:1",
                    "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                    "livenessProbe": {"httpGet": {"port": 80}},
                    "ports": [{"containerPort": 80}],
                }
            ],
            volumes=[
                {"name": "a"},
                {"name": "b", "secret": {"secretName": "s"}},
                {"name": "h", "hostPath": {"path": "/x"}},
            ],
        )
    )["spec"]
    container = made["containers"][0]
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert made["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
        {"name": "h", "hostPath": {"path": "/x", "type": ""}},
    ]


def test_limits_are_requests_too_but_not_in_templates() -> None:
    limited = pod(containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}])
    made = create(limited)
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert made["status"]["qosClass"] == "Guaranteed"
    template = {"spec": limited["spec"]}
    default_template(template)
    assert "requests" not in template["spec"]["containers"][0]["resources"]
    assert "enableServiceLinks" not in template["spec"]


def test_the_service_account_has_two_names() -> None:
    assert create(pod(serviceAccountName="robot"))["spec"]["serviceAccount"] == "robot"
    assert create(pod(serviceAccount="robot"))["spec"]["serviceAccountName"] == "robot"


def test_a_client_sets_neither_status_nor_identity() -> None:
    sent = pod()
    sent["status"] = {"phase": "Running"}
    sent["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "2000-01-01T00:00:00Z"}
    made = create(sent)
    assert made["status"]["phase"] == "Pending"
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"] == "2024-01-01T00:00:00Z"


C = {"name": "c", "image": "i:1"}


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{**C, **fields}])


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (pod(containers=[]), "spec.containers: Required value"),
        (pod(containers=[{"image": "i"}]), "spec.containers[0].name: Required value"),
        (pod(containers=[{"name": "c"}]), "spec.containers[0].image: Required value"),
        (pod(containers=[C, C]), 'spec.containers[1].name: Duplicate value: "c"'),
        (pod(restartPolicy="Sometimes"), 'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'),
        (container(imagePullPolicy="Maybe"), 'spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"'),
        (container(ports=[{"containerPort": 0}]), "spec.containers[0].ports[0].containerPort: Required value"),
        (container(ports=[{"containerPort": 70000}]), "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        (container(ports=[{"containerPort": 1, "protocol": "ICMP"}]), 'spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
        (container(env=[{"value": "x"}]), "spec.containers[0].env[0].name: Required value"),
        (container(env=[{"name": "A", "valueFrom": {}}]), 'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`'),
        (container(env=[{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]), 'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'),
        (container(volumeMounts=[{"name": "gone", "mountPath": "/x"}]), 'spec.containers[0].volumeMounts[0].name: Not found: "gone"'),
        (container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}), 'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
        (container(resources={"requests": {"cpu": "-1"}}), 'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0'),
        (container(resources={"requests": {"apples": "1"}}), 'spec.containers[0].resources.requests[apples]: Invalid value: "apples": must be a standard resource type or fully qualified'),
        (container(livenessProbe={}), "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        (container(livenessProbe={"exec": {"command": ["x"]}, "httpGet": {"port": 1}}), "spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"),
        (container(livenessProbe={"exec": {"command": ["x"]}, "successThreshold": 2}), "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        (container(livenessProbe={"httpGet": {"port": "no port"}}), 'spec.containers[0].livenessProbe.httpGet.port: Invalid value: "no port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)'),
        (pod(initContainers=[{**C, "name": "i", "livenessProbe": {"exec": {"command": ["x"]}}}]), "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"),
        (pod(initContainers=[C]), 'spec.initContainers[0].name: Duplicate value: "c"'),
        (pod(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]), "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"),
        (pod(volumes=[{"name": "v", "secret": {}}]), "spec.volumes[0].secret.secretName: Required value"),
        (pod(volumes=[{"name": "v"}, {"name": "v"}]), 'spec.volumes[1].name: Duplicate value: "v"'),
        (pod(tolerations=[{"operator": "Equal"}]), 'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"'),
        (pod(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        (pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}), "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term"),
        (pod(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}]), "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"),
        (pod(hostAliases=[{"ip": "300.1.1.1"}]), 'spec.hostAliases[0].ip: Invalid value: "300.1.1.1": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        (pod(dnsPolicy="None"), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    ],
)  # fmt: skip
def test_rules(obj: dict[str, Any], why: str) -> None:
    assert why in refusals(obj)


def test_a_rich_valid_pod_is_taken() -> None:
    create(
        pod(
            containers=[
                {
                    **C,
                    "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080}],
                    "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
                    "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
                    "resources": {"limits": {"example.com/gpu": "1"}, "requests": {"cpu": "1m"}},
                }
            ],
            initContainers=[
                {**C, "name": "sidecar", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}
            ],
            serviceAccountName="builder",
            volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            tolerations=[{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 3}],
            hostNetwork=False,
        )
    )


def test_images_and_tolerations_may_change_and_little_else() -> None:
    made = create(pod(tolerations=[{"key": "a", "operator": "Exists"}]))
    new = update(made, spec__containers__0__image="nginx:2", spec__activeDeadlineSeconds=5)
    assert new["metadata"]["generation"] == 2
    update(made, spec__tolerations=[{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}])
    assert update_refusals(made, spec__tolerations=[]) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]
    (why,) = update_refusals(made, spec__containers__0__command=["x"])
    assert why.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,")
    (why,) = update_refusals(made, spec__nodeName="n")
    assert "spec.nodeName differs" in why
    assert update_refusals(made, spec__containers=[C, {**C, "name": "d"}]) == [
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    ]


def test_a_deadline_only_shortens() -> None:
    made = create(pod(activeDeadlineSeconds=10))
    update(made, spec__activeDeadlineSeconds=5)
    assert update_refusals(made, spec__activeDeadlineSeconds=11) == [
        "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"
    ]
    assert update_refusals(made, spec__activeDeadlineSeconds=None) == [
        "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"
    ]


def test_an_update_keeps_the_status_and_a_status_update_keeps_the_spec() -> None:
    made = create(pod())
    assert update(made, status__phase="Running")["status"]["phase"] == "Pending"
    reported = changed(changed(made, "status/phase", "Running"), "spec/nodeName", "n")
    reported["status"]["podIP"] = "10.0.0.1"
    strategy_of(made).before_status_update(reported, made)
    assert reported["status"]["phase"] == "Running"
    assert reported["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert "nodeName" not in reported["spec"]
    assert reported["metadata"]["generation"] == 1


def test_binding_assigns_once() -> None:
    made = create(pod())
    bind(made, "n1", now="t")
    assert made["spec"]["nodeName"] == "n1"
    assert made["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": "t"}
    ]
    with pytest.raises(ValueError, match='pod p is already assigned to node "n1"'):
        bind(made, "n2")
    assert [str(e) for e in validate_binding({"target": {"kind": "Rack"}})] == [
        'target.kind: Unsupported value: "Rack": supported values: "Node", "<empty>"',
        "target.name: Required value",
    ]


def test_grace_periods() -> None:
    made = create(pod(terminationGracePeriodSeconds=7))
    strategy = strategy_of(made)
    assert strategy.grace_period(made, None) == 0  # it runs nowhere
    bind(made, "n")
    assert strategy.grace_period(made, None) == 7
    assert strategy.grace_period(made, 3) == 3
    assert strategy.grace_period(made, -1) == 1
    made["status"]["phase"] = "Succeeded"
    assert strategy.grace_period(made, 3) == 0


def running(**more: Any) -> dict[str, Any]:
    return {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def with_status(obj: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    made = create(obj or pod())
    made["status"] |= {"phase": "Running", **status}
    return made


FINISHED = {"terminated": {"exitCode": 1, "finishedAt": "2024-01-01T00:00:30Z"}}


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (create(pod()), ["0/1", "Pending", "0"]),
        (with_status(containerStatuses=[running()]), ["1/1", "Running", "0"]),
        (with_status(containerStatuses=[running(restartCount=2, lastState=FINISHED)]), ["1/1", "Running", "2 (30s ago)"]),
        (with_status(containerStatuses=[running(ready=False, state={"waiting": {"reason": "CrashLoopBackOff"}})]), ["0/1", "CrashLoopBackOff", "0"]),
        (with_status(containerStatuses=[running(ready=False, state={"terminated": {"reason": "Completed"}})]), ["0/1", "Completed", "0"]),
        (with_status(containerStatuses=[running(ready=False, state={"terminated": {"exitCode": 3}})]), ["0/1", "ExitCode:3", "0"]),
        (with_status(containerStatuses=[running(ready=False, state={"terminated": {"signal": 9, "exitCode": 0}})]), ["0/1", "Signal:9", "0"]),
        (with_status(reason="Evicted", phase="Failed"), ["0/1", "Evicted", "0"]),
        (with_status(pod(initContainers=[{**C, "name": "i"}, {**C, "name": "j"}]), phase="Pending", initContainerStatuses=[running(name="i")]), ["0/1", "Init:0/2", "0"]),
        (with_status(pod(initContainers=[{**C, "name": "i"}]), phase="Pending", initContainerStatuses=[running(name="i", restartCount=1, state={"terminated": {"exitCode": 2}})]), ["0/1", "Init:ExitCode:2", "1"]),
        (with_status(pod(initContainers=[{**C, "name": "s", "restartPolicy": "Always"}]), initContainerStatuses=[running(name="s", started=True)], containerStatuses=[running()]), ["2/2", "Running", "0"]),
        (create(pod(schedulingGates=[{"name": "wait"}])), ["0/1", "SchedulingGated", "0"]),
    ],
)  # fmt: skip
def test_rows(made: dict[str, Any], shown: list[str]) -> None:
    assert row(made)[1:4] == shown
    assert row(made)[4] == "60s"


def test_a_deleted_pod_is_terminating_until_it_is_over() -> None:
    made = with_status(containerStatuses=[running()])
    made["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    assert row(made)[2] == "Terminating"
    made["status"] = {"phase": "Succeeded"}
    assert row(made)[2] == "Succeeded"


def test_rows_of_pods_that_are_over_are_marked_completed() -> None:
    def conditions(phase: str) -> list[dict[str, Any]]:
        return list(strategy_of(pod()).row_conditions({"status": {"phase": phase}}))

    message = "The pod has completed successfully."
    expected = {"type": "Completed", "status": "True", "reason": "Succeeded", "message": message}
    assert conditions("Succeeded") == [expected]
    assert conditions("Failed") == [{**expected, "reason": "Failed", "message": "The pod failed."}]
    assert conditions("Running") == []


def test_wide_rows_show_address_and_node() -> None:
    made = with_status(podIPs=[{"ip": "10.0.0.9"}])
    made["spec"]["nodeName"] = "n1"
    assert row(made)[5:] == ["10.0.0.9", "n1", "<none>", "<none>"]


def test_fields_of_a_pod_can_be_selected() -> None:
    made = with_status(podIP="10.0.0.9")
    fields = strategy_of(made).selectable_fields(made)
    assert fields["status.phase"] == "Running"
    assert fields["status.podIP"] == "10.0.0.9"
    assert fields["spec.nodeName"] == ""
    assert strategy_of(made).check_field_label("spec.host") == "spec.nodeName"


def test_hidden_variables_are_warned_of() -> None:
    made = create(container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]))
    assert strategy_of(made).warnings(made) == [
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'
    ]


def test_debug_containers_are_added_and_never_taken_back() -> None:
    made = create(pod())
    strategy = PodStrategy(POD)
    debug = {"name": "debug", "image": "busybox", "targetContainerName": "c"}
    new = changed(changed(made, "spec/ephemeralContainers", [debug]), "spec/hostname", "ignored")
    strategy.default(new)
    strategy.before_ephemeral_containers_update(new, made)
    assert "hostname" not in new["spec"]
    assert new["metadata"]["generation"] == 2
    gone = changed(new, "spec/ephemeralContainers", None)
    with pytest.raises(StatusError, match='existing ephemeral containers "debug" may not be removed'):
        strategy.before_ephemeral_containers_update(gone, new)
    lost = changed(made, "spec/ephemeralContainers", [{**debug, "targetContainerName": "x"}])
    with pytest.raises(StatusError, match=r'spec.ephemeralContainers\[0\].targetContainerName: Not found: "x"'):
        strategy.before_ephemeral_containers_update(lost, made)


def test_a_resize_changes_cpu_and_memory_within_the_class() -> None:
    made = create(container(resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}))
    strategy = PodStrategy(POD)
    larger = changed(changed(made, "spec/containers/0/resources/requests/cpu", "2"), "spec/containers/0/image", "x")
    strategy.before_resize(larger, made)
    assert larger["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2"
    assert larger["spec"]["containers"][0]["image"] == "i:1"
    assert larger["metadata"]["generation"] == 2
    for resources, why in (
        ({"requests": {"cpu": "1", "memory": "1Gi"}}, "resource limits cannot be removed"),
        ({}, "Pod QOS Class may not change as a result of resizing"),
        (
            {**made["spec"]["containers"][0]["resources"], "limits": {"memory": "2Gi", "example.com/gpu": "1"}},
            "only cpu and memory",
        ),
    ):
        with pytest.raises(StatusError, match=why):
            strategy.before_resize(changed(made, "spec/containers/0/resources", resources), made)
