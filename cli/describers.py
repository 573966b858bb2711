"""What ``describe`` says about each kind; the order and the words are kubectl's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cli.prose import Prose, age, long_time
from cli.session import Session

Object = dict[str, Any]
Describer = Callable[[Session, Object, Prose], Awaitable[None]]


def _selector(selector: Object | None) -> str:
    """A LabelSelector as text: ``app=web,tier in (a,b)``."""
    if not selector:
        return "<none>"
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts) or "<none>"


def _plain_selector(labels: dict[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or "<none>"


def _controller(obj: Object) -> str:
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return f"{owner['kind']}/{owner['name']}"
    return ""


# --- Pods -----------------------------------------------------------------------------------------------------------


async def describe_pod(session: Session, pod: Object, prose: Prose) -> None:
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    prose.heading(pod)
    prose.line(0, "Priority:", spec.get("priority") or 0)
    if spec.get("priorityClassName"):
        prose.line(0, "Priority Class Name:", spec["priorityClassName"])
    if spec.get("serviceAccountName"):
        prose.line(0, "Service Account:", spec["serviceAccountName"])
    node = spec.get("nodeName")
    prose.line(0, "Node:", f"{node}/{status.get('hostIP') or ''}" if node else "<none>")
    if status.get("startTime"):
        prose.line(0, "Start Time:", long_time(status["startTime"]))
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    if meta.get("deletionTimestamp"):
        prose.line(0, "Status:", f"Terminating (lasts {age(meta['deletionTimestamp'])})")
        prose.line(0, "Termination Grace Period:", f"{meta.get('deletionGracePeriodSeconds')}s")
    else:
        prose.line(0, "Status:", status.get("phase"))
    for name in ("reason", "message"):
        if status.get(name):
            prose.line(0, f"{name.capitalize()}:", status[name])
    prose.line(0, "IP:", status.get("podIP") or "")
    ips = status.get("podIPs") or []
    prose.line(0, "IPs:", *([] if ips else ["<none>"]))
    for entry in ips:
        prose.line(1, "IP:", entry["ip"])
    if _controller(pod):
        prose.line(0, "Controlled By:", _controller(pod))
    if spec.get("initContainers"):
        _containers(prose, "Init Containers", spec["initContainers"], status.get("initContainerStatuses"), pod=pod)
    _containers(prose, "Containers", spec["containers"], status.get("containerStatuses"), pod=pod)
    prose.conditions(status.get("conditions"), reasons=False)
    _volumes(prose, 0, spec.get("volumes"))
    if status.get("qosClass"):
        prose.line(0, "QoS Class:", status["qosClass"])
    prose.mapping(0, "Node-Selectors:", spec.get("nodeSelector"))
    _tolerations(prose, 0, spec.get("tolerations"))


def _tolerations(prose: Prose, level: int, tolerations: list[Object] | None) -> None:
    shown = []
    for toleration in sorted(tolerations or [], key=lambda t: t.get("key") or ""):
        text = toleration.get("key") or ""
        if toleration.get("value"):
            text += f"={toleration['value']}"
        if toleration.get("effect"):
            text += f":{toleration['effect']}"
        if toleration.get("operator") == "Exists":
            text = f"{text} op=Exists" if text else "op=Exists"
        if toleration.get("tolerationSeconds") is not None:
            text += f" for {toleration['tolerationSeconds']}s"
        shown.append(text)
    prose.line(level, "Tolerations:", shown[0] if shown else "<none>")
    for text in shown[1:]:
        prose.line(level, "", text)


def _containers(
    prose: Prose, title: str, containers: list[Object], statuses: list[Object] | None, *, pod: Object | None
) -> None:
    """``pod`` is None for a template: it stands one level in, but its containers' fields do not."""
    by_name = {status["name"]: status for status in statuses or []}
    prose.line(0 if pod else 1, f"{title}:")
    for container in containers:
        prose.line(1, f"{'' if pod else ' '}{container['name']}:")
        inner = 2
        status = by_name.get(container["name"])
        if status:
            prose.line(inner, "Container ID:", status.get("containerID") or "")
        prose.line(inner, "Image:", container.get("image") or "")
        if status:
            prose.line(inner, "Image ID:", status.get("imageID") or "")
        _ports(prose, inner, container.get("ports") or [])
        for name in ("command", "args"):
            if container.get(name):
                prose.line(inner, f"{name.capitalize()}:")
                for word in container[name]:
                    for part in word.split("\n"):
                        prose.line(inner + 1, part)
        if status:
            _state(prose, inner, "State:", status.get("state") or {})
            if status.get("lastState"):
                _state(prose, inner, "Last State:", status["lastState"])
            prose.line(inner, "Ready:", "True" if status.get("ready") else "False")
            prose.line(inner, "Restart Count:", status.get("restartCount") or 0)
        _resources(prose, inner, container.get("resources") or {})
        for name in ("liveness", "readiness", "startup"):
            if container.get(f"{name}Probe"):
                prose.line(inner, f"{name.capitalize()}:", _probe(container[f"{name}Probe"]))
        _environment(prose, inner, container, pod)
        _mounts(prose, inner, container.get("volumeMounts") or [])


def _ports(prose: Prose, level: int, ports: list[Object]) -> None:
    shown = ", ".join(f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports)
    hosts = ", ".join(f"{p.get('hostPort', 0)}/{p.get('protocol', 'TCP')}" for p in ports)
    plural = "s" if len(ports) > 1 else ""
    prose.line(level, f"Port{plural}:", shown or "<none>")
    prose.line(level, f"Host Port{plural}:", hosts or "<none>")


def _state(prose: Prose, level: int, name: str, state: Object) -> None:
    if "running" in state:
        prose.line(level, name, "Running")
        prose.line(level + 1, "Started:", long_time(state["running"].get("startedAt")))
    elif "terminated" in state:
        ended = state["terminated"]
        prose.line(level, name, "Terminated")
        for key in ("reason", "message"):
            if ended.get(key):
                prose.line(level + 1, f"{key.capitalize()}:", ended[key])
        prose.line(level + 1, "Exit Code:", ended.get("exitCode"))
        if ended.get("signal"):
            prose.line(level + 1, "Signal:", ended["signal"])
        prose.line(level + 1, "Started:", long_time(ended.get("startedAt")))
        prose.line(level + 1, "Finished:", long_time(ended.get("finishedAt")))
    else:
        prose.line(level, name, "Waiting")
        waiting = state.get("waiting") or {}
        for key in ("reason", "message"):
            if waiting.get(key):
                prose.line(level + 1, f"{key.capitalize()}:", waiting[key])


def _resources(prose: Prose, level: int, resources: Object) -> None:
    for name in ("limits", "requests"):
        if resources.get(name):
            prose.line(level, f"{name.capitalize()}:")
            for key, value in sorted(resources[name].items()):
                prose.line(level + 1, f"{key}:", value)


def _probe(probe: Object) -> str:
    timing = (
        f"delay={probe.get('initialDelaySeconds') or 0}s timeout={probe.get('timeoutSeconds')}s period={probe.get('periodSeconds')}s "
        f"#success={probe.get('successThreshold')} #failure={probe.get('failureThreshold')}"
    )
    if probe.get("exec"):
        return f"exec [{' '.join(probe['exec'].get('command') or [])}] {timing}"
    if probe.get("httpGet"):
        get = probe["httpGet"]
        url = f"{get.get('scheme', 'HTTP').lower()}://{get.get('host') or ''}:{get['port']}/{(get.get('path') or '').lstrip('/')}"
        return f"http-get {url} {timing}"
    if probe.get("tcpSocket"):
        return f"tcp-socket {probe['tcpSocket'].get('host') or ''}:{probe['tcpSocket']['port']} {timing}"
    if probe.get("grpc"):
        return f"grpc <pod>:{probe['grpc']['port']} {probe['grpc'].get('service') or ''} {timing}"
    return f"unknown {timing}"


def _environment(prose: Prose, level: int, container: Object, pod: Object | None) -> None:
    if container.get("envFrom"):
        prose.line(level, "Environment Variables from:")
        for source in container["envFrom"]:
            kind = "ConfigMap" if "configMapRef" in source else "Secret"
            reference = source.get("configMapRef") or source.get("secretRef") or {}
            prefix = f" with prefix '{source['prefix']}'" if source.get("prefix") else ""
            prose.line(level + 1, reference["name"], f"{kind}{prefix}", f"Optional: {_bool(reference.get('optional'))}")
    variables = container.get("env") or []
    prose.line(level, "Environment:", *([] if variables else ["<none>"]))
    for variable in variables:
        prose.line(level + 1, f"{variable['name']}:", _variable(variable, pod))


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _variable(variable: Object, pod: Object | None) -> str:
    source = variable.get("valueFrom")
    if not source:
        return variable.get("value") or ""
    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        value = _field_of(pod, path) if pod else ""
        return f"{value} ({source['fieldRef'].get('apiVersion', 'v1')}:{path})"
    if "resourceFieldRef" in source:
        reference = source["resourceFieldRef"]
        return f"{reference.get('containerName') or ''} ({reference['resource']})"
    for name, kind in (("configMapKeyRef", "config map"), ("secretKeyRef", "secret")):
        if name in source:
            reference = source[name]
            return f"<set to the key '{reference['key']}' of {kind} '{reference['name']}'>  Optional: {_bool(reference.get('optional'))}"
    return ""


def _field_of(pod: Object, path: str) -> str:
    """The value of a downward field as far as the object shows it: ``metadata.name``, ``status.podIP``, one label."""
    from cli.jsonpath import JSONPath, show

    values = JSONPath("{." + path + "}").values(pod, missing_ok=True)
    return show(values[0]) if values else ""


def _mounts(prose: Prose, level: int, mounts: list[Object]) -> None:
    prose.line(level, "Mounts:", *([] if mounts else ["<none>"]))
    for mount in sorted(mounts, key=lambda m: m["mountPath"]):
        flags = ["ro" if mount.get("readOnly") else "rw"]
        if mount.get("subPath"):
            flags.append(f'path="{mount["subPath"]}"')
        prose.line(level + 1, f"{mount['mountPath']} from {mount['name']} ({','.join(flags)})")


_VOLUME_WORDS = {
    "emptyDir": "EmptyDir (a temporary directory that shares a pod's lifetime)",
    "hostPath": "HostPath (bare host directory volume)",
    "configMap": "ConfigMap (a volume populated by a ConfigMap)",
    "secret": "Secret (a volume populated by a Secret)",
    "downwardAPI": "DownwardAPI (a volume populated by information about the pod)",
    "projected": "Projected (a volume that contains injected data from multiple sources)",
    "persistentVolumeClaim": "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
    "nfs": "NFS (an NFS mount that lasts the lifetime of a pod)",
}


def _volumes(prose: Prose, level: int, volumes: list[Object] | None) -> None:
    prose.line(level, "Volumes:", *([] if volumes else ["<none>"]))
    for volume in volumes or []:
        prose.line(1, f"{' ' * level}{volume['name']}:")
        kind = next((k for k in volume if k != "name"), "emptyDir")
        source = volume.get(kind) or {}
        prose.line(2, "Type:", _VOLUME_WORDS.get(kind, kind))
        if kind == "configMap":
            prose.line(2, "Name:", source.get("name"))
            prose.line(2, "Optional:", _bool(source.get("optional")))
        elif kind == "secret":
            prose.line(2, "SecretName:", source.get("secretName"))
            prose.line(2, "Optional:", _bool(source.get("optional")))
        elif kind == "emptyDir":
            prose.line(2, "Medium:", source.get("medium") or "")
            prose.line(2, "SizeLimit:", source.get("sizeLimit") or "<unset>")
        elif kind == "hostPath":
            prose.line(2, "Path:", source.get("path"))
            prose.line(2, "HostPathType:", source.get("type") or "")
        elif kind == "persistentVolumeClaim":
            prose.line(2, "ClaimName:", source.get("claimName"))
            prose.line(2, "ReadOnly:", _bool(source.get("readOnly")))
        elif kind == "projected":
            _projected(prose, 2, source)


def _projected(prose: Prose, level: int, projected: Object) -> None:
    for source in projected.get("sources") or []:
        if "serviceAccountToken" in source:
            prose.line(level, "TokenExpirationSeconds:", source["serviceAccountToken"].get("expirationSeconds"))
        elif "configMap" in source:
            prose.line(level, "ConfigMapName:", source["configMap"].get("name"))
            prose.line(level, "Optional:", _bool(source["configMap"].get("optional")))
        elif "secret" in source:
            prose.line(level, "SecretName:", source["secret"].get("name"))
            prose.line(level, "Optional:", _bool(source["secret"].get("optional")))
        elif "downwardAPI" in source:
            prose.line(level, "DownwardAPI:", "true")


def pod_template(prose: Prose, template: Object) -> None:
    prose.line(0, "Pod Template:")
    meta, spec = template.get("metadata") or {}, template["spec"]
    prose.mapping(1, "Labels:", meta.get("labels"))
    if meta.get("annotations"):
        prose.mapping(1, "Annotations:", meta["annotations"])
    if spec.get("serviceAccountName"):
        prose.line(1, "Service Account:", spec["serviceAccountName"])
    if spec.get("initContainers"):
        _containers(prose, "Init Containers", spec["initContainers"], None, pod=None)
    _containers(prose, "Containers", spec["containers"], None, pod=None)
    _volumes(prose, 1, spec.get("volumes"))
    if spec.get("priorityClassName"):
        prose.line(1, "Priority Class Name:", spec["priorityClassName"])
    prose.mapping(1, "Node-Selectors:", spec.get("nodeSelector"))
    _tolerations(prose, 1, spec.get("tolerations"))


# --- Workloads ------------------------------------------------------------------------------------------------------


async def describe_deployment(session: Session, deployment: Object, prose: Prose) -> None:
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    prose.heading(deployment)
    prose.line(0, "CreationTimestamp:", long_time(meta.get("creationTimestamp")))
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    prose.line(0, "Selector:", _selector(spec["selector"]))
    counts = [
        f"{spec.get('replicas', 0)} desired",
        f"{status.get('updatedReplicas', 0)} updated",
        f"{status.get('replicas', 0)} total",
        f"{status.get('availableReplicas', 0)} available",
        f"{status.get('unavailableReplicas', 0)} unavailable",
    ]
    prose.line(0, "Replicas:", " | ".join(counts))
    strategy = spec.get("strategy") or {}
    prose.line(0, "StrategyType:", strategy.get("type"))
    prose.line(0, "MinReadySeconds:", spec.get("minReadySeconds") or 0)
    rolling = strategy.get("rollingUpdate")
    if rolling:
        prose.line(
            0,
            "RollingUpdateStrategy:",
            f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge",
        )
    pod_template(prose, spec["template"])
    prose.conditions(status.get("conditions"), reasons=True)
    from cli.rollout import replica_sets_of, revision_of

    owned = await replica_sets_of(session, deployment)
    newest = max(owned, key=revision_of, default=None)
    old = [rs for rs in owned if rs is not newest]

    def created(sets: list[Object]) -> str:
        texts = [
            f"{rs['metadata']['name']} ({(rs.get('status') or {}).get('replicas', 0)}/{rs['spec'].get('replicas', 0)} replicas created)"
            for rs in sets
        ]
        return ", ".join(texts) or "<none>"

    if owned:
        prose.line(0, "OldReplicaSets:", created(old))
        prose.line(0, "NewReplicaSet:", created([newest] if newest else []))


async def describe_replica_set(session: Session, rs: Object, prose: Prose) -> None:
    meta, spec, status = rs["metadata"], rs["spec"], rs.get("status") or {}
    prose.heading(rs)
    prose.line(0, "Selector:", _selector(spec["selector"]))
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    if _controller(rs):
        prose.line(0, "Controlled By:", _controller(rs))
    prose.line(0, "Replicas:", f"{status.get('replicas', 0)} current / {spec.get('replicas', 0)} desired")
    prose.line(0, "Pods Status:", await _pod_phases(session, rs))
    pod_template(prose, spec["template"])
    prose.conditions(status.get("conditions"), reasons=True)


async def _pod_phases(session: Session, owner: Object) -> str:
    pods = (await session.client.resource("v1", "pods").list(owner["metadata"]["namespace"]))["items"]
    uid = owner["metadata"]["uid"]
    mine = [
        p
        for p in pods
        if any(o["uid"] == uid and o.get("controller") for o in p["metadata"].get("ownerReferences") or [])
    ]
    count = {
        phase: sum((p.get("status") or {}).get("phase") == phase for p in mine)
        for phase in ("Running", "Pending", "Succeeded", "Failed")
    }
    return " / ".join(f"{number} {'Waiting' if phase == 'Pending' else phase}" for phase, number in count.items())


# --- Services and endpoints -----------------------------------------------------------------------------------------


async def describe_service(session: Session, service: Object, prose: Prose) -> None:
    meta, spec = service["metadata"], service["spec"]
    prose.heading(service)
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    prose.line(0, "Selector:", _plain_selector(spec.get("selector")))
    prose.line(0, "Type:", spec.get("type"))
    if spec.get("ipFamilyPolicy"):
        prose.line(0, "IP Family Policy:", spec["ipFamilyPolicy"])
        prose.line(0, "IP Families:", ",".join(spec.get("ipFamilies") or []) or "<none>")
    prose.line(0, "IP:", spec.get("clusterIP") or "")
    prose.line(0, "IPs:", ",".join(spec.get("clusterIPs") or []) or "<none>")
    if spec.get("externalIPs"):
        prose.line(0, "External IPs:", ",".join(spec["externalIPs"]))
    if spec.get("externalName"):
        prose.line(0, "External Name:", spec["externalName"])
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if ingress:
        prose.line(0, "LoadBalancer Ingress:", ", ".join(i.get("ip") or i.get("hostname") or "" for i in ingress))
    slices = await session.client.resource("discovery.k8s.io/v1", "endpointslices").list(
        meta["namespace"], label_selector=f"kubernetes.io/service-name={meta['name']}"
    )
    for port in spec.get("ports") or []:
        name = port.get("name") or "<unset>"
        protocol = port.get("protocol", "TCP")
        prose.line(0, "Port:", name, f"{port['port']}/{protocol}")
        prose.line(0, "TargetPort:", f"{port.get('targetPort')}/{protocol}")
        if port.get("nodePort"):
            prose.line(0, "NodePort:", name, f"{port['nodePort']}/{protocol}")
        prose.line(0, "Endpoints:", _endpoints(slices["items"], port.get("name") or ""))
    prose.line(0, "Session Affinity:", spec.get("sessionAffinity"))
    if spec.get("externalTrafficPolicy"):
        prose.line(0, "External Traffic Policy:", spec["externalTrafficPolicy"])
    if spec.get("internalTrafficPolicy"):
        prose.line(0, "Internal Traffic Policy:", spec["internalTrafficPolicy"])


def _endpoints(slices: list[Object], port_name: str) -> str:
    shown = []
    for piece in slices:
        ports = [p.get("port") for p in piece.get("ports") or [] if (p.get("name") or "") == port_name]
        for endpoint in piece.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            shown += [f"{address}:{port}" for address in endpoint["addresses"] for port in ports]
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return ",".join(shown[:3]) + more if shown else "<none>"


async def describe_endpoints(session: Session, endpoints: Object, prose: Prose) -> None:
    meta = endpoints["metadata"]
    prose.heading(endpoints)
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    prose.line(0, "Subsets:")
    for subset in endpoints.get("subsets") or []:
        for field, title in (("addresses", "Addresses:"), ("notReadyAddresses", "NotReadyAddresses:")):
            prose.line(1, title, ",".join(a["ip"] for a in subset.get(field) or []) or "<none>")
        if subset.get("ports"):
            prose.line(1, "Ports:")
            prose.line(2, "Name", "Port", "Protocol")
            prose.line(2, "----", "----", "--------")
            for port in subset["ports"]:
                prose.line(2, port.get("name") or "<unset>", port["port"], port.get("protocol", "TCP"))
        prose.line(0, "")


# --- Nodes ----------------------------------------------------------------------------------------------------------


async def describe_node(session: Session, node: Object, prose: Prose) -> None:
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    pods = session.client.resource("v1", "pods").list(
        field_selector=f"spec.nodeName={meta['name']},status.phase!=Succeeded,status.phase!=Failed"
    )
    lease = _lease_of(session, meta["name"])
    listed, lease_found = await asyncio.gather(pods, lease)
    prose.line(0, "Name:", meta["name"])
    prefix = "node-role.kubernetes.io/"
    roles = sorted(k.removeprefix(prefix) for k in meta.get("labels") or {} if k.startswith(prefix))
    prose.line(0, "Roles:", ",".join(roles) or "<none>")
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    prose.line(0, "CreationTimestamp:", long_time(meta.get("creationTimestamp")))
    taints = [f"{t['key']}{'=' + t['value'] if t.get('value') else ''}:{t['effect']}" for t in spec.get("taints") or []]
    prose.line(0, "Taints:", taints[0] if taints else "<none>")
    for taint in taints[1:]:
        prose.line(0, "", taint)
    prose.line(0, "Unschedulable:", _bool(spec.get("unschedulable")))
    if lease_found:
        prose.line(0, "Lease:")
        prose.line(1, "HolderIdentity:", lease_found["spec"].get("holderIdentity") or "<unset>")
        prose.line(1, "AcquireTime:", long_time(lease_found["spec"].get("acquireTime")) or "<unset>")
        prose.line(1, "RenewTime:", long_time(lease_found["spec"].get("renewTime")) or "<unset>")
    else:
        prose.line(0, "Lease:", f'Failed to get lease: leases.coordination.k8s.io "{meta["name"]}" not found')
    prose.line(0, "Conditions:")
    prose.line(1, "Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message")
    prose.line(1, "----", "------", "-----------------", "------------------", "------", "-------")
    for c in status.get("conditions") or []:
        times = long_time(c.get("lastHeartbeatTime")), long_time(c.get("lastTransitionTime"))
        cells = [f"{c['type']} ", f"{c['status']} ", *(f"{t} " for t in times), f"{c.get('reason') or ''} "]
        prose.line(1, *cells, c.get("message"))
    prose.line(0, "Addresses:")
    for address in status.get("addresses") or []:
        prose.line(1, f"{address['type']}:", address["address"])
    for name in ("capacity", "allocatable"):
        if status.get(name):
            prose.line(0, f"{name.capitalize()}:")
            for key, value in sorted(status[name].items()):
                prose.line(1, f"{key}:", value)
    info = status.get("nodeInfo") or {}
    prose.line(0, "System Info:")
    titles = {
        "machineID": "Machine ID", "systemUUID": "System UUID", "bootID": "Boot ID", "kernelVersion": "Kernel Version",
        "osImage": "OS Image", "operatingSystem": "Operating System", "architecture": "Architecture",
        "containerRuntimeVersion": "Container Runtime Version", "kubeletVersion": "Kubelet Version",
        "kubeProxyVersion": "Kube-Proxy Version",
    }  # fmt: skip
    for key, title in titles.items():
        prose.line(1, f"{title}:", info.get(key))
    if spec.get("podCIDR"):
        prose.line(0, "PodCIDR:", spec["podCIDR"])
        prose.line(0, "PodCIDRs:", ",".join(spec.get("podCIDRs") or []))
    _node_pods(prose, listed["items"], status.get("allocatable") or {})


async def _lease_of(session: Session, node: str) -> Object | None:
    from kubeclient.rest import ApiError

    try:
        return await session.client.resource("coordination.k8s.io/v1", "leases").get(node, "kube-node-lease")
    except ApiError as error:
        if not error.not_found:
            raise
        return None


def _node_pods(prose: Prose, pods: list[Object], allocatable: dict[str, str]) -> None:
    from apimachinery.quantity import Quantity, parse

    def total(pod: Object, kind: str, resource: str) -> Quantity:
        wanted = [(c.get("resources") or {}).get(kind, {}).get(resource, "0") for c in pod["spec"]["containers"]]
        return sum((parse(str(w)) for w in wanted), start=parse("0"))

    def share(amount: Quantity, resource: str) -> str:
        whole = parse(str(allocatable.get(resource, "0"))).milli_value
        return f"{amount} ({amount.milli_value * 100 // whole if whole else 0}%)"

    prose.line(0, "Non-terminated Pods:", f"({len(pods)} in total)")
    prose.line(1, "Namespace", "Name", "", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age")
    prose.line(1, "---------", "----", "", "------------", "----------", "---------------", "-------------", "---")
    keys = [(kind, resource) for resource in ("cpu", "memory") for kind in ("requests", "limits")]
    shown = ["cpu", "memory", "ephemeral-storage", *sorted(k for k in allocatable if k.startswith("hugepages-"))]
    sums = {(kind, resource): parse("0") for resource in shown for kind in ("requests", "limits")}
    for pod in pods:
        cells = []
        for key in sums:
            amount = total(pod, *key)
            sums[key] += amount
            if key in keys:
                cells.append(share(amount, key[1]))
        meta = pod["metadata"]
        prose.line(1, meta["namespace"], meta["name"], "", *cells, age(meta.get("creationTimestamp")))
    prose.line(0, "Allocated resources:")
    prose.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)")
    prose.line(1, "Resource", "Requests", "Limits")
    prose.line(1, "--------", "--------", "------")
    for resource in shown:
        prose.line(1, resource, share(sums["requests", resource], resource), share(sums["limits", resource], resource))


# --- The rest of core -----------------------------------------------------------------------------------------------


async def describe_namespace(session: Session, namespace: Object, prose: Prose) -> None:
    meta = namespace["metadata"]
    prose.line(0, "Name:", meta["name"])
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    prose.line(0, "Status:", (namespace.get("status") or {}).get("phase"))
    quotas, limits = await asyncio.gather(
        session.client.resource("v1", "resourcequotas").list(meta["name"]),
        session.client.resource("v1", "limitranges").list(meta["name"]),
    )
    prose.line(0, "")
    if not quotas["items"]:
        prose.line(0, "No resource quota.")
    else:
        prose.line(0, "Resource Quotas")
    for quota in quotas["items"]:
        prose.line(1, "Name:", quota["metadata"]["name"])
        prose.line(1, "Resource", "Used", "Hard")
        prose.line(1, "--------", "---", "---")
        status = quota.get("status") or {}
        for name, hard in sorted((status.get("hard") or {}).items()):
            prose.line(1, name, (status.get("used") or {}).get(name, "0"), hard)
    prose.line(0, "")
    if not limits["items"]:
        prose.line(0, "No LimitRange resource.")
    else:
        prose.line(0, "Resource Limits")
        prose.line(1, "Type", "Resource", "Min", "Max", "Default Request", "Default Limit", "Max Limit/Request Ratio")
        prose.line(1, "----", "--------", "---", "---", "---------------", "-------------", "-----------------------")
    for limit in limits["items"]:
        _limit_range(prose, limit)


def _limit_range(prose: Prose, limit: Object) -> None:
    fields = ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
    for item in limit["spec"]["limits"]:
        for resource in sorted({key for field in fields for key in item.get(field) or {}}):
            prose.line(1, item["type"], resource, *((item.get(field) or {}).get(resource, "-") for field in fields))


async def describe_config_map(session: Session, config_map: Object, prose: Prose) -> None:
    prose.heading(config_map)
    prose.mapping(0, "Labels:", config_map["metadata"].get("labels"))
    prose.annotations(config_map["metadata"].get("annotations"))
    prose.line(0, "")
    prose.line(0, "Data")
    prose.line(0, "====")
    for key, value in sorted((config_map.get("data") or {}).items()):
        prose.line(0, f"{key}:")
        prose.line(0, "----")
        prose.line(0, value)
        prose.line(0, "")
    prose.line(0, "")
    prose.line(0, "BinaryData")
    prose.line(0, "====")
    for key, value in sorted((config_map.get("binaryData") or {}).items()):
        prose.line(0, f"{key}: {_decoded_size(value)} bytes")
    prose.line(0, "")


def _decoded_size(value: str) -> int:
    import base64

    return len(base64.b64decode(value))


async def describe_secret(session: Session, secret: Object, prose: Prose) -> None:
    prose.heading(secret)
    prose.mapping(0, "Labels:", secret["metadata"].get("labels"))
    prose.annotations(secret["metadata"].get("annotations"))
    prose.line(0, "")
    prose.line(0, "Type:", secret.get("type"))
    prose.line(0, "")
    prose.line(0, "Data")
    prose.line(0, "====")
    for key, value in sorted((secret.get("data") or {}).items()):
        prose.line(0, f"{key}:", f"{_decoded_size(value)} bytes")


async def describe_service_account(session: Session, account: Object, prose: Prose) -> None:
    prose.heading(account)
    prose.mapping(0, "Labels:", account["metadata"].get("labels"))
    prose.annotations(account["metadata"].get("annotations"))
    for field, title in (("imagePullSecrets", "Image pull secrets:"), ("secrets", "Mountable secrets:")):
        prose.line(0, title, ",".join(s["name"] for s in account.get(field) or []) or "<none>")
    secrets = await session.client.resource("v1", "secrets").list(
        account["metadata"]["namespace"], field_selector="type=kubernetes.io/service-account-token"
    )
    uid = account["metadata"]["uid"]
    tokens = [s["metadata"]["name"] for s in secrets["items"] if _account_of(s) == uid]
    prose.line(0, "Tokens:", ",".join(tokens) or "<none>")


def _account_of(secret: Object) -> str:
    return (secret["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.uid", "")


async def describe_generic(session: Session, obj: Object, prose: Prose) -> None:
    """Any kind: metadata first, then every field, names in words (``podCIDR`` -> ``Pod CIDR``)."""
    meta = obj["metadata"]
    prose.heading(obj)
    prose.mapping(0, "Labels:", meta.get("labels"))
    prose.annotations(meta.get("annotations"))
    prose.line(0, "API Version:", obj["apiVersion"])
    prose.line(0, "Kind:", obj["kind"])
    hidden = {"name", "namespace", "labels", "annotations", "managedFields"}
    prose.line(0, "Metadata:")
    _fields(prose, 1, {k: v for k, v in meta.items() if k not in hidden})
    _fields(prose, 0, {k: v for k, v in obj.items() if k not in ("metadata", "apiVersion", "kind")})


def _words(name: str) -> str:
    import re

    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return text[:1].upper() + text[1:]


def _fields(prose: Prose, level: int, value: Object) -> None:
    for key, inner in sorted(value.items()):
        title = f"{_words(key)}:"
        if isinstance(inner, dict):
            prose.line(level, title)
            _fields(prose, level + 1, inner)
        elif isinstance(inner, list):
            prose.line(level, title)
            for item in inner:
                if isinstance(item, dict):
                    _fields(prose, level + 1, item)
                else:
                    prose.line(level + 1, item)
        else:
            prose.line(level, title, _bool(inner) if isinstance(inner, bool) else inner)


DESCRIBERS: dict[tuple[str, str], Describer] = {
    ("", "Pod"): describe_pod,
    ("", "Service"): describe_service,
    ("", "Endpoints"): describe_endpoints,
    ("", "Node"): describe_node,
    ("", "Namespace"): describe_namespace,
    ("", "ConfigMap"): describe_config_map,
    ("", "Secret"): describe_secret,
    ("", "ServiceAccount"): describe_service_account,
    ("apps", "Deployment"): describe_deployment,
    ("apps", "ReplicaSet"): describe_replica_set,
}
