"""Services: defaults, what an update keeps of what was allocated, and the row that kubectl prints.

Addresses and node ports are handed out by the API server's allocators; ``service_rules`` says what a Service wants of
them, and this module keeps on an update what is still valid.
"""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError
from apimachinery.table import Column
from apiserver.registry import objectmeta, service_rules
from apiserver.registry.service_rules import (
    externally_accessible,
    is_headless,
    wants_health_check_port,
    wants_node_ports,
)
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import labels_cell

_AFFINITY_SECONDS = 10800


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
        _release_second_stack(spec, before)
        default_families(spec, before)

    def rules(self, obj: Object) -> list[FieldError]:
        return service_rules.validate_service(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        found = objectmeta.validate_update(new["metadata"], old["metadata"])
        return found + service_rules.validate_update(new["spec"], old["spec"]) + self.rules(new)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return service_rules.validate_balancer(new["status"].get("loadBalancer") or {}, new["spec"])

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


def _release_second_stack(spec: Object, before: Object) -> None:
    """Asking for a single stack is enough to give up the second address and family."""
    if spec.get("ipFamilyPolicy") != "SingleStack" or before.get("ipFamilyPolicy") in (None, "SingleStack"):
        return
    for field in ("clusterIPs", "ipFamilies"):
        if spec.get(field) == before.get(field) and spec.get(field):
            spec[field] = spec[field][:1]


def _keep_node_ports(spec: Object, before: Object) -> None:
    had = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()}
    used = _node_ports(spec)
    for port in spec.get("ports") or ():
        number = had.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and number and number not in used:
            port["nodePort"] = number
            used.add(number)


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
