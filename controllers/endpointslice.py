"""EndpointSlices: a Service's endpoints in pieces of at most a hundred, so that one changed pod sends one small piece around.

:func:`reconcile` compares the slices that are with the endpoints that should be, and changes as few slices as it can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.endpoints import (
    HEADLESS,
    PortKey,
    ip_families,
    is_headless,
    pod_ip,
    port_key,
    shown_hostname,
    target_reference,
)
from controllers.loop import Context, Loop
from controllers.pace import Pace
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]

MAX_ENDPOINTS = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
_RESERVED = frozenset({SERVICE_NAME, MANAGED_BY, HEADLESS})


@dataclass
class Changes:
    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def endpoint(pod: Object, ip: str, service: Object, zones: dict[str, str]) -> Object:
    """``zones`` is the zone of each node that has one."""
    serving, terminating = pods.is_ready(pod), meta.is_deleting(pod)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    found: Object = {
        "addresses": [ip],
        "conditions": {
            "ready": publish or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": target_reference(pod),
    }
    if hostname := shown_hostname(pod, service):
        found["hostname"] = hostname
    if node := pods.node_name(pod):
        found["nodeName"] = node
        if node in zones:
            found["zone"] = zones[node]
            if service["spec"].get("trafficDistribution") == "PreferClose":
                found["hints"] = {"forZones": [{"name": zones[node]}]}
    return found


def desired(
    service: Object, members: Iterable[Object], zones: dict[str, str]
) -> dict[tuple[str, PortKey], dict[str, Object]]:
    """Endpoints by pod uid, grouped by address type and ports: no slice mixes two groups."""
    groups: dict[tuple[str, PortKey], dict[str, Object]] = {}
    families = ip_families(service)
    for pod in members:
        if pods.is_terminal(pod):
            continue
        ports = port_key(pod, service)
        for family in families:
            ip = pod_ip(pod, family)
            if ip is not None:
                groups.setdefault((family, ports), {})[meta.uid(pod)] = endpoint(pod, ip, service, zones)
    for family in families:
        # A Service without endpoints shows that by an empty slice.
        if not any(group[0] == family for group in groups):
            groups[(family, ())] = {}
    return groups


def _ports(key: PortKey) -> list[Object]:
    found = []
    for name, protocol, number, app_protocol in key:
        port: Object = {"name": name, "port": number, "protocol": protocol}
        if app_protocol:
            port["appProtocol"] = app_protocol
        found.append(port)
    return found


def _group_of(existing: Object) -> tuple[str, PortKey]:
    ports = [
        (p.get("name") or "", p.get("protocol", "TCP"), p.get("port") or 0, p.get("appProtocol") or "")
        for p in existing.get("ports") or ()
    ]
    return existing["addressType"], tuple(sorted(ports))


def labels_for(service: Object) -> dict[str, str]:
    labels = {k: v for k, v in meta.labels(service).items() if k not in _RESERVED}
    labels[SERVICE_NAME] = meta.name(service)
    labels[MANAGED_BY] = MANAGER
    if is_headless(service):
        labels[HEADLESS] = ""
    return labels


def reconcile(
    service: Object, existing: Sequence[Object], groups: dict[tuple[str, PortKey], dict[str, Object]]
) -> Changes:
    changes = Changes()
    labels = labels_for(service)
    by_group: dict[tuple[str, PortKey], list[Object]] = {}
    for piece in existing:
        group = _group_of(piece)
        if group in groups:
            by_group.setdefault(group, []).append(piece)
        else:
            changes.delete.append(piece)
    for group, endpoints in groups.items():
        _reconcile_group(service, group, by_group.get(group, []), endpoints, labels, changes)
    return changes


def _reconcile_group(
    service: Object,
    group: tuple[str, PortKey],
    existing: list[Object],
    endpoints: dict[str, Object],
    labels: dict[str, str],
    changes: Changes,
) -> None:
    """Each endpoint stays in its slice; new ones go where something changes anyway, then where there is room, then into new slices."""
    left = dict(endpoints)
    kept: list[tuple[Object, list[Object], bool]] = []
    for piece in existing:
        endpoints_now = []
        changed = False
        for old in piece.get("endpoints") or ():
            fresh = left.pop((old.get("targetRef") or {}).get("uid", ""), None)
            if fresh is not None:
                endpoints_now.append(fresh)
            changed = changed or fresh != old
        kept.append((piece, endpoints_now, changed))
    waiting = list(left.values())
    for piece, now, changed in sorted(kept, key=lambda k: (not k[2], -len(k[1]))):
        before = len(now)
        if waiting and (changed or before + len(waiting) <= MAX_ENDPOINTS):
            take = MAX_ENDPOINTS - before
            now += waiting[:take]
            del waiting[:take]
        if not now and (endpoints or piece is not existing[0]):
            changes.delete.append(piece)
        elif changed or len(now) != before or meta.labels(piece) != labels:
            metadata = {**piece["metadata"], "labels": labels}
            changes.update.append({**piece, "metadata": metadata, "endpoints": now})
    if not existing and not waiting:
        changes.create.append(_slice(service, group, [], labels))
    for start in range(0, len(waiting), MAX_ENDPOINTS):
        changes.create.append(_slice(service, group, waiting[start : start + MAX_ENDPOINTS], labels))


def _slice(service: Object, group: tuple[str, PortKey], endpoints: list[Object], labels: dict[str, str]) -> Object:
    address_type, ports = group
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{meta.name(service)}-",
            "namespace": meta.namespace(service),
            "labels": labels,
            "ownerReferences": [meta.controller_reference(service)],
        },
        "addressType": address_type,
        "endpoints": endpoints,
        "ports": _ports(ports),
    }


class EndpointSliceLoop(Loop):
    name = "endpointslice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.watch("v1", "services")
        self.slices = self.watch("discovery.k8s.io/v1", "endpointslices")
        self.nodes = self.watch("v1", "nodes")
        self.pace = Pace(self.queue)
        self.members = self.watch_service_pods(lambda key: self.pace.add(key, self.members.count(key)))
        self.api = self.client.resource("discovery.k8s.io/v1", "endpointslices")
        self.slices.add_index("service", _service_keys)
        self.slices.on(None, self._slice_updated, self._slice_deleted)
        self.nodes.on(update=self._node_updated)
        # By Service: the resourceVersion of each slice written, until the cache shows it (or something newer).
        self._written: dict[str, dict[str, int]] = {}

    def _slice_updated(self, old: Object, new: Object) -> None:
        """Somebody changed our slice, or the cache caught up with what we wrote."""
        for key in {*_service_keys(old), *_service_keys(new)}:
            if not self._is_ours(key, new):
                self.queue.add(key)

    def _is_ours(self, key: str, piece: Object) -> bool:
        version = self._written.get(key, {}).get(key_of(piece))
        return version is not None and version == int(piece["metadata"]["resourceVersion"])

    def _slice_deleted(self, piece: Object) -> None:
        for key in _service_keys(piece):
            written = self._written.get(key, {})
            if key_of(piece) in written:
                # Not by us: what we delete we take off the list.
                del written[key_of(piece)]
                self.queue.add(key)

    def _node_updated(self, old: Object, new: Object) -> None:
        if meta.labels(old).get(ZONE) != meta.labels(new).get(ZONE):
            for key in list(self.services.keys()):
                self.queue.add(key)

    def _cache_is_behind(self, key: str) -> bool:
        for slice_key, version in self._written.get(key, {}).items():
            seen = self.slices.get(slice_key)
            if seen is None or int(seen["metadata"]["resourceVersion"]) < version:
                return True
        return False

    async def reconcile(self, key: str) -> None:
        self.pace.synced(key)
        service = self.services.get(key)
        if service is None:
            # The slices are the garbage collector's: the Service owns them.
            self.pace.forget(key)
            self._written.pop(key, None)
            return
        if service["spec"].get("type") == "ExternalName" or not service["spec"].get("selector"):
            return
        if self._cache_is_behind(key):
            self.queue.add_after(key, 0.02)
            return
        existing = [s for s in self.slices.by_index("service", key) if not meta.is_deleting(s)]
        zones = {meta.name(n): meta.labels(n)[ZONE] for n in self.nodes.list() if ZONE in meta.labels(n)}
        changes = reconcile(service, existing, desired(service, self.members.of(key), zones))
        await self._carry_out(key, changes)

    async def _carry_out(self, key: str, changes: Changes) -> None:
        written = self._written.setdefault(key, {})
        try:
            for piece in changes.create:
                self._remember(written, await self.api.create(piece))
            for piece in changes.update:
                self._remember(written, await self.api.update(piece))
            for piece in changes.delete:
                written.pop(key_of(piece), None)
                await self.api.delete(meta.name(piece), meta.namespace(piece))
        except ApiError as error:
            if error.namespace_terminating:
                return
            if not error.not_found:
                raise
            # Deleted under our hands; the watch will tell.
            self.queue.add_after(key, 0.02)

    def _remember(self, written: dict[str, int], piece: Object) -> None:
        written[key_of(piece)] = int(piece["metadata"]["resourceVersion"])


def _service_keys(piece: Object) -> list[str]:
    """The Service of a slice that is ours to keep."""
    labels = meta.labels(piece)
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [f"{meta.namespace(piece)}/{labels[SERVICE_NAME]}"]
