"""Ingresses and IngressClasses."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, Literal, forbidden_field, invalid_value, not_supported, required, too_long
from apimachinery.table import Column
from apiserver.registry.job_rules import domain_prefixed_path
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.pod_rules import validate_ip
from apiserver.registry.service import ingress_addresses
from apiserver.registry.service_rules import NOT_AN_ADDRESS, validate_host
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

_CLASS = "kubernetes.io/ingress.class"
_CONTROLLER_LENGTH = 250
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


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
            nothing = Literal(f"[]networking.IngressRule{'{}' if 'rules' in spec else '(nil)'}")
            found.append(invalid_value("spec", nothing, "either `defaultBackend` or `rules` must be specified"))
        if "defaultBackend" in spec:
            found += _backend(spec["defaultBackend"], "spec.defaultBackend")
        for i, rule in enumerate(spec.get("rules") or ()):
            found += _ingress_rule(rule, f"spec.rules[{i}]")
        for i, tls in enumerate(spec.get("tls") or ()):
            found += _tls(tls, f"spec.tls[{i}]")
        if "ingressClassName" in spec:
            problems = names.dns1123_subdomain(spec["ingressClassName"])
            found += [invalid_value("spec.ingressClassName", spec["ingressClassName"], p) for p in problems]
        return found

    def validate(self, obj: Object) -> list[FieldError]:
        found = super().validate(obj)
        annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS)
        if annotation is not None and (obj.get("spec") or {}).get("ingressClassName", annotation) != annotation:
            detail = "must match `ingressClassName` when both are specified"
            found.append(invalid_value(f"annotations.{_CLASS}", annotation, detail))
        return found

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        points = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found: list[FieldError] = []
        for i, point in enumerate(points):
            where = f"status.loadBalancer.ingress[{i}]"
            if point.get("ip"):
                found += validate_ip(point["ip"], f"{where}.ip")
            found += validate_host(point.get("hostname", ""), f"{where}.hostname")
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


def _host(host: str, path: str) -> list[FieldError]:
    rule = names.wildcard_dns1123_subdomain if "*" in host else names.dns1123_subdomain
    return [invalid_value(path, host, p) for p in rule(host)]


def _tls(tls: Object, path: str) -> list[FieldError]:
    hosts, secret = tls.get("hosts") or (), tls.get("secretName", "")
    found = [e for i, host in enumerate(hosts) for e in _host(host, f"{path}.hosts[{i}]")]
    if secret:
        found += [invalid_value(f"{path}.secretName", secret, p) for p in names.dns1123_subdomain(secret)]
    return found


def _ingress_rule(rule: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    host = rule.get("host")
    if host:
        if not validate_ip(host, path):
            found.append(invalid_value(f"{path}.host", host, NOT_AN_ADDRESS))
        found += _host(host, f"{path}.host")
    if "http" not in rule:
        return found
    paths = rule["http"].get("paths") or []
    if not paths:
        found.append(required(f"{path}.http.paths"))
    for i, entry in enumerate(paths):
        found += _http_path(entry, f"{path}.http.paths[{i}]")
    return found


def _http_path(entry: Object, path: str) -> list[FieldError]:
    route, kind = entry.get("path", ""), entry.get("pathType")
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    found: list[FieldError] = []
    if kind not in _PATH_TYPES:
        found.append(not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    elif (kind != "ImplementationSpecific" or route) and not route.startswith("/"):
        found.append(invalid_value(f"{path}.path", route, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        bad = [f"must not contain '{part}'" for part in _BAD_PARTS if part in route]
        bad += [f"cannot end with '{end}'" for end in _BAD_ENDS if route.endswith(end)]
        found += [invalid_value(f"{path}.path", route, detail) for detail in bad]
    return found + _backend(entry.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        return [invalid_value(path, "", "resource or service backend is required")]
    if service is not None and resource is not None:
        return [invalid_value(path, "", "cannot set both resource and service backends")]
    if service is None:
        return _reference(resource or {}, f"{path}.resource")
    found: list[FieldError] = []
    name, port = service.get("name", ""), service.get("port") or {}
    if not name:
        found.append(required(f"{path}.service.name"))
    else:
        found += [invalid_value(f"{path}.service.name", name, p) for p in names.dns1035_label(name)]
    if port.get("name") and port.get("number"):
        found.append(invalid_value(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        found += [invalid_value(f"{path}.service.port.name", port["name"], p) for p in names.port_name(port["name"])]
    elif port.get("number"):
        number = port["number"]
        found += [invalid_value(f"{path}.service.port.number", number, p) for p in names.port_number(number)]
    else:
        found.append(required(path, "port name or number is required"))
    return found


def _reference(reference: Object, path: str) -> list[FieldError]:
    """An object of any kind, by its group, kind and name."""
    group = reference.get("apiGroup")
    found: list[FieldError] = []
    if group is not None:
        found += [invalid_value(f"{path}.apiGroup", group, p) for p in names.dns1123_subdomain(group)]
    for field in ("kind", "name"):
        value = reference.get(field, "")
        if not value:
            found.append(required(f"{path}.{field}"))
        found += [invalid_value(f"{path}.{field}", value, p) for p in names.path_segment_name(value)]
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
        spec = obj.get("spec") or {}
        controller, found = spec.get("controller", ""), list[FieldError]()
        if not controller:
            found.append(required("spec.controller"))
        else:
            if len(controller) > _CONTROLLER_LENGTH:
                found.append(too_long("spec.controller", _CONTROLLER_LENGTH))
            found += domain_prefixed_path(controller, "spec.controller")
        if "parameters" in spec:
            found += _parameters(spec["parameters"], "spec.parameters")
        return found

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


def _parameters(parameters: Object, path: str) -> list[FieldError]:
    found = _reference(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        found.append(required(f"{path}.scope"))
    elif scope not in ("Cluster", "Namespace"):
        found.append(not_supported(f"{path}.scope", scope, ("Cluster", "Namespace")))
    elif scope == "Cluster":
        if namespace is not None:
            found.append(forbidden_field(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif namespace is None:
        found.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
    else:
        found += [invalid_value(f"{path}.namespace", namespace, p) for p in names.dns1123_label(namespace)]
    return found
