"""What may be in a Service, and what it asks the allocators for: pure functions over its spec."""

import ipaddress
from typing import Any

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    Literal,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    quote,
    required,
)
from apiserver.registry.containers import PROTOCOLS
from apiserver.registry.objectmeta import validate_labels
from apiserver.registry.pod_rules import validate_ip
from apiserver.registry.probes import port_or_name

Object = dict[str, Any]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_BALANCER_ONLY = "may only be used when `type` is 'LoadBalancer'"
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
NOT_AN_ADDRESS = "must be a DNS name, not an IP address"
_SET_ONCE = "may not change once set"
_DAY = 86400


# --- what a Service wants ---------------------------------------------------------------------------------------


def is_headless(spec: Object) -> bool:
    return spec.get("clusterIP") == "None" or (spec.get("clusterIPs") or [""])[0] == "None"


def wants_cluster_ip(spec: Object) -> bool:
    """A virtual address: not for an alias, nor for a headless Service."""
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer") and not is_headless(spec)


def wants_node_ports(spec: Object) -> bool:
    if spec.get("type") == "NodePort":
        return True
    return spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)


def wants_health_check_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def has_cluster_ip(spec: Object) -> bool:
    return bool(spec.get("clusterIP")) and spec["clusterIP"] != "None"


def externally_accessible(spec: Object) -> bool:
    return spec.get("type") in ("LoadBalancer", "NodePort") or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


# --- rules ------------------------------------------------------------------------------------------------------


def validate_service(obj: Object) -> list[FieldError]:
    spec = obj["spec"]
    kind, ports = spec.get("type", ""), spec.get("ports") or []
    found: list[FieldError] = []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        found.append(required("spec.ports"))
    found += _type_rules(kind, spec)
    named: set[str] = set()
    for i, port in enumerate(ports):
        found += _port(port, len(ports) > 1, named, f"spec.ports[{i}]")
    found += validate_labels(spec.get("selector") or {}, "spec.selector")
    found += _affinity(spec)
    if kind != "ExternalName":
        found += _addresses(spec)
    for i, address in enumerate(spec.get("externalIPs") or ()):
        found += validate_external_ip(address, f"spec.externalIPs[{i}]")
    if kind not in _TYPES:
        found.append(not_supported("spec.type", kind, _TYPES) if kind else required("spec.type"))
    found += _distinct_ports(kind, ports)
    found += _source_ranges(kind, obj)
    found += _balancer_fields(kind, spec)
    found += _traffic_policies(kind, spec)
    return found


def _type_rules(kind: str, spec: Object) -> list[FieldError]:
    found: list[FieldError] = []
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        found.append(invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field):
                found.append(forbidden_field(f"spec.{field}", "may not be set for ExternalName services"))
        alias = spec.get("externalName", "").removesuffix(".")
        if not alias:
            found.append(required("spec.externalName"))
        found += [invalid_value("spec.externalName", alias, p) for p in names.dns1123_subdomain(alias) if alias]
    return found


def _distinct_ports(kind: str, ports: list[Object]) -> list[FieldError]:
    found: list[FieldError] = []
    if kind == "ClusterIP":
        for i, port in enumerate(ports):
            if port.get("nodePort"):
                where = f"spec.ports[{i}].nodePort"
                found.append(forbidden_field(where, "may not be used when `type` is 'ClusterIP'"))
    node_ports: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        pair = (port.get("protocol", ""), port.get("nodePort", 0))
        if pair[1] and pair in node_ports:
            found.append(duplicate(f"spec.ports[{i}].nodePort", pair[1]))
        node_ports.add(pair)
    seen: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        pair = (port.get("protocol", ""), port.get("port", 0))
        if pair in seen:
            found.append(duplicate(f"spec.ports[{i}]", _go_port(*pair)))
        seen.add(pair)
    return found


def _go_port(protocol: str, number: int) -> Literal:
    return Literal(
        f'core.ServicePort{{Name:"", Protocol:{quote(protocol)}, AppProtocol:(*string)(nil), Port:{number}, '
        'TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:""}, NodePort:0}'
    )


def _port(port: Object, needs_name: bool, named: set[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name, number, protocol = port.get("name", ""), port.get("port", 0), port.get("protocol", "")
    if not name:
        if needs_name:
            found.append(required(f"{path}.name"))
    else:
        found += [invalid_value(f"{path}.name", name, p) for p in names.dns1123_label(name)]
        if name in named:
            found.append(duplicate(f"{path}.name", name))
        named.add(name)
    found += [invalid_value(f"{path}.port", number, p) for p in names.port_number(number)]
    if not protocol:
        found.append(required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        found.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    found += port_or_name(port.get("targetPort", 0), f"{path}.targetPort")
    if "appProtocol" in port:
        found += [
            invalid_value(f"{path}.appProtocol", port["appProtocol"], p)
            for p in names.qualified_name(port["appProtocol"])
        ]
    return found


def _affinity(spec: Object) -> list[FieldError]:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    if not affinity:
        return [required("spec.sessionAffinity")]
    if affinity not in ("ClientIP", "None"):
        return [not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    path = "spec.sessionAffinityConfig"
    if affinity == "None":
        if config is None:
            return []
        return [forbidden_field(path, "must not be set when session affinity is None")]
    if config is None:
        return [required(path, "when session affinity type is ClientIP")]
    if "clientIP" not in config:
        return [required(f"{path}.clientIP", "when session affinity type is ClientIP")]
    seconds = config["clientIP"].get("timeoutSeconds")
    if seconds is None:
        return [required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")]
    detail = f"must be greater than 0 and less than {_DAY}"
    return [] if 0 < seconds <= _DAY else [invalid_value(f"{path}.clientIP.timeoutSeconds", seconds, detail)]


def validate_external_ip(address: str, path: str) -> list[FieldError]:
    """An address that packets can be sent to from elsewhere."""
    found = validate_ip(address, path)
    if found:
        return found
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:
        found.append(invalid_value(path, address, f"may not be unspecified ({address})"))
    if ip.is_loopback:
        found.append(invalid_value(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if ip.is_link_local:
        found.append(invalid_value(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    multicast = "224.0.0.0/24" if ip.version == 4 else "ff02::/16"
    if ip in ipaddress.ip_network(multicast):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        found.append(invalid_value(path, address, detail))
    return found


def _addresses(spec: Object) -> list[FieldError]:
    single, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
    found: list[FieldError] = []
    if single and not many:
        found.append(required("spec.clusterIPs"))
    elif single and many[0] != single:
        found.append(invalid_value("spec.clusterIPs", many, "first value must match `clusterIP`"))
    elif many and not single:
        found.append(invalid_value("spec.clusterIPs", many, "must be empty when `clusterIP` is not specified"))
    for i, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            found.append(not_supported(f"spec.ipFamilies[{i}]", family, ("IPv4", "IPv6")))
        if family in families[:i]:
            found.append(duplicate(f"spec.ipFamilies[{i}]", family))
    if policy is not None and policy not in _POLICIES:
        found.append(not_supported("spec.ipFamilyPolicy", policy, _POLICIES))
    bad: list[FieldError] = []
    for i, address in enumerate(many):
        if i or address != "None":
            bad += validate_ip(address, f"spec.clusterIPs[{i}]")
        elif len(many) > 1:
            bad.append(invalid_value("spec.clusterIPs", many, "'None' must be the first and only value"))
    found += bad
    if len(many) > 2:
        found.append(invalid_value("spec.clusterIPs", many, "may only hold up to 2 values"))
    return found if bad or "None" in many else found + _stacks(many, families)


def _stacks(addresses: list[str], families: list[str]) -> list[FieldError]:
    """Valid addresses: one of each family, in the order that ``ipFamilies`` gives."""
    found: list[FieldError] = []
    versions = [f"IPv{ipaddress.ip_address(a).version}" for a in addresses]
    if len(versions) > 1 and len(set(versions)) < 2:
        detail = "may specify no more than one IP for each IP family"
        found.append(invalid_value("spec.clusterIPs", addresses, detail))
    for i, (version, family) in enumerate(zip(versions, families, strict=False)):
        if family in ("IPv4", "IPv6") and version != family:
            detail = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            found.append(invalid_value(f"spec.clusterIPs[{i}]", addresses[i], detail))
    return found


def _source_ranges(kind: str, obj: Object) -> list[FieldError]:
    ranges = obj["spec"].get("loadBalancerSourceRanges")
    annotation = (obj["metadata"].get("annotations") or {}).get(_SOURCE_RANGES)
    found: list[FieldError] = []
    if not ranges and annotation is None:
        return found
    path = "spec.LoadBalancerSourceRanges" if ranges else f"metadata.annotations[{_SOURCE_RANGES}]"
    if kind != "LoadBalancer":
        found.append(forbidden_field(path, _BALANCER_ONLY))
    if ranges:
        for i, source in enumerate(ranges):
            found += validate_cidr(source.strip(), f"{path}[{i}]")
    elif annotation and annotation.strip():
        for source in annotation.split(","):
            found += validate_cidr(source.strip(), path)
    return found


def validate_cidr(cidr: str, path: str) -> list[FieldError]:
    """An address and the length of its prefix; host bits may be set."""
    try:
        ipaddress.ip_interface(cidr)
        valid = cidr.rpartition("/")[2].isdigit()
    except ValueError:
        valid = False
    return [] if valid else [invalid_value(path, cidr, _CIDR)]


def _balancer_fields(kind: str, spec: Object) -> list[FieldError]:
    found: list[FieldError] = []
    balancer = kind == "LoadBalancer"
    if balancer == ("allocateLoadBalancerNodePorts" not in spec):
        if balancer:
            found.append(required("allocateLoadBalancerNodePorts"))
        else:
            found.append(forbidden_field("spec.allocateLoadBalancerNodePorts", _BALANCER_ONLY))
    if "loadBalancerClass" in spec:
        name = spec["loadBalancerClass"]
        if not balancer:
            found.append(forbidden_field("spec.loadBalancerClass", _BALANCER_ONLY))
        else:
            found += [invalid_value("spec.loadBalancerClass", name, p) for p in names.qualified_name(name)]
    return found


def _traffic_policies(kind: str, spec: Object) -> list[FieldError]:
    found: list[FieldError] = []
    policy, port = spec.get("externalTrafficPolicy", ""), spec.get("healthCheckNodePort", 0)
    if externally_accessible(spec):
        if not policy:
            found.append(required("spec.externalTrafficPolicy"))
        elif policy not in ("Cluster", "Local"):
            found.append(not_supported("spec.externalTrafficPolicy", policy, ("Cluster", "Local")))
    elif policy:
        detail = "may only be set for externally-accessible services"
        found.append(invalid_value("spec.externalTrafficPolicy", policy, detail))
    if port and not wants_health_check_port(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        found.append(invalid_value("spec.healthCheckNodePort", port, detail))
    elif port:  # otherwise it is allocated later
        found += [invalid_value("spec.healthCheckNodePort", port, p) for p in names.port_number(port)]
    inner = spec.get("internalTrafficPolicy")
    if inner is None:
        if kind in ("ClusterIP", "LoadBalancer", "NodePort"):
            found.append(required("spec.internalTrafficPolicy"))
    elif inner not in ("Cluster", "Local"):
        found.append(not_supported("spec.internalTrafficPolicy", inner, ("Cluster", "Local")))
    spread = spec.get("trafficDistribution")
    if spread is not None and spread != "PreferClose":
        found.append(not_supported("spec.trafficDistribution", spread, ("PreferClose",)))
    return found


# --- updates ----------------------------------------------------------------------------------------------------


def validate_update(spec: Object, before: Object) -> list[FieldError]:
    """What was allocated is for life, except through ExternalName."""
    found: list[FieldError] = []
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        if not (is_headless(spec) and is_headless(before)):
            found += _kept(spec, before, "clusterIPs", "clusterIP")
        found += _kept(spec, before, "ipFamilies", "ipFamily")
    if spec.get("type") == before.get("type") == "LoadBalancer":
        wanted = spec.get("loadBalancerClass")
        if wanted != before.get("loadBalancerClass"):
            found.append(invalid_value("spec.loadBalancerClass", wanted, _SET_ONCE))
    checked = wants_health_check_port(spec) and wants_health_check_port(before)
    if checked and spec.get("healthCheckNodePort", 0) != before.get("healthCheckNodePort", 0):
        found.append(forbidden_field("spec.healthCheckNodePort", "field is immutable"))
    return found


def _kept(spec: Object, before: Object, field: str, one: str) -> list[FieldError]:
    had, many = before.get(field) or [], spec.get(field) or []
    path, shown = f"spec.{field}", many or Literal("[]string(nil)")
    if len(had) == len(many):
        changed = [i for i, old in enumerate(had) if old != many[i]]
        return [invalid_value(f"{path}[{i}]", shown, _SET_ONCE) for i in changed]
    found: list[FieldError] = []
    if had and not many:
        found.append(invalid_value(f"{path}[0]", shown, f"primary {one} can not be unset"))
    elif had and many[0] != had[0]:
        found.append(invalid_value(f"{path}[0]", shown, _SET_ONCE))
    if len(had) > len(many) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = f"must be set to 'SingleStack' when releasing the secondary {one}"
        found.append(invalid_value("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))
    return found


# --- status -----------------------------------------------------------------------------------------------------


def validate_balancer(status: Object, spec: Object) -> list[FieldError]:
    path, points = "status.loadBalancer.ingress", status.get("ingress") or ()
    if points and spec.get("type") != "LoadBalancer":
        return [forbidden_field(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    found: list[FieldError] = []
    for i, point in enumerate(points):
        where, ip, mode = f"{path}[{i}]", point.get("ip"), point.get("ipMode")
        if ip:
            found += validate_ip(ip, f"{where}.ip")
        if mode is None:
            if ip:
                found.append(required(f"{where}.ipMode", "must be specified when `ip` is set"))
        elif not ip:
            found.append(forbidden_field(f"{where}.ipMode", "may not be specified when `ip` is not set"))
        elif mode not in ("Proxy", "VIP"):
            found.append(not_supported(f"{where}.ipMode", mode, ("Proxy", "VIP")))
        found += validate_host(point.get("hostname", ""), f"{where}.hostname")
    return found


def validate_host(host: str, path: str) -> list[FieldError]:
    """The name of a load balancer, when it has one."""
    if not host:
        return []
    found = [invalid_value(path, host, p) for p in names.dns1123_subdomain(host)]
    return found if validate_ip(host, path) else [*found, invalid_value(path, host, NOT_AN_ADDRESS)]
