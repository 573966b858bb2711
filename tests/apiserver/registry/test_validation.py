"""Kind by kind: what is wrong with an object, field by field, in upstream's order and words."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from tests.apiserver.registry.made import Object, changed, core, create, pod, refusals, service, update_refusals

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
    ("metrics", [{"type": "Magic"}], ['spec.metrics[0].type: Unsupported value: "Magic": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"']),
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
