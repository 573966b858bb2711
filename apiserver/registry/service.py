"""Services: defaults, rules, what an update keeps of what was allocated, and the row that kubectl prints.

Addresses and node ports are handed out by the API server's allocators; this module only says, as pure functions, what a
Service wants (``wants_cluster_ip``, ``wants_node_ports``, ``wants_health_check_port``) and keeps on an update what is
still valid.
"""

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
from apimachinery.table import Column
from apiserver.registry.containers import PROTOCOLS
from apiserver.registry.objectmeta import IMMUTABLE, validate_labels
from apiserver.registry.pod_rules import validate_ip
from apiserver.registry.probes import port_or_name
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import labels_cell

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_KUBELET_PORT = 10250
_AFFINITY_SECONDS = 10800
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


# --- strategy ---------------------------------------------------------------------------------------------------


class ServiceStrategy(Strategy):
    has_status = True
    selectable = ("spec.clusterIP", "spec.type")
    columns = (
        NAME,
        Column(
            "Type",
            description="type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, "
            "ClusterIP, NodePort, and LoadBalancer.",
        ),
        Column(
            "Cluster-IP", description="clusterIP is the IP address of the service and is usually assigned randomly."
        ),
        Column(
            "External-IP",
            description="externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for "
            "this service.",
        ),
        Column("Port(s)", description="The list of ports that are exposed by this service."),
        AGE,
        Column(
            "Selector",
            description="Route service traffic to pods with label keys and values matching this selector.",
            priority=1,
        ),
    )

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        return names.dns1035_label(names.mask_trailing_dash(name) if prefix else name)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("sessionAffinity"):
            spec["sessionAffinity"] = "None"
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
            config.setdefault("timeoutSeconds", _AFFINITY_SECONDS)
        if not spec.get("type"):
            spec["type"] = "ClusterIP"
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            if port.get("targetPort", 0) in (0, ""):
                port["targetPort"] = port.get("port", 0)
        if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
            for ingress in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                if ingress.get("ip"):
                    ingress.setdefault("ipMode", "VIP")

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}
        _normalize_cluster_ips(obj["spec"], None)
        default_families(obj["spec"])

    def prepare_for_update(self, new: Object, old: Object) -> None:
        new["status"] = old.get("status") or {"loadBalancer": {}}
        spec, before = new["spec"], old["spec"]
        _normalize_cluster_ips(spec, before)
        _drop_type_dependent(spec, before)
        _keep_allocated(spec, before)
        default_families(spec, before)

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_service(obj["spec"])

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return _cluster_ip_is_kept(new["spec"], old["spec"])

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        spec = obj.get("spec") or {}
        fields = super().selectable_fields(obj)
        return {**fields, "spec.clusterIP": spec.get("clusterIP", ""), "spec.type": spec.get("type", "")}

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        return [
            obj["metadata"]["name"],
            spec.get("type", ""),
            (spec.get("clusterIPs") or [spec.get("clusterIP")])[0] or "<none>",
            _external_ip(obj),
            _ports_cell(spec.get("ports") or []) or "<none>",
            self.age(obj, now),
            labels_cell(spec.get("selector")),
        ]


# --- allocation on updates --------------------------------------------------------------------------------------


def default_families(spec: Object, before: Object | None = None) -> None:
    """A single-stack IPv4 cluster's answer to what families a Service has."""
    if spec.get("type") == "ExternalName":
        spec.pop("ipFamilies", None)
        spec.pop("ipFamilyPolicy", None)
        return
    if before is not None and before.get("type") != "ExternalName":
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and before.get(field):
                spec[field] = before[field]
    selectorless = is_headless(spec) and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = "RequireDualStack" if selectorless else "SingleStack"
    if not spec.get("ipFamilies"):
        address = spec.get("clusterIP", "")
        family = "IPv6" if ":" in address else "IPv4"
        other = "IPv4" if family == "IPv6" else "IPv6"
        dual = selectorless and spec["ipFamilyPolicy"] != "SingleStack"
        spec["ipFamilies"] = [family, other] if dual else [family]


def _normalize_cluster_ips(spec: Object, before: Object | None) -> None:
    """``clusterIP`` and the first of ``clusterIPs`` are one value; old clients know only the first, newer ones both."""
    single, many = spec.get("clusterIP"), spec.get("clusterIPs")
    if before is None:
        if single and not many:
            spec["clusterIPs"] = [single]
        return
    had, had_many = before.get("clusterIP"), before.get("clusterIPs")
    if single != had and many == had_many:
        if single:
            spec["clusterIPs"] = [single]
        elif had:
            spec.pop("clusterIPs", None)
    elif single and not many:
        spec["clusterIPs"] = [single]


def _drop_type_dependent(spec: Object, before: Object) -> None:
    """What only made sense for the old type is cleared, unless the client itself changed it."""
    if _leaves(spec, before, lambda s: s.get("type") != "ExternalName") and _same(
        spec, before, "clusterIP", "clusterIPs"
    ):
        for field in ("clusterIP", "clusterIPs"):
            spec.pop(field, None)
    if _leaves(spec, before, wants_node_ports) and _node_ports(spec) <= _node_ports(before):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if _leaves(spec, before, wants_health_check_port) and _same(spec, before, "healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    is_balancer = lambda s: s.get("type") == "LoadBalancer"  # noqa: E731
    for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if _leaves(spec, before, is_balancer) and _same(spec, before, field):
            spec.pop(field, None)
    if _leaves(spec, before, externally_accessible) and _same(spec, before, "externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)


def _leaves(spec: Object, before: Object, needs: Any) -> bool:
    return bool(needs(before)) and not needs(spec)


def _same(spec: Object, before: Object, *fields: str) -> bool:
    return all(spec.get(f) == before.get(f) for f in fields)


def _node_ports(spec: Object) -> set[int]:
    return {p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}


def _keep_allocated(spec: Object, before: Object) -> None:
    """A client that leaves out what was allocated gets the same again."""
    addressed = lambda s: s.get("type") != "ExternalName"  # noqa: E731
    if addressed(spec) and addressed(before):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
    if wants_node_ports(spec) and wants_node_ports(before):
        _keep_node_ports(spec, before)
    checked = wants_health_check_port(spec) and wants_health_check_port(before)
    if checked and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _keep_node_ports(spec: Object, before: Object) -> None:
    had = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()}
    used = _node_ports(spec)
    for port in spec.get("ports") or ():
        number = had.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and number and number not in used:
            port["nodePort"] = number
            used.add(number)


# --- rules ------------------------------------------------------------------------------------------------------


def validate_service(spec: Object) -> list[FieldError]:
    kind, ports = spec.get("type", ""), spec.get("ports") or []
    found: list[FieldError] = []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        found.append(required("spec.ports"))
    found += _type_rules(kind, spec, ports)
    found += _ports_rules(kind, ports)
    found += validate_labels(spec.get("selector") or {}, "spec.selector")
    found += _affinity(spec)
    for i, address in enumerate(spec.get("externalIPs") or ()):
        found += _external_address(address, f"spec.externalIPs[{i}]")
    if kind not in _TYPES:
        found.append(not_supported("spec.type", kind, _TYPES) if kind else required("spec.type"))
    found += _addresses(kind, spec)
    found += _traffic_policies(kind, spec)
    return found


def _type_rules(kind: str, spec: Object, ports: list[Object]) -> list[FieldError]:
    found: list[FieldError] = []
    if kind == "LoadBalancer":
        for i, port in enumerate(ports):
            if port.get("port") == _KUBELET_PORT:
                detail = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
                found.append(invalid_value(f"spec.ports[{i}]", _KUBELET_PORT, detail))
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        found.append(invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        if spec.get("clusterIPs") or spec.get("clusterIP"):
            found.append(forbidden_field("spec.clusterIPs", "may not be set for ExternalName services"))
        alias = spec.get("externalName", "").removesuffix(".")
        if not alias:
            found.append(required("spec.externalName"))
        found += [invalid_value("spec.externalName", alias, p) for p in names.dns1123_subdomain(alias) if alias]
    return found


def _ports_rules(kind: str, ports: list[Object]) -> list[FieldError]:
    found: list[FieldError] = []
    named: set[str] = set()
    seen: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        where, protocol = f"spec.ports[{i}]", port.get("protocol", "")
        found += _port(port, len(ports) > 1, named, where)
        if kind == "ClusterIP" and port.get("nodePort"):
            found.append(forbidden_field(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        if port.get("nodePort"):
            pair = (protocol, port["nodePort"])
            if pair in node_ports:
                found.append(duplicate(f"{where}.nodePort", port["nodePort"]))
            node_ports.add(pair)
        if (protocol, port.get("port", 0)) in seen:
            found.append(duplicate(where, _go_port(protocol, port.get("port", 0))))
        seen.add((protocol, port.get("port", 0)))
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
    if port.get("appProtocol"):
        found += [
            invalid_value(f"{path}.appProtocol", port["appProtocol"], p)
            for p in names.qualified_name(port["appProtocol"])
        ]
    return found


def _affinity(spec: Object) -> list[FieldError]:
    affinity = spec.get("sessionAffinity", "")
    if not affinity:
        return [required("spec.sessionAffinity")]
    if affinity not in ("ClientIP", "None"):
        return [not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    if affinity == "None":
        return []
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    if seconds is None:
        return [required(path, "when session affinity type is ClientIP")]
    detail = f"must be greater than 0 and less than {_DAY}"
    return [] if 0 < seconds <= _DAY else [invalid_value(path, seconds, detail)]


def _external_address(address: str, path: str) -> list[FieldError]:
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
    return found


def _addresses(kind: str, spec: Object) -> list[FieldError]:
    if kind == "ExternalName":
        return []
    single, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    found: list[FieldError] = []
    if not single and many:
        found.append(
            required("spec.clusterIP", "must be set when clusterIPs is set") if many[0] else required("spec.clusterIP")
        )
    elif single and many and many[0] != single:
        found.append(invalid_value("spec.clusterIPs", many, "first value must match `clusterIP`"))
    for i, address in enumerate(many):
        if address == "None":
            if len(many) > 1:
                found.append(invalid_value("spec.clusterIPs", many, "'None' must be the first and only value"))
        else:
            found += validate_ip(address, f"spec.clusterIPs[{i}]")
    policy = spec.get("ipFamilyPolicy")
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    if policy is not None and policy not in policies:
        found.append(not_supported("spec.ipFamilyPolicy", policy, policies))
    for i, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in ("IPv4", "IPv6"):
            found.append(not_supported(f"spec.ipFamilies[{i}]", family, ("IPv4", "IPv6")))
    return found


def _traffic_policies(kind: str, spec: Object) -> list[FieldError]:
    found: list[FieldError] = []
    policy = spec.get("externalTrafficPolicy", "")
    if externally_accessible(spec):
        if not policy:
            found.append(required("spec.externalTrafficPolicy"))
        elif policy not in ("Cluster", "Local"):
            found.append(not_supported("spec.externalTrafficPolicy", policy, ("Cluster", "Local")))
    elif policy:
        detail = "may only be set for externally-accessible services"
        found.append(invalid_value("spec.externalTrafficPolicy", policy, detail))
    inner = spec.get("internalTrafficPolicy")
    if inner is not None and inner not in ("Cluster", "Local"):
        found.append(not_supported("spec.internalTrafficPolicy", inner, ("Cluster", "Local")))
    if spec.get("healthCheckNodePort") and not wants_health_check_port(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        found.append(invalid_value("spec.healthCheckNodePort", spec["healthCheckNodePort"], detail))
    if kind != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if field in spec:
                found.append(forbidden_field(f"spec.{field}", "may only be used when `type` is 'LoadBalancer'"))
    for i, source in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += _source_range(source.strip(), f"spec.loadBalancerSourceRanges[{i}]")
    return found


def _source_range(source: str, path: str) -> list[FieldError]:
    try:
        ipaddress.ip_interface(source)
        valid = "/" in source
    except ValueError:
        valid = False
    detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    return [] if valid else [invalid_value(path, source, detail)]


def _cluster_ip_is_kept(spec: Object, before: Object) -> list[FieldError]:
    """A primary address is for life, except through ExternalName."""
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    had, many = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
    if not had:
        return []
    if not many:
        return [invalid_value("spec.clusterIPs[0]", Literal("[]string(nil)"), "primary clusterIP can not be unset")]
    found: list[FieldError] = []
    if many[0] != had[0]:
        found.append(invalid_value("spec.clusterIPs[0]", many, "may not change once set"))
    families, had_families = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    if families and had_families and families[0] != had_families[0]:
        found.append(invalid_value("spec.ipFamilies[0]", families, "may not change once set"))
    if spec.get("type") == before.get("type") == "LoadBalancer" and not _same(spec, before, "loadBalancerClass"):
        found.append(invalid_value("spec.loadBalancerClass", spec.get("loadBalancerClass"), IMMUTABLE))
    return found


# --- printing ---------------------------------------------------------------------------------------------------


def _external_ip(service: Object) -> str:
    spec = service.get("spec") or {}
    kind, external = spec.get("type"), spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(external) or "<none>"
    if kind == "LoadBalancer":
        return ",".join(ingress_addresses(service) + external) or "<pending>"
    return spec.get("externalName", "") if kind == "ExternalName" else "<unknown>"


def ingress_addresses(obj: Object) -> list[str]:
    """The addresses in ``status.loadBalancer``, of a Service or an Ingress."""
    points = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return sorted({p.get("ip") or p.get("hostname") or "" for p in points} - {""})


def _ports_cell(ports: list[Object]) -> str:
    def one(port: Object) -> str:
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port', 0)}{node_port}/{port.get('protocol', '')}"

    return ",".join(map(one, ports))
