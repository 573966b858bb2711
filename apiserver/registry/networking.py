"""NetworkPolicies, ServiceCIDRs and IPAddresses."""

import ipaddress
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from apimachinery.selectors import validate_label_selector
from apimachinery.table import Column
from apiserver.registry import objectmeta
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.service_rules import validate_cidr
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import selector_cell

_DIRECTIONS = ("Ingress", "Egress")
_POLICY_PROTOCOLS = ("TCP", "UDP", "SCTP")


# --- NetworkPolicy ----------------------------------------------------------------------------------------------


class NetworkPolicyStrategy(Strategy):
    has_generation = True
    columns = (
        NAME,
        Column("Pod-Selector", description="podSelector selects the pods to which this NetworkPolicy object applies."),
        AGE,
    )

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("podSelector", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
        for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found = validate_label_selector(spec.get("podSelector"), "spec.podSelector")
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for i, rule in enumerate(spec.get(direction) or ()):
                found += _policy_rule(rule, peers, f"spec.{direction}[{i}]")
        kinds = spec.get("policyTypes") or ()
        if len(kinds) > len(_DIRECTIONS):
            return [*found, invalid_value("spec.policyTypes", kinds, "may not specify more than two policyTypes")]
        for i, kind in enumerate(kinds):
            if kind not in _DIRECTIONS:
                found.append(not_supported(f"spec.policyTypes[{i}]", kind, _DIRECTIONS))
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        selector = (obj.get("spec") or {}).get("podSelector") or {}
        return [obj["metadata"]["name"], selector_cell(selector), self.age(obj, now)]


def _policy_rule(rule: Object, peers: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, port in enumerate(rule.get("ports") or ()):
        found += _policy_port(port, f"{path}.ports[{i}]")
    for i, peer in enumerate(rule.get(peers) or ()):
        where = f"{path}.{peers}[{i}]"
        for kind in ("podSelector", "namespaceSelector"):
            found += validate_label_selector(peer.get(kind), f"{where}.{kind}")
        if "ipBlock" in peer:
            found += _ip_block(peer["ipBlock"], f"{where}.ipBlock")
        given = [k for k in ("podSelector", "namespaceSelector", "ipBlock") if k in peer]
        if not given:
            found.append(required(where, "must specify a peer"))
        elif "ipBlock" in given and len(given) > 1:
            found.append(forbidden_field(where, "may not specify both ipBlock and another peer"))
    return found


def _policy_port(port: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    number, last = port.get("port"), port.get("endPort")
    if port.get("protocol", "TCP") not in _POLICY_PROTOCOLS:
        found.append(not_supported(f"{path}.protocol", port["protocol"], _POLICY_PROTOCOLS))
    if isinstance(number, int):
        found += [invalid_value(f"{path}.port", number, p) for p in names.port_number(number)]
        if last is not None:
            if last < number:
                found.append(invalid_value(f"{path}.endPort", last, "must be greater than or equal to `port`"))
            found += [invalid_value(f"{path}.endPort", last, p) for p in names.port_number(last)]
        return found
    if last is not None:
        why = "is not specified" if number is None else "is non-numeric"
        found.append(invalid_value(f"{path}.endPort", last, f"may not be specified when `port` {why}"))
    if number is not None:
        found += [invalid_value(f"{path}.port", number, p) for p in names.port_name(number)]
    return found


def _ip_block(block: Object, path: str) -> list[FieldError]:
    if not block.get("cidr"):
        return [required(f"{path}.cidr")]
    found = validate_cidr(block["cidr"], f"{path}.cidr")
    if found:
        return found
    whole = ipaddress.ip_network(block["cidr"], strict=False)
    for i, text in enumerate(block.get("except") or ()):
        where = f"{path}.except[{i}]"
        bad = validate_cidr(text, where)
        found += bad
        if bad:
            continue
        part = ipaddress.ip_interface(text)
        if part.ip not in whole or part.network.prefixlen <= whole.prefixlen:
            found.append(invalid_value(where, text, "must be a strict subset of `cidr`"))
    return found


# --- addresses --------------------------------------------------------------------------------------------------


class ServiceCIDRStrategy(Strategy):
    has_status = True
    columns = (
        NAME,
        Column("CIDRs", description="CIDRs defines the IP blocks from which to assign service cluster IPs."),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        return _cidrs((obj.get("spec") or {}).get("cidrs") or [])

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        found = objectmeta.validate_update(new["metadata"], old["metadata"])
        wanted, had = ((o.get("spec") or {}).get("cidrs") or [] for o in (new, old))
        if len(wanted) != len(had) and (len(had), len(wanted)) != (1, 2):
            return [*found, invalid_value("spec.cidrs", wanted, IMMUTABLE)]
        for i, cidr in enumerate(had):
            if wanted[i] != cidr:
                found.append(invalid_value(f"spec.cidrs[{i}]", wanted[i], IMMUTABLE))
        return found + (_cidrs(wanted) if len(wanted) != len(had) else [])

    def cells(self, obj: Object, now: float) -> list[Any]:
        cidrs = (obj.get("spec") or {}).get("cidrs") or ()
        return [obj["metadata"]["name"], ",".join(cidrs), self.age(obj, now)]


def _cidrs(cidrs: list[str]) -> list[FieldError]:
    if not cidrs:
        return [required("spec.cidrs", "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid_value("spec.cidrs", {"cidrs": list(cidrs)}, "may only hold up to 2 values")]
    found = [e for i, c in enumerate(cidrs) for e in _canonical_cidr(c, f"spec.cidrs[{i}]")]
    if not found and len({ipaddress.ip_network(c).version for c in cidrs}) < len(cidrs):
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        found.append(invalid_value("spec.cidrs", cidrs, detail))
    return found


def _canonical_cidr(cidr: str, path: str) -> list[FieldError]:
    found = validate_cidr(cidr, path)
    if found:
        return found
    canonical = str(ipaddress.ip_network(cidr, strict=False))
    if cidr == canonical:
        return []
    if ipaddress.ip_interface(cidr).ip != ipaddress.ip_network(cidr, strict=False).network_address:
        return [invalid_value(path, cidr, "must not have bits set beyond the prefix length")]
    return [invalid_value(path, cidr, f'must be in canonical form ("{canonical}")')]


class IPAddressStrategy(Strategy):
    columns = (
        NAME,
        Column("ParentRef", description="ParentRef references the resource that an IPAddress is attached to."),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        parent = (obj.get("spec") or {}).get("parentRef")
        if parent is None:
            return [required("spec.parentRef")]
        path, group = "spec.parentRef", parent.get("group", "")
        found = [invalid_value(f"{path}.group", group, p) for p in names.dns1123_subdomain(group) if group]
        for field in ("resource", "name", "namespace"):
            value = parent.get(field, "")
            if not value and field != "namespace":
                found.append(required(f"{path}.{field}"))
            found += [invalid_value(f"{path}.{field}", value, p) for p in names.path_segment_name(value)]
        return found

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        try:
            canonical = str(ipaddress.ip_address(name))
        except ValueError:
            return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
        return [] if name == canonical else [f'must be in canonical form ("{canonical}")']

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        found = objectmeta.validate_update(new["metadata"], old["metadata"])
        wanted, had = ((o.get("spec") or {}).get("parentRef") for o in (new, old))
        return found if wanted == had else [*found, invalid_value("spec.parentRef", wanted, IMMUTABLE)]

    def cells(self, obj: Object, now: float) -> list[Any]:
        parent = (obj.get("spec") or {}).get("parentRef") or {}
        parts = [
            parent.get("resource", ""),
            parent.get("group", ""),
            parent.get("namespace", ""),
            parent.get("name", ""),
        ]
        resource = ".".join(p for p in parts[:2] if p)
        return [obj["metadata"]["name"], "/".join(p for p in (resource, *parts[2:]) if p), self.age(obj, now)]
