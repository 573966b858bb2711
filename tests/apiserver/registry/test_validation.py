"""Kind by kind: what is wrong with an object, field by field, in upstream's order and words."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from tests.apiserver.registry.made import (
    Object,
    changed,
    core,
    create,
    pod,
    refusals,
    service,
    status_refusals,
    strategy_of,
    update_refusals,
)

CONTAINER = "spec/containers/0"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
IMMUTABLE = "field is immutable"


def ingress(**spec: Any) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "front", "namespace": "default"},
        "spec": {"rules": [{"host": "example.com", "http": {"paths": [path]}}], **spec},
    }


def ingress_class(**spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "nginx"},
        "spec": {"controller": "example.com/nginx", **spec},
    }


def network_policy(**spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "default"},
        "spec": {"podSelector": {}, **spec},
    }


def claim(**spec: Any) -> Object:
    resources = {"requests": {"storage": "1Gi"}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec},
    }


def volume(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "disk"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
            **spec,
        },
    }


def job(**spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": "default"},
        "spec": {"template": {"spec": pod(restartPolicy="Never")["spec"]}, **spec},
    }


def cron_job(**spec: Any) -> Object:
    template = {"spec": job()["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": "default"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template, **spec},
    }


def table(*cases: tuple[str, Any, list[str]]) -> Any:
    return pytest.mark.parametrize(("path", "value", "causes"), cases, ids=lambda v: v if isinstance(v, str) else "")


@table(
    (f"{CONTAINER}/image", " nginx", ['spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace']),
    (f"{CONTAINER}/imagePullPolicy", "Sometimes", ['spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"']),
    (f"{CONTAINER}/ports", [{"containerPort": 0}], ["spec.containers[0].ports[0].containerPort: Required value"]),
    (f"{CONTAINER}/ports", [{"containerPort": 70000}], ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    (f"{CONTAINER}/env", [{"name": ""}], ["spec.containers[0].env[0].name: Required value"]),
    (f"{CONTAINER}/env", [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}], ['spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
    (f"{CONTAINER}/volumeMounts", [{"name": "no", "mountPath": "/x"}], ['spec.containers[0].volumeMounts[0].name: Not found: "no"']),
    (f"{CONTAINER}/resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1']),
    (f"{CONTAINER}/resources", {"limits": {"cpu": "-1"}}, ['spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0', 'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    (f"{CONTAINER}/livenessProbe", {"periodSeconds": 5}, ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]),
    (f"{CONTAINER}/livenessProbe", {"successThreshold": 2, "tcpSocket": {"port": 80}}, ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    (f"{CONTAINER}/lifecycle", {"preStop": {}}, ["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"]),
    ("spec/volumes", [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}], ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]),
    ("spec/volumes", [{"name": "a", "secret": {}}], ["spec.volumes[0].secret.secretName: Required value"]),
    ("spec/volumes", [{"name": "a", "hostPath": {"path": "/a/../b"}}], ["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    ("spec/restartPolicy", "Maybe", ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"']),
    ("spec/activeDeadlineSeconds", 0, ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
    ("spec/serviceAccountName", "A", [f'spec.serviceAccountName: Invalid value: "A": {SUBDOMAIN}']),
    ("spec/tolerations", [{"key": "a", "operator": "Exists", "value": "b"}], ["spec.tolerations[0].operator: Invalid value: core.Toleration{Key:\"a\", Operator:\"Exists\", Value:\"b\", Effect:\"\", TolerationSeconds:(*int64)(nil)}: value must be empty when `operator` is 'Exists'"]),
    ("spec/topologySpreadConstraints", [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}], ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"]),
    ("spec/securityContext", {"runAsUser": -1}, ["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
)  # fmt: skip
def test_pod(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(pod(), path, value)) == causes


@table(
    ("spec/rules", None, ["spec: Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified"]),
    ("spec/rules/0/host", "10.0.0.1", ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address']),
    ("spec/rules/0/http/paths", [], ["spec.rules[0].http.paths: Required value"]),
    ("spec/rules/0/http/paths/0/pathType", None, ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"]),
    ("spec/rules/0/http/paths/0/pathType", "Regex", ['spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"']),
    ("spec/rules/0/http/paths/0/path", "a", ['spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path']),
    ("spec/rules/0/http/paths/0/path", "/a//..", ["spec.rules[0].http.paths[0].path: Invalid value: \"/a//..\": must not contain '//'", "spec.rules[0].http.paths[0].path: Invalid value: \"/a//..\": cannot end with '/..'"]),
    ("spec/rules/0/http/paths/0/backend", {}, ['spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required']),
    ("spec/rules/0/http/paths/0/backend/service/port", {}, ["spec.rules[0].http.paths[0].backend: Required value: port name or number is required"]),
    ("spec/rules/0/http/paths/0/backend/service/port", {"name": "a", "number": 1}, ['spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number']),
    ("spec/defaultBackend", {"resource": {"kind": "", "name": "a/b"}}, ["spec.defaultBackend.resource.kind: Required value", "spec.defaultBackend.resource.name: Invalid value: \"a/b\": may not contain '/'"]),
    ("spec/tls", [{"hosts": ["A"], "secretName": "B"}], [f'spec.tls[0].hosts[0]: Invalid value: "A": {SUBDOMAIN}', f'spec.tls[0].secretName: Invalid value: "B": {SUBDOMAIN}']),
    ("metadata/annotations", {"kubernetes.io/ingress.class": "b"}, ['annotations.kubernetes.io/ingress.class: Invalid value: "b": must match `ingressClassName` when both are specified']),
)  # fmt: skip
def test_ingress(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(ingress(ingressClassName="a"), path, value)) == causes


@table(
    ("spec/controller", "nginx", ['spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")']),
    ("spec/parameters", {"kind": "A", "name": "b", "scope": "Namespace"}, ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]),
    ("spec/parameters", {"kind": "A", "name": "b", "namespace": "c"}, ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]),
    ("spec/parameters", {"kind": "A", "name": "b", "scope": "Here"}, ['spec.parameters.scope: Unsupported value: "Here": supported values: "Cluster", "Namespace"']),
)  # fmt: skip
def test_ingress_class(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(ingress_class(), path, value)) == causes


@table(
    ("spec/policyTypes", ["Both"], ['spec.policyTypes[0]: Unsupported value: "Both": supported values: "Ingress", "Egress"']),
    ("spec/ingress", [{"ports": [{"port": 90, "endPort": 80}]}], ["spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"]),
    ("spec/ingress", [{"ports": [{"endPort": 80}]}], ["spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is not specified"]),
    ("spec/ingress", [{"ports": [{"port": 1, "protocol": "ICMP"}]}], ['spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"']),
    ("spec/egress", [{"to": [{}]}], ["spec.egress[0].to[0]: Required value: must specify a peer"]),
    ("spec/egress", [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}], ['spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`']),
    ("spec/egress", [{"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}], ['spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ("spec/egress", [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}], ["spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer"]),
)  # fmt: skip
def test_network_policy(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(network_policy(), path, value)) == causes


@table(
    ("spec/trafficDistribution", "Far", ['spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose"']),
    ("spec/ipFamilies", ["IPv4", "IPv4"], ['spec.ipFamilies[1]: Duplicate value: "IPv4"']),
    ("spec/loadBalancerSourceRanges", ["10.0.0.0/8"], ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ("spec/loadBalancerClass", "a/b", ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ("spec/externalIPs", ["224.0.0.1"], ['spec.externalIPs[0]: Invalid value: "224.0.0.1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)']),
    ("spec/clusterIPs", ["10.96.0.9"], ['spec.clusterIPs: Invalid value: []string{"10.96.0.9"}: must be empty when `clusterIP` is not specified']),
    ("spec/sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 90000}}, ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than 86400"]),
)  # fmt: skip
def test_service(path: str, value: Any, causes: list[str]) -> None:
    affinity = "ClientIP" if path.endswith("Config") else "None"
    assert refusals(changed(service(sessionAffinity=affinity), path, value)) == causes


@table(
    ("spec/accessModes", [], ["spec.accessModes: Required value: at least 1 access mode is required"]),
    ("spec/accessModes", ["ReadSometimes"], ['spec.accessModes: Unsupported value: "ReadSometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"']),
    ("spec/resources", {}, ["spec.resources[storage]: Required value"]),
    ("spec/resources/requests/storage", "0", ['spec.resources[storage]: Invalid value: "0": must be greater than zero']),
    ("spec/volumeMode", "Tape", ['spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"']),
)  # fmt: skip
def test_claim(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(claim(), path, value)) == causes


@table(
    ("spec/capacity", {}, ["spec.capacity: Required value", 'spec.capacity: Unsupported value: core.ResourceList{}: supported values: "storage"']),
    ("spec/accessModes", [], ["spec.accessModes: Required value"]),
    ("spec/hostPath", None, ["spec: Required value: must specify a volume type"]),
    ("spec/nfs", {"server": "a", "path": "/"}, ["spec.nfs: Forbidden: may not specify more than 1 volume type"]),
    ("spec/persistentVolumeReclaimPolicy", "Burn", ['spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"']),
)  # fmt: skip
def test_volume(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(volume(), path, value)) == causes


@table(
    ("spec/schedule", "", ["spec.schedule: Required value"]),
    ("spec/schedule", "* * * *", ['spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]']),
    ("spec/schedule", "61 * * * *", ['spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61']),
    ("spec/schedule", "@often", ['spec.schedule: Invalid value: "@often": unrecognized descriptor: @often']),
    ("spec/timeZone", "Mars/Olympus", ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus']),
    ("spec/concurrencyPolicy", "Queue", ['spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"']),
    ("spec/startingDeadlineSeconds", -1, ["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ("metadata/name", "n" * 53, ['metadata.name: Invalid value: "' + "n" * 53 + '": must be no more than 52 characters']),
)  # fmt: skip
def test_cron_job(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(cron_job(), path, value)) == causes


@pytest.mark.parametrize(
    ("obj", "changes", "causes"),
    [
        (ingress_class(), {"spec__controller": "example.com/b"}, [f'spec.controller: Invalid value: "example.com/b": {IMMUTABLE}']),
        (volume(), {"spec__hostPath__path": "/other"}, ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]),
        (job(), {"spec__completions": 7}, [f"spec.completions: Invalid value: 7: {IMMUTABLE}"]),
        (service(type="LoadBalancer", loadBalancerClass="a/b"), {"spec__loadBalancerClass": "a/c"}, ['spec.loadBalancerClass: Invalid value: "a/c": may not change once set']),
    ],
    ids=["ingress class", "volume", "job", "service"],
)  # fmt: skip
def test_what_may_not_change(obj: Object, changes: dict[str, Any], causes: list[str]) -> None:
    found = update_refusals(create(obj), **changes)
    assert [f.partition("\n")[0] for f in found] == causes


@table(
    ("type", "Room", ['spec.limits[0].type: Invalid value: "Room": must be a standard limit type or fully qualified']),
    ("default", {"cpu": "1"}, ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"]),
    ("min", {"cpu": "3"}, ['spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2']),
    ("maxLimitRequestRatio", {"cpu": "500m"}, ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1']),
    ("maxLimitRequestRatio", {"cpu": "3"}, ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000']),
    ("max", {"gold": "1"}, ['spec.limits[0].max[gold]: Invalid value: "gold": must be a standard resource type or fully qualified', 'spec.limits[0].max[gold]: Invalid value: "gold": must be a standard resource for containers']),
)  # fmt: skip
def test_limit_range(path: str, value: Any, causes: list[str]) -> None:
    item = {"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, path: value}
    assert refusals(core("LimitRange", spec={"limits": [item]})) == causes


@table(
    ("hard", {"gold": "1"}, ['spec.hard[gold]: Invalid value: "gold": must be a standard resource type or fully qualified', 'spec.hard[gold]: Invalid value: "gold": must be a standard resource for quota']),
    ("hard", {"pods": "1500m"}, ['spec.hard[pods]: Invalid value: "1500m": must be an integer']),
    ("scopes", ["Sometimes"], ['spec.scopes: Invalid value: []string{"Sometimes"}: unsupported scope']),
    ("scopes", ["Terminating", "NotTerminating"], ['spec.scopes: Invalid value: []string{"Terminating", "NotTerminating"}: conflicting scopes']),
    ("scopeSelector", {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}, ["spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"]),
)  # fmt: skip
def test_quota(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(core("ResourceQuota", spec={"hard": {"pods": "1"}, path: value})) == causes


@table(
    ("maxReplicas", 0, ["spec.maxReplicas: Invalid value: 0: must be greater than 0", "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`"]),
    ("metrics", [{"type": "Magic"}], ['spec.metrics[0].type: Unsupported value: "Magic": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"'] * 2),
    ("metrics", [{"type": "Pods"}], ["spec.metrics[0].pods: Required value: must populate information for the given metric source"]),
    ("metrics", [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}], ["spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"]),
    ("behavior", {"scaleDown": {"stabilizationWindowSeconds": 4000}}, ["spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600"]),
    ("behavior", {"scaleUp": {"selectPolicy": "Most"}}, ['spec.behavior.scaleUp.selectPolicy: Unsupported value: "Most": supported values: "Disabled", "Max", "Min"']),
    ("behavior", {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}, ["spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero", "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"]),
)  # fmt: skip
def test_autoscaler(path: str, value: Any, causes: list[str]) -> None:
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3, path: value},
    }
    assert refusals(hpa) == causes


def node(**fields: Any) -> Object:
    return core("Node", "", **fields)


@table(
    ("spec/taints", [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "value": "b", "effect": "NoSchedule"}], ['metadata.taints[1]: Duplicate value: core.Taint{Key:"a", Value:"b", Effect:"NoSchedule", TimeAdded:(*v1.Time)(nil)}: taints must be unique by key and effect pair']),
    ("spec/taints", [{"key": "a"}], ["metadata.taints[0].effect: Required value"]),
    ("spec/podCIDRs", ["10.0.0.0"], ['spec.podCIDRs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ("spec/podCIDRs", ["10.0.0.0/24", "10.0.1.0/24"], ['spec.podCIDRs: Invalid value: []string{"10.0.0.0/24", "10.0.1.0/24"}: may specify no more than one CIDR for each IP family']),
    ("status", {"capacity": {"cpu": "-1"}}, ['status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0', 'status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0']),
)  # fmt: skip
def test_node(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(node(), path, value)) == causes


def test_what_a_node_may_not_change() -> None:
    old = create(node(spec={"podCIDR": "10.0.0.0/24", "providerID": "a"}))
    assert update_refusals(old, spec__podCIDRs=["10.0.1.0/24"], spec__podCIDR="10.0.1.0/24", spec__providerID="b") == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ]
    twice = [{"type": "InternalIP", "address": "10.0.0.1"}] * 2
    assert status_refusals(old, status__addresses=twice) == [
        'status.addresses[1]: Duplicate value: core.NodeAddress{Type:"InternalIP", Address:"10.0.0.1"}'
    ]


def ended(name: str, code: int) -> Object:
    return {"name": name, "state": {"terminated": {"exitCode": code}}}


def running(name: str) -> Object:
    return {"name": name, "state": {"running": {}}}


OVER = "state: Forbidden: may not be transitioned to non-terminated state"


@pytest.mark.parametrize(
    ("policy", "field", "code", "causes"),
    [
        ("Never", "containerStatuses", 1, [f"status.containerStatuses[0].{OVER}"]),
        ("OnFailure", "containerStatuses", 0, [f"status.containerStatuses[0].{OVER}"]),
        ("Never", "initContainerStatuses", 0, [f"status.initContainerStatuses[0].{OVER}"]),
        ("Always", "ephemeralContainerStatuses", 1, [f"status.ephemeralContainerStatuses[0].{OVER}"]),
        ("OnFailure", "containerStatuses", 1, []),
        ("Always", "containerStatuses", 0, []),
    ],
)  # fmt: skip
def test_what_is_over_in_a_pod_stays_over(policy: str, field: str, code: int, causes: list[str]) -> None:
    old = changed(create(pod(restartPolicy=policy)), f"status/{field}", [ended("c", code)])
    if causes:
        assert status_refusals(old, **{f"status__{field}": [running("c")]}) == causes
    else:
        strategy_of(old).before_status_update(changed(old, f"status/{field}", [running("c")]), old)


def test_sidecars_start_again() -> None:
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always"}
    old = create(pod(restartPolicy="Never", initContainers=[sidecar]))
    old["status"]["initContainerStatuses"] = [ended("s", 0)]
    strategy_of(old).before_status_update(changed(old, "status/initContainerStatuses", [running("s")]), old)


PAIR = "may specify no more than one IP for each IP family"


@pytest.mark.parametrize(
    ("status", "causes"),
    [
        ({"podIP": "a", "podIPs": [{"ip": "a"}]}, ['status.podIPs[0]: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
        ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}, [f'status.podIPs: Invalid value: []core.PodIP{{core.PodIP{{IP:"10.0.0.1"}}, core.PodIP{{IP:"10.0.0.2"}}}}: {PAIR}']),
        ({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}, ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`']),
        ({"conditions": [{"type": "a b", "status": "True"}]}, None),
        ({"qosClass": "Guaranteed"}, [f'status.qosClass: Invalid value: "Guaranteed": {IMMUTABLE}']),
        ({"resourceClaimStatuses": [{"name": "gpu"}]}, ['status.resourceClaimStatuses[0].name: Invalid value: "gpu": must match the name of an entry in `spec.resourceClaims`']),
    ],
)  # fmt: skip
def test_pod_status(status: Object, causes: list[str] | None) -> None:
    made = create(pod())
    found = status_refusals(made, status={**made["status"], **status})
    if causes is None:
        assert found[0].startswith('metadata.conditions[0].Type: Invalid value: "a b": name part must consist of')
    else:
        assert found == causes


def test_finalizers_of_namespaces() -> None:
    detail = "name is neither a standard finalizer name nor is it fully qualified"
    space = core("Namespace", "", spec={"finalizers": ["kubernetes", "mine"]})
    assert refusals(space) == [f'spec.finalizers: Invalid value: "mine": {detail}']
    stored = changed(create(core("Namespace", "")), "spec/finalizers", ["kubernetes", "mine"])
    assert [str(e) for e in strategy_of(stored).rules(stored)] == [
        f'spec.finalizers[1]: Invalid value: "mine": {detail}'
    ]


def endpoint_slice(kind: str = "IPv4", **fields: Any) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web", "namespace": "default"},
        "addressType": kind,
        "endpoints": [{"addresses": ["a.example" if kind == "FQDN" else "10.0.0.1"]}],
        **fields,
    }


@table(
    ("addressType", "Pigeon", ['addressType: Unsupported value: "Pigeon": supported values: "FQDN", "IPv4", "IPv6"']),
    ("endpoints/0/addresses", [], ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
    ("endpoints/0/hints", {"forZones": [{"name": "a"}, {"name": "a"}]}, ['endpoints[0].hints.forZones[1].name: Duplicate value: "a"']),
    ("endpoints/0/hints", {"forZones": [{"name": str(i)} for i in range(9)]}, ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]),
    ("ports", [{"port": 80}, {"port": 81}], ['ports[1].name: Duplicate value: ""']),
    ("ports", [{"protocol": "ICMP"}], ['ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
)  # fmt: skip
def test_endpoint_slice(path: str, value: Any, causes: list[str]) -> None:
    assert refusals(changed(endpoint_slice(), path, value)) == causes


def test_full_names_of_endpoints_have_two_parts() -> None:
    detail = "should be a domain with at least two segments separated by dots"
    short = changed(endpoint_slice("FQDN"), "endpoints/0/addresses", ["localhost."])
    assert refusals(short) == [f'endpoints[0].addresses[0]: Invalid value: "localhost": {detail}']


def cluster(api_version: str, kind: str, **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **fields}


def priority_class(name: str, value: int = 1, **fields: Any) -> Object:
    made = cluster("scheduling.k8s.io/v1", "PriorityClass", value=value, **fields)
    return changed(made, "metadata/name", name)


RESERVED = (
    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: "
)
CSI = "storage.k8s.io/v1"
TOPOLOGY = {"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}


@pytest.mark.parametrize(
    ("obj", "causes"),
    [
        (priority_class("system-mine"), [RESERVED + "system-mine is not a known system priority class"]),
        (priority_class("system-node-critical"), [RESERVED + "value of system-node-critical PriorityClass must be 2000001000"]),
        (priority_class("a", preemptionPolicy="Maybe"), ['preemptionPolicy: Unsupported value: "Maybe": supported values: "PreemptLowerPriority", "Never"']),
        (cluster("node.k8s.io/v1", "RuntimeClass", handler="h", overhead={"podFixed": {"cpu": "-1"}}), ['overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
        (cluster(CSI, "StorageClass", provisioner="a/b", reclaimPolicy="Recycle"), ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"']),
        (cluster(CSI, "StorageClass", provisioner="a/b", parameters={"": "x"}), ['parameters: Invalid value: "": field can not be empty.']),
        (cluster(CSI, "StorageClass", provisioner="a/b", allowedTopologies=[TOPOLOGY, TOPOLOGY]), ['allowedTopologies[1].matchLabelExpressions: Duplicate value: ""']),
        (cluster(CSI, "CSIDriver", spec={"fsGroupPolicy": "Some"}), ['spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", "ReadWriteOnceWithFSType"']),
        (cluster(CSI, "CSIDriver", spec={"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}), ['spec.tokenRequests[1].audience: Duplicate value: "a"']),
        (cluster(CSI, "CSIDriver", spec={"tokenRequests": [{"audience": "a", "expirationSeconds": 1}]}), ["spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes"]),
        (cluster(CSI, "CSIDriver", spec={"volumeLifecycleModes": ["Brief"]}), ['spec.volumeLifecycleModes: Unsupported value: "Brief": supported values: "Persistent", "Ephemeral"']),
        (cluster(CSI, "CSINode", spec={"drivers": [{"name": "a.example", "nodeID": "", "allocatable": {"count": -1}}]}), ["spec.drivers[0].nodeID: Required value", "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"]),
        (cluster(CSI, "VolumeAttachment", spec={"attacher": "a.example", "nodeName": "n", "source": {}}), ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"]),
        (cluster(CSI, "VolumeAttachment", spec={"attacher": "a.example", "nodeName": "N", "source": {"persistentVolumeName": "v"}}), [f'spec.nodeName: Invalid value: "N": {SUBDOMAIN}']),
        (core("Namespace", "", metadata={"name": "Big"}), None),
    ],
)  # fmt: skip
def test_small_kinds(obj: Object, causes: list[str] | None) -> None:
    found = refusals(obj)
    assert (
        found == causes if causes else found[0].startswith('metadata.name: Invalid value: "Big": a lowercase RFC 1123')
    )


@pytest.mark.parametrize(
    ("obj", "changes", "causes"),
    [
        (priority_class("a"), {"value": 2, "preemptionPolicy": "Never"}, ["value: Forbidden: may not be changed in an update.", f'preemptionPolicy: Invalid value: "Never": {IMMUTABLE}']),
        (cluster("node.k8s.io/v1", "RuntimeClass", handler="h"), {"handler": "i"}, [f'handler: Invalid value: "i": {IMMUTABLE}']),
        (cluster(CSI, "CSIDriver"), {"spec__attachRequired": False}, [f"spec.attachedRequired: Invalid value: false: {IMMUTABLE}"]),
        (cluster(CSI, "StorageClass", provisioner="a/b"), {"provisioner": "a/c", "reclaimPolicy": "Retain"}, ["provisioner: Forbidden: updates to provisioner are forbidden.", "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."]),
        (endpoint_slice(), {"addressType": "FQDN", "endpoints": []}, [f'addressType: Invalid value: "FQDN": {IMMUTABLE}']),
        (cluster("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", roleRef={"kind": "ClusterRole", "name": "a"}), {"roleRef__name": "b"}, ['roleRef: Invalid value: rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"ClusterRole", Name:"b"}: cannot change roleRef']),
        ({**core("CSIStorageCapacity", storageClassName="a"), "apiVersion": CSI}, {"storageClassName": "b"}, [f'storageClassName: Invalid value: "b": {IMMUTABLE}']),
    ],
    ids=lambda v: v["kind"] if isinstance(v, dict) and "kind" in v else "",
)  # fmt: skip
def test_what_small_kinds_may_not_change(obj: Object, changes: dict[str, Any], causes: list[str]) -> None:
    assert update_refusals(create(obj), **changes) == causes


def test_service_accounts_of_a_role_binding_are_of_its_namespace_unless_said() -> None:
    subjects = [{"kind": "ServiceAccount", "name": "bot"}]
    reference = {"kind": "ClusterRole", "name": "view"}
    everywhere = cluster("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", roleRef=reference, subjects=subjects)
    assert refusals(everywhere) == ["subjects[0].namespace: Required value"]
    here = changed({**everywhere, "kind": "RoleBinding"}, "metadata/namespace", "default")
    assert create(here)["subjects"] == subjects


def test_status_of_a_disruption_budget() -> None:
    made = create({**core("PodDisruptionBudget", spec={"minAvailable": 1}), "apiVersion": "policy/v1"})
    conditions = [{"type": "A", "status": "Yes", "lastTransitionTime": "2024-01-01T00:00:00Z"}]
    assert status_refusals(made, status__conditions=conditions, status__expectedPods=-1) == [
        'status.conditions[0].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown"',
        "status.conditions[0].reason: Required value: must be set",
        "status.expectedPods: Invalid value: -1: must be greater than or equal to 0",
    ]
