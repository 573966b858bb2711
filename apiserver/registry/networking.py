"""Ingresses, IngressClasses, NetworkPolicies, ServiceCIDRs and IPAddresses."""

import ipaddress
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from apimachinery.selectors import validate_label_selector
from apimachinery.table import Column
from apiserver.registry.containers import PROTOCOLS
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.probes import port_or_name
from apiserver.registry.service import ingress_addresses
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import selector_cell

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


# --- Ingress ----------------------------------------------------------------------------------------------------


class IngressStrategy(Strategy):
    has_status = True
    has_generation = True
    columns = (
        NAME,
        Column("Class", description="The name of the IngressClass resource that should be used for this ingress"),
        Column("Hosts", description="Hosts that incoming requests are matched against before the ingress rule"),
        Column("Address", description="Address is a list containing ingress points for the load-balancer"),
        Column("Ports", description="Ports of TLS configurations that open"),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        found: list[FieldError] = []
        if not spec.get("rules") and "defaultBackend" not in spec:
            found.append(
                invalid_value("spec", spec.get("rules") or [], "either `defaultBackend` or `rules` must be specified")
            )
        for i, rule in enumerate(spec.get("rules") or ()):
            found += _ingress_rule(rule, f"spec.rules[{i}]")
        if "defaultBackend" in spec:
            found += _backend(spec["defaultBackend"], "spec.defaultBackend")
        if spec.get("ingressClassName"):
            problems = names.dns1123_subdomain(spec["ingressClassName"])
            found += [invalid_value("spec.ingressClassName", spec["ingressClassName"], p) for p in problems]
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        rules = spec.get("rules") or []
        hosts = [r["host"] for r in rules[:3] if r.get("host")]
        shown = ",".join(hosts) or "*"
        if len(rules) > 3 and hosts:
            shown = f"{shown} + {len(rules) - 3} more..."
        return [
            obj["metadata"]["name"],
            spec.get("ingressClassName") or "<none>",
            shown,
            ",".join(ingress_addresses(obj)),
            "80, 443" if spec.get("tls") else "80",
            self.age(obj, now),
        ]


def _ingress_rule(rule: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    host = rule.get("host")
    if host:
        if "*" in host:
            problems = names.wildcard_dns1123_subdomain(host)
        else:
            problems = names.dns1123_subdomain(host)
        found += [invalid_value(f"{path}.host", host, p) for p in problems]
        if host.replace(".", "").isdigit():
            found.append(invalid_value(f"{path}.host", host, "must be a DNS name, not an IP address"))
    if "http" not in rule:
        return found
    paths = rule["http"].get("paths") or []
    if not paths:
        found.append(required(f"{path}.http.paths"))
    for i, entry in enumerate(paths):
        where, route, kind = f"{path}.http.paths[{i}]", entry.get("path", ""), entry.get("pathType")
        if kind is None:
            found.append(required(f"{where}.pathType", "pathType must be specified"))
        elif kind not in _PATH_TYPES:
            found.append(not_supported(f"{where}.pathType", kind, _PATH_TYPES))
        elif (kind != "ImplementationSpecific" or route) and not route.startswith("/"):
            found.append(invalid_value(f"{where}.path", route, "must be an absolute path"))
        found += _backend(entry.get("backend") or {}, f"{where}.backend")
    return found


def _backend(backend: Object, path: str) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        return [required(path, "must specify a service or a resource")]
    if service is not None and resource is not None:
        return [invalid_value(path, "", "cannot set both resource and service backends")]
    if service is None:
        return []
    found: list[FieldError] = []
    name, port = service.get("name", ""), service.get("port") or {}
    if not name:
        found.append(required(f"{path}.service.name"))
    found += [invalid_value(f"{path}.service.name", name, p) for p in names.dns1035_label(name) if name]
    if not port.get("name") and not port.get("number"):
        found.append(required(path, "port name or number is required"))
    elif port.get("name") and port.get("number"):
        found.append(invalid_value(path, "", "cannot set both port name & port number"))
    else:
        field = "name" if port.get("name") else "number"
        found += port_or_name(port[field], f"{path}.service.port.{field}")
    return found


class IngressClassStrategy(Strategy):
    has_generation = True
    columns = (
        NAME,
        Column("Controller", description="Controller that is responsible for handling this class"),
        Column("Parameters", description="A reference to a resource with additional parameters"),
        AGE,
    )

    def default(self, obj: Object) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None:
            parameters.setdefault("scope", "Cluster")

    def rules(self, obj: Object) -> list[FieldError]:
        controller = (obj.get("spec") or {}).get("controller", "")
        if not controller:
            return [required("spec.controller")]
        if "/" not in controller:
            detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
            return [invalid_value("spec.controller", controller, detail)]
        return []

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        wanted, had = ((o.get("spec") or {}).get("controller") for o in (new, old))
        return [] if wanted == had else [invalid_value("spec.controller", wanted, IMMUTABLE)]

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        parameters = spec.get("parameters")
        shown = "<none>"
        if parameters:
            group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
            shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
        return [obj["metadata"]["name"], spec.get("controller", ""), shown, self.age(obj, now)]


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
        for i, kind in enumerate(spec.get("policyTypes") or ()):
            if kind not in ("Egress", "Ingress"):
                found.append(not_supported(f"spec.policyTypes[{i}]", kind, ("Egress", "Ingress")))
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        selector = (obj.get("spec") or {}).get("podSelector") or {}
        return [obj["metadata"]["name"], selector_cell(selector), self.age(obj, now)]


def _policy_rule(rule: Object, peers: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, port in enumerate(rule.get("ports") or ()):
        where = f"{path}.ports[{i}]"
        if port.get("protocol") not in PROTOCOLS:
            found.append(not_supported(f"{where}.protocol", port.get("protocol", ""), PROTOCOLS))
        if "port" in port:
            found += port_or_name(port["port"], f"{where}.port")
    for i, peer in enumerate(rule.get(peers) or ()):
        where = f"{path}.{peers}[{i}]"
        given = [k for k in ("podSelector", "namespaceSelector", "ipBlock") if k in peer]
        if not given:
            found.append(required(where, "must specify a peer"))
        elif "ipBlock" in given and len(given) > 1:
            found.append(forbidden_field(where, "may not specify both ipBlock and another peer"))
        for kind in ("podSelector", "namespaceSelector"):
            found += validate_label_selector(peer.get(kind), f"{where}.{kind}")
        if "ipBlock" in peer:
            found += _cidr(peer["ipBlock"].get("cidr", ""), f"{where}.ipBlock.cidr")
    return found


def _cidr(cidr: str, path: str) -> list[FieldError]:
    if not cidr:
        return [required(path)]
    try:
        ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return [invalid_value(path, cidr, _CIDR)]
    return []


# --- addresses --------------------------------------------------------------------------------------------------


class ServiceCIDRStrategy(Strategy):
    has_status = True
    columns = (
        NAME,
        Column("CIDRs", description="CIDRs defines the IP blocks from which to assign service cluster IPs."),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        cidrs = (obj.get("spec") or {}).get("cidrs") or []
        if not cidrs:
            return [required("spec.cidrs", "at least one CIDR required")]
        return [e for i, c in enumerate(cidrs) for e in _cidr(c, f"spec.cidrs[{i}]")]

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        wanted, had = ((o.get("spec") or {}).get("cidrs") for o in (new, old))
        return [] if wanted == had else [invalid_value("spec.cidrs", wanted, IMMUTABLE)]

    def cells(self, obj: Object, now: float) -> list[Any]:
        cidrs = (obj.get("spec") or {}).get("cidrs") or ()
        return [obj["metadata"]["name"], ",".join(cidrs), self.age(obj, now)]


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
        return [required(f"spec.parentRef.{f}") for f in ("resource", "name") if not parent.get(f)]

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
