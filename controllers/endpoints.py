"""Endpoints: the one list of a Service's addresses that older clients read."""

from collections.abc import Iterable
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.loop import Context, Loop
from controllers.pace import Pace
from kubeclient import ApiError

Object = dict[str, Any]
PortKey = tuple[tuple[str, str, int, str], ...]

HEADLESS = "service.kubernetes.io/headless"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
#: More addresses than this make an object too big to send around; EndpointSlices have no such limit.
CAPACITY = 1000


def target_port(pod: Object, port: Object) -> int | None:
    """The number behind a Service port's ``targetPort`` in this pod; None when the pod has no port of that name."""
    target = port.get("targetPort")
    if not isinstance(target, str):
        return target or port["port"]
    spec = pod.get("spec") or {}
    # Sidecars (init containers that keep running) may offer ports too.
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for offered in container.get("ports") or ():
            if offered.get("name") == target and offered.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return offered["containerPort"]
    return None


def port_key(pod: Object, service: Object) -> PortKey:
    """``(name, protocol, number, appProtocol)`` of each Service port that this pod offers, sorted."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = target_port(pod, port)
        if number is not None:
            found.append((port.get("name") or "", port.get("protocol", "TCP"), number, port.get("appProtocol") or ""))
    return tuple(sorted(found))


def is_headless(service: Object) -> bool:
    return service["spec"].get("clusterIP") == "None"


def shown_hostname(pod: Object, service: Object) -> str:
    """A pod's own DNS name exists below the Service that its ``subdomain`` names."""
    spec = pod.get("spec") or {}
    return spec.get("hostname") or "" if spec.get("subdomain") == meta.name(service) else ""


def ip_families(service: Object) -> list[str]:
    families = service["spec"].get("ipFamilies")
    if families:
        return list(families)
    cluster_ip = service["spec"].get("clusterIP") or ""
    return ["IPv6"] if ":" in cluster_ip else ["IPv4"]


def pod_ip(pod: Object, family: str) -> str | None:
    """The pod's address of one IP family."""
    status = pod.get("status") or {}
    addresses = [entry.get("ip") for entry in status.get("podIPs") or ()] or [status.get("podIP")]
    return next((ip for ip in addresses if ip and (":" in ip) == (family == "IPv6")), None)


def subsets(service: Object, members: Iterable[Object]) -> tuple[list[Object], bool]:
    """The subsets, and whether addresses had to be left out. Terminating pods are not shown, save to those who want unready ones."""
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    family = ip_families(service)[0]
    groups: dict[PortKey, tuple[list[Object], list[Object]]] = {}
    for pod in members:
        ip = pod_ip(pod, family)
        if ip is None or pods.is_terminal(pod) or (meta.is_deleting(pod) and not publish):
            continue
        ports = port_key(pod, service)
        if not ports and not is_headless(service):
            continue
        ready, unready = groups.setdefault(ports, ([], []))
        (ready if publish or pods.is_ready(pod) else unready).append(_address(pod, ip, service))
    truncated = _truncate(list(groups.values()))
    found = []
    for ports, (ready, unready) in sorted(groups.items()):
        subset: Object = {}
        if ready:
            subset["addresses"] = sorted(ready, key=lambda a: (a["ip"], a["targetRef"]["uid"]))
        if unready:
            subset["notReadyAddresses"] = sorted(unready, key=lambda a: (a["ip"], a["targetRef"]["uid"]))
        if ports:
            subset["ports"] = [_port(*p) for p in ports]
        found.append(subset)
    return found, truncated


def _truncate(groups: list[tuple[list[Object], list[Object]]]) -> bool:
    """Keeps ready addresses rather than unready ones."""
    room = CAPACITY
    total = sum(len(ready) + len(unready) for ready, unready in groups)
    for which in (0, 1):
        for group in groups:
            del group[which][room:]
            room -= len(group[which])
    return total > CAPACITY


def _address(pod: Object, ip: str, service: Object) -> Object:
    address: Object = {"ip": ip}
    if hostname := shown_hostname(pod, service):
        address["hostname"] = hostname
    if node := pods.node_name(pod):
        address["nodeName"] = node
    address["targetRef"] = target_reference(pod)
    return address


def target_reference(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": meta.namespace(pod), "name": meta.name(pod), "uid": meta.uid(pod)}


def _port(name: str, protocol: str, number: int, app_protocol: str) -> Object:
    port: Object = {"name": name} if name else {}
    port.update(port=number, protocol=protocol)
    if app_protocol:
        port["appProtocol"] = app_protocol
    return port


def wanted(service: Object, members: Iterable[Object], current: Object | None) -> Object | None:
    """The Endpoints object to write, or None when the current one is right."""
    found, truncated = subsets(service, members)
    labels = {k: v for k, v in meta.labels(service).items() if k != HEADLESS}
    if is_headless(service):
        labels[HEADLESS] = ""
    labels[MANAGED_BY] = "endpoint-controller"
    annotations = {k: v for k, v in meta.annotations(current or {"metadata": {}}).items() if k != OVER_CAPACITY}
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    if current is not None:
        same = (current.get("subsets") or []) == found and meta.labels(current) == labels
        if same and meta.annotations(current) == annotations:
            return None
    metadata: Object = dict(current["metadata"]) if current else {}
    metadata.update(name=meta.name(service), namespace=meta.namespace(service), labels=labels)
    metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": found}


class EndpointsLoop(Loop):
    name = "endpoints-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.watch("v1", "services")
        self.endpoints = self.watch("v1", "endpoints")
        self.pace = Pace(self.queue)
        self.members = self.watch_service_pods(lambda key: self.pace.add(key, self.members.count(key)))
        self.api = self.client.resource("v1", "endpoints")
        self.endpoints.on(delete=lambda endpoints: self.queue.add(meta.key(endpoints)))

    async def reconcile(self, key: str) -> None:
        self.pace.synced(key)
        service = self.services.get(key)
        if service is None:
            self.pace.forget(key)
            await self._delete(key)
            return
        if service["spec"].get("type") == "ExternalName" or not service["spec"].get("selector"):
            return
        current = self.endpoints.get(key)
        fresh = wanted(service, self.members.of(key), current)
        if fresh is None:
            return
        try:
            await (self.api.update(fresh) if current else self.api.create(fresh))
        except ApiError as error:
            if not error.namespace_terminating:
                raise

    async def _delete(self, key: str) -> None:
        """A Service that is gone takes its Endpoints along, whoever made them."""
        if self.endpoints.get(key) is None:
            return
        namespace, name = meta.split_key(key)
        try:
            await self.api.delete(name, namespace)
        except ApiError as error:
            if not error.not_found:
                raise
