"""What an API server itself keeps in the cluster: the system namespaces, and the ``kubernetes`` Service with its endpoints.

Every server renews a lease of the store under ``masterleases/ADDRESS``; the endpoints of the Service are the addresses
whose leases live, so a server that dies drops out by itself (upstream's lease reconciler).
"""

import asyncio
import ipaddress
import logging
from typing import Any

from apimachinery import resources
from apimachinery.errors import StatusError
from apimachinery.resources import Resource
from apiserver.admission.priority import SYSTEM
from apiserver.context import Context
from apiserver.handlers import commit
from apiserver.handlers.endpoint import Endpoint, copy_of
from etcd_raft.client import EtcdError

log = logging.getLogger(__name__)
Object = dict[str, Any]
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
LEASES = "masterleases/"
_LEASE_SECONDS, _RENEW_SECONDS = 15, 10.0
_RETRY_SECONDS = 1.0
SERVICE = "kubernetes"


async def run(context: Context) -> None:
    """Never returns; trouble with the store is retried."""
    await context.cacher.ready.wait()
    while True:
        try:
            await _namespaces(context)
            await _roles(context)
            await _priority_classes(context)
            await _service(context)
            break
        except (StatusError, EtcdError) as error:
            log.warning("cannot make the system's own objects yet: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
    await _Presence(context).keep()


def endpoint_of(context: Context, group: str, plural: str) -> Endpoint:
    row: Resource | None = resources.lookup(group, "v1", plural)
    assert row is not None, f"{plural} is a row of the resource table"
    return context.endpoints[row]


async def ensure(endpoint: Endpoint, obj: Object) -> None:
    """Creates an object unless it is there."""
    metadata = obj["metadata"]
    key = endpoint.key(metadata.get("namespace", ""), metadata["name"])
    if endpoint.cache.get(key) is not None:
        return
    endpoint.strategy.default(obj)
    endpoint.strategy.before_create(obj)
    try:
        await commit.create(endpoint, key, obj)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise


async def _namespaces(context: Context) -> None:
    endpoint = endpoint_of(context, "", "namespaces")
    for name in NAMESPACES:
        await ensure(endpoint, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _roles(context: Context) -> None:
    if not context.authorizer.uses_roles or context.default_roles_made.is_set():
        return
    from apiserver.authorization import reconcile  # the table of roles is large, and other modes do not need it

    await reconcile.run(context)
    context.default_roles_made.set()


async def _priority_classes(context: Context) -> None:
    endpoint = endpoint_of(context, "scheduling.k8s.io", "priorityclasses")
    for name, value in SYSTEM.items():
        what = "for critical pods of a node" if "node" in name else "for critical pods of the cluster"
        obj = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": f"Used {what}: they must run for the rest to work.",
        }
        await ensure(endpoint, obj)


async def _service(context: Context) -> None:
    options = context.options
    network = ipaddress.ip_network(options.service_cluster_ip_range)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(network[1]),
            "clusterIPs": [str(network[1])],
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": options.secure_port}],
        },
    }
    await ensure(endpoint_of(context, "", "services"), service)
    cidr = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": SERVICE},
        "spec": {"cidrs": [options.service_cluster_ip_range]},
    }
    await ensure(endpoint_of(context, "networking.k8s.io", "servicecidrs"), cidr)


class _Presence:
    """This server's lease, and the endpoints that all leases together make."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lease = 0
        self._published: list[str] = []

    async def keep(self) -> None:
        try:
            while True:
                try:
                    await self._renew()
                    await self._publish()
                except (StatusError, EtcdError) as error:
                    log.warning("cannot renew this server's place in the kubernetes Service: %s", error)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                await asyncio.sleep(_RENEW_SECONDS)
        finally:
            await self._leave()

    async def _renew(self) -> None:
        client, store = self._context.store.client, self._context.store
        if self._lease and await client.lease_keep_alive(self._lease) > 0:
            return
        self._lease = (await client.lease_grant(_LEASE_SECONDS)).id
        address = self._context.options.advertise_address
        await client.put(store.full(LEASES + address), b"{}", lease=self._lease)

    async def _leave(self) -> None:
        """An orderly end takes this server out at once, unless it was the last."""
        if not self._lease:
            return
        try:
            async with asyncio.timeout(1.0):
                await self._context.store.client.lease_revoke(self._lease)
                await self._publish()
        except (TimeoutError, StatusError, EtcdError) as error:
            log.info("this server's endpoint stays until its lease ends: %s", error)

    async def _publish(self) -> None:
        page = await self._context.store.range(LEASES)
        addresses = sorted(item.key.removeprefix(LEASES) for item in page.items)
        if not addresses:
            return
        await _set(self._context, "", "endpoints", self._endpoints(addresses))
        await _set(self._context, "discovery.k8s.io", "endpointslices", self._slice(addresses))

    def _endpoints(self, addresses: list[str]) -> Object:
        port = self._context.options.secure_port
        subset = {
            "addresses": [{"ip": a} for a in addresses],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
        return {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": SERVICE, "namespace": "default", "labels": labels},
            "subsets": [subset],
        }

    def _slice(self, addresses: list[str]) -> Object:
        port = self._context.options.secure_port
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": SERVICE,
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": SERVICE},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }


async def _set(context: Context, group: str, plural: str, wanted: Object) -> None:
    """Creates the object or makes its content what is wanted."""
    endpoint = endpoint_of(context, group, plural)
    name = wanted["metadata"]["name"]
    key = endpoint.key("default", name)
    content = {k: v for k, v in wanted.items() if k not in ("apiVersion", "kind", "metadata")}

    async def modify(current: Object) -> Object:
        new = copy_of(current)
        new.update(content)
        return new

    try:
        await commit.update(endpoint, key, name, modify)
    except StatusError as error:
        if error.code != 404:
            raise
        await ensure(endpoint, wanted)
