"""EndpointSlices."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, duplicate, invalid_value, not_supported, required, too_many
from apimachinery.table import Column
from apiserver.registry.containers import PROTOCOLS
from apiserver.registry.core import first_few
from apiserver.registry.objectmeta import IMMUTABLE, validate_labels
from apiserver.registry.pod_rules import validate_ip
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_TOPOLOGY, _MAX_HINTS = 16, 8
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS = 1000, 100, 20000


class EndpointSliceStrategy(Strategy):
    columns = (
        NAME,
        Column(
            "AddressType",
            description="addressType specifies the type of address carried by this EndpointSlice. All addresses in this slice "
            "must be the same type.",
        ),
        Column(
            "Ports", description="ports specifies the list of network ports exposed by each endpoint in this slice."
        ),
        Column("Endpoints", description="endpoints is a list of unique endpoints in this slice."),
        AGE,
    )

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def prepare_for_create(self, obj: Object) -> None:
        obj["metadata"]["generation"] = 1

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """There is no spec: whatever a consumer sees counts as a new generation."""
        counted = ("endpoints", "ports", "addressType")
        meta_counted = ("labels", "annotations")
        changed = any(new.get(f) != old.get(f) for f in counted)
        changed = changed or any(new["metadata"].get(f) != old["metadata"].get(f) for f in meta_counted)
        if changed:
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def rules(self, obj: Object) -> list[FieldError]:
        kind, endpoints, ports = obj.get("addressType", ""), obj.get("endpoints") or [], obj.get("ports") or []
        found: list[FieldError] = []
        if not kind:
            found.append(required("addressType"))
        elif kind not in _ADDRESS_TYPES:
            found.append(not_supported("addressType", kind, _ADDRESS_TYPES))
        if len(endpoints) > _MAX_ENDPOINTS:
            return [*found, too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
        for i, endpoint in enumerate(endpoints):
            found += _endpoint(endpoint, kind, f"endpoints[{i}]")
        if len(ports) > _MAX_PORTS:
            return [*found, too_many("ports", len(ports), _MAX_PORTS)]
        return found + _ports(ports)

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        if new.get("addressType") != old.get("addressType"):
            return [invalid_value("addressType", new.get("addressType", ""), IMMUTABLE)]
        return []

    def cells(self, obj: Object, now: float) -> list[Any]:
        ports = [str(p.get("port") or p.get("name") or "*") for p in obj.get("ports") or ()]
        addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
        return [
            obj["metadata"]["name"],
            obj.get("addressType", ""),
            first_few(ports, "<unset>"),
            first_few(addresses, "<unset>"),
            self.age(obj, now),
        ]


def _endpoint(endpoint: Object, kind: str, path: str) -> list[FieldError]:
    addresses = endpoint.get("addresses") or []
    found: list[FieldError] = []
    if not addresses:
        found.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        found.append(too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES))
    for i, address in enumerate(addresses):
        where = f"{path}.addresses[{i}]"
        if kind == "FQDN":
            found += _full_domain(address, where)
        else:
            wrong = validate_ip(address, where)
            if not wrong and (":" in address) != (kind == "IPv6"):
                wrong = [invalid_value(where, address, f"must be an {kind} address")]
            found += wrong
    if endpoint.get("nodeName"):
        problems = names.dns1123_subdomain(endpoint["nodeName"])
        found += [invalid_value(f"{path}.nodeName", endpoint["nodeName"], p) for p in problems]
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        found.append(too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    found += validate_labels(topology, f"{path}.deprecatedTopology")
    if endpoint.get("hostname"):
        problems = names.dns1123_label(endpoint["hostname"])
        found += [invalid_value(f"{path}.hostname", endpoint["hostname"], p) for p in problems]
    return found + _hints([z.get("name", "") for z in (endpoint.get("hints") or {}).get("forZones") or ()], path)


def _full_domain(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    name = name.removesuffix(".")
    if problems := names.dns1123_subdomain(name):
        return [invalid_value(path, name, ",".join(problems))]
    if "." not in name:
        return [invalid_value(path, name, "should be a domain with at least two segments separated by dots")]
    wrong = [(label, names.dns1123_label(label)) for label in name.split(".")]
    return next(([invalid_value(path, label, ",".join(p))] for label, p in wrong if p), [])


def _hints(zones: list[str], path: str) -> list[FieldError]:
    path = f"{path}.hints.forZones"
    if len(zones) > _MAX_HINTS:
        return [too_many(path, len(zones), _MAX_HINTS)]
    found: list[FieldError] = []
    for i, zone in enumerate(zones):
        if zone in zones[:i]:
            found.append(duplicate(f"{path}[{i}].name", zone))
        found += [invalid_value(f"{path}[{i}].name", zone, p) for p in names.label_value(zone)]
    return found


def _ports(ports: list[Object]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, port in enumerate(ports):
        name, where = port.get("name", ""), f"ports[{i}]"
        if name:
            found += [invalid_value(f"{where}.name", name, p) for p in names.dns1123_label(name)]
        if name in seen:
            found.append(duplicate(f"{where}.name", name))
        seen.add(name)
        number = port.get("port")
        if number is not None:
            found += [invalid_value(f"{where}.port", number, p) for p in names.port_number(number)]
        if port.get("protocol") not in PROTOCOLS:
            found.append(not_supported(f"{where}.protocol", port.get("protocol", ""), PROTOCOLS))
        if "appProtocol" in port:
            problems = names.qualified_name(port["appProtocol"])
            found += [invalid_value(f"{where}.appProtocol", port["appProtocol"], p) for p in problems]
    return found
