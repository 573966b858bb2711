"""Services and EndpointSlices for a tracker, short to write."""

from typing import Any

from proxy.rules import PortRules, Settings, port_rules
from proxy.tracker import SERVICE_NAME_LABEL, PortId, Tracker

Object = dict[str, Any]


def service(name: str = "web", cluster_ip: str = "10.96.0.10", ports: Any = None, **spec: Any) -> Object:
    spec = {"clusterIP": cluster_ip, "ports": ports or [{"port": 80}], **spec}
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


def endpoint_slice(
    of: str, ports: dict[str, Any], endpoints: list[Any], *, name: str = "", namespace: str = "default"
) -> Object:
    """``ports``: name -> number, or (number, protocol). ``endpoints``: addresses or whole endpoints."""
    made = []
    for port_name, port in ports.items():
        number, protocol = port if isinstance(port, tuple) else (port, "TCP")
        made.append({"name": port_name, "port": number, "protocol": protocol})
    return {
        "metadata": {"namespace": namespace, "name": name or f"{of}-1", "labels": {SERVICE_NAME_LABEL: of}},
        "addressType": "IPv4",
        "ports": made,
        "endpoints": [{"addresses": [e]} if isinstance(e, str) else e for e in endpoints],
    }


def scenario(document: Object) -> tuple[Tracker, Settings]:
    """A tracker that has been told everything in one of the files in testdata."""
    tracker = Tracker(document["node"])
    for obj in document["services"]:
        tracker.service_changed(obj)
    for part in document["slices"]:
        namespace, name = part["service"].split("/")
        tracker.slice_changed(endpoint_slice(name, part["ports"], part["endpoints"], namespace=namespace))
    settings = dict(document["settings"])
    settings["node_port_addresses"] = tuple(settings.get("node_port_addresses", ()))
    return tracker, Settings(**settings)


def all_rules(tracker: Tracker, settings: Settings) -> dict[PortId, PortRules]:
    return {
        (port.name, port.protocol): port_rules(port, tracker.endpoints(key, port), settings)
        for key in sorted(tracker.services())
        for port in tracker.ports(key)
    }
