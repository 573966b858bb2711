"""Objects for the tests of the pure cores: only what the cores read."""

import itertools
from typing import Any

from apimachinery import meta

Object = dict[str, Any]

NOW = 1_800_000_000.0
_uids = itertools.count(1)


def stamp(seconds_ago: float = 0.0) -> str:
    return meta.format_time(NOW - seconds_ago)


def metadata(name: str, namespace: str = "shop", **more: Any) -> Object:
    uid = f"uid-{next(_uids):06}"
    return {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "1", "generation": 1, **more}


def pod(
    name: str = "web-1",
    *,
    phase: str = "Running",
    ready: bool = True,
    ready_for: float = 60.0,
    age: float = 100.0,
    node: str = "node-1",
    ip: str = "10.0.0.1",
    owner: Object | None = None,
    deleting: bool = False,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    restarts: int = 0,
    spec: Object | None = None,
) -> Object:
    about = metadata(name, creationTimestamp=stamp(age), labels=labels or {"app": "web"})
    if annotations:
        about["annotations"] = annotations
    if owner is not None:
        about["ownerReferences"] = [meta.controller_reference(owner)]
    if deleting:
        about["deletionTimestamp"] = stamp()
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp(ready_for)}
    body: Object = {"containers": [{"name": "c", "image": "img"}], **(spec or {})}
    if node:
        body["nodeName"] = node
    status: Object = {"phase": phase, "conditions": [condition]}
    if ip:
        status.update(podIP=ip, podIPs=[{"ip": ip}])
    if restarts:
        status["containerStatuses"] = [{"name": "c", "restartCount": restarts}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": body, "status": status}


def template(image: str = "img:1", labels: dict[str, str] | None = None) -> Object:
    containers = [{"name": "c", "image": image}]
    return {"metadata": {"labels": labels or {"app": "web"}}, "spec": {"containers": containers}}


def deployment(name: str = "web", *, replicas: int = 3, image: str = "img:1", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, creationTimestamp=stamp(1000)),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
        "status": {},
    }


def replica_set(name: str = "web-abc", *, replicas: int = 3, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(name, creationTimestamp=stamp(500)),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(),
            **spec,
        },
        "status": {},
    }


def service(name: str = "web", *, ports: list[Object] | None = None, **spec: Any) -> Object:
    if ports is None:
        ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    body = {"selector": {"app": "web"}, "clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"], "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": body}


def node(
    name: str = "node-1", *, ready: str | None = "True", taints: list[Object] | None = None, **spec: Any
) -> Object:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, "lastTransitionTime": stamp(60)}]
    about = metadata(name, creationTimestamp=stamp(1000))
    del about["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": about,
        "spec": {**({"taints": taints} if taints else {}), **spec},
        "status": {"conditions": conditions},
    }
