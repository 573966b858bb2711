"""What the proxy knows of Services and EndpointSlices, and what has changed since it last looked."""

from typing import Any

from proxy.endpoint import Endpoint, PortKey, merged, slice_endpoints
from proxy.service import ServicePort, service_ports

Object = dict[str, Any]

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
PortId = tuple[str, str]  # (namespace/name:port, protocol)


class Tracker:
    """Feed it what the informers say; ``take_changes`` names the Services to look at again."""

    def __init__(self, node_name: str) -> None:
        self._node_name = node_name
        self._ports: dict[str, list[ServicePort]] = {}
        self._slices: dict[str, dict[str, dict[PortKey, list[Endpoint]]]] = {}
        self._changed: set[str] = set()

    # --- news ---------------------------------------------------------------------------------------------------

    def service_changed(self, service: Object) -> bool:
        """True when it makes a difference to the proxy."""
        key = _key(service)
        ports = service_ports(service)
        if self._ports.get(key, []) == ports:
            return False
        if ports:
            self._ports[key] = ports
        else:
            self._ports.pop(key, None)
        self._changed.add(key)
        return True

    def service_deleted(self, service: Object) -> bool:
        key = _key(service)
        if self._ports.pop(key, None) is None:
            return False
        self._changed.add(key)
        return True

    def slice_changed(self, endpoint_slice: Object) -> bool:
        key = _service_key(endpoint_slice)
        if key is None:
            return False
        endpoints = slice_endpoints(endpoint_slice, self._node_name)
        slices = self._slices.setdefault(key, {})
        if slices.get(endpoint_slice["metadata"]["name"]) == endpoints:
            return False
        slices[endpoint_slice["metadata"]["name"]] = endpoints
        return self._mark(key)

    def slice_deleted(self, endpoint_slice: Object) -> bool:
        key = _service_key(endpoint_slice)
        slices = self._slices.get(key) if key is not None else None
        if key is None or slices is None or slices.pop(endpoint_slice["metadata"]["name"], None) is None:
            return False
        if not slices:
            del self._slices[key]
        return self._mark(key)

    def _mark(self, key: str) -> bool:
        """Endpoints of a Service that is not proxied matter to nobody."""
        if key not in self._ports:
            return False
        self._changed.add(key)
        return True

    # --- answers ------------------------------------------------------------------------------------------------

    def take_changes(self) -> set[str]:
        """Keys (``namespace/name``) of Services that changed, or whose endpoints did, since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def services(self) -> set[str]:
        return set(self._ports)

    def ports(self, key: str) -> list[ServicePort]:
        return self._ports.get(key, [])

    def endpoints(self, key: str, port: ServicePort) -> list[Endpoint]:
        wanted = (port.port_name, port.protocol)
        return merged(by_port.get(wanted, ()) for by_port in self._slices.get(key, {}).values())


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _service_key(endpoint_slice: Object) -> str | None:
    meta = endpoint_slice["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return f"{meta['namespace']}/{name}" if name else None
